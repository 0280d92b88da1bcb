"""Image references are read as Docker reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.rehearsal.registry.names import InvalidReference, digest_of, is_digest, parse_reference

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("redis", "docker.io", "library/redis", None, None),
        ("team/api:v1", "docker.io", "team/api", "v1", None),
        ("127.0.0.1:5000/api", "127.0.0.1:5000", "api", None, None),
        ("127.0.0.1:5000/api:v1", "127.0.0.1:5000", "api", "v1", None),
        (f"localhost/a/b@{DIGEST}", "localhost", "a/b", None, DIGEST),
        (f"host.example/a/b:v1@{DIGEST}", "host.example", "a/b", "v1", DIGEST),
    ],
)
def test_references(text: str, registry: str, repository: str, tag: str | None, digest: str | None) -> None:
    reference = parse_reference(text)
    assert (reference.registry, reference.repository, reference.tag, reference.digest) == (
        registry,
        repository,
        tag,
        digest,
    )
    assert str(reference) == text


@pytest.mark.parametrize("text", ["", "Upper/case", "a//b", "../a", "a:", "a@sha256:12", "a:" + "t" * 129, "h.io/"])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_reference(text)


NAME = st.from_regex(r"[a-z0-9]{1,8}(?:[._-][a-z0-9]{1,5})?", fullmatch=True)


@given(
    host=st.sampled_from(["localhost", "127.0.0.1:5000", "registry.example"]),
    parts=st.lists(NAME, min_size=1, max_size=4),
    tag=st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True),
    content=st.none() | st.binary(),
)
def test_a_reference_survives_writing_and_reading(
    host: str, parts: list[str], tag: str | None, content: bytes | None
) -> None:
    digest = None if content is None else digest_of(content)
    text = f"{host}/{'/'.join(parts)}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    reference = parse_reference(text)
    assert str(reference) == text
    assert reference.target == (digest or tag or "latest")


def test_only_lower_case_sha256_is_a_digest() -> None:
    assert is_digest(DIGEST)
    assert not is_digest(DIGEST.replace("0", "A"))
    assert not is_digest(DIGEST + "\n")
