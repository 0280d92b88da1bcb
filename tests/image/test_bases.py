"""Which images a Dockerfile builds upon."""

from __future__ import annotations

import pytest

from gli_tasks.image.bases import NamedBases, named_bases
from gli_tasks.image.dockerfile import DockerfileError, parse_dockerfile


def bases(text: str, **arguments: str) -> NamedBases:
    return named_bases(parse_dockerfile(text), arguments)


@pytest.mark.parametrize(
    ("text", "names", "last"),
    [
        ("FROM a:1", ("a:1",), "a:1"),
        ("FROM --platform=linux/amd64 a:1 AS x\nFROM b\nCOPY --from=x /a /a", ("a:1", "b"), "b"),
        ("FROM a AS X\nFROM x AS y\nFROM y", ("a",), "a"),
        ("FROM a AS x\nFROM b AS y\nFROM x", ("a", "b"), "a"),
        ("FROM a\nFROM scratch\nCOPY --from=0 / /\nCOPY --from=c:2 / /", ("a", "c:2"), ""),
        ("FROM scratch AS empty\nFROM empty", (), ""),
        ("FROM a\nFROM a", ("a",), "a"),
        ("ARG V=3.11\nARG NAME=python:${V}-slim\nFROM ${NAME}", ("python:3.11-slim",), "python:3.11-slim"),
        ("ARG BASE\nFROM ${BASE:-b:2}", ("b:2",), "b:2"),
        ("FROM a\nARG B=no\nRUN x --from=y\nCOPY x y", ("a",), "a"),
        ("FROM a@sha256:" + "1" * 64, ("a@sha256:" + "1" * 64,), "a@sha256:" + "1" * 64),
    ],
)
def test_bases_by_name(text: str, names: tuple[str, ...], last: str) -> None:
    assert bases(text) == NamedBases(names, last)


def test_arguments_of_the_build_come_before_defaults() -> None:
    assert bases("ARG BASE=a:1\nFROM ${BASE}", BASE="b:2").names == ("b:2",)
    assert bases("ARG V=1\nARG BASE=a:${V}\nFROM ${BASE}", V="9").names == ("a:9",)


@pytest.mark.parametrize("text", ["ARG B\nFROM ${B}", "FROM a b", "FROM a of b", "FROM ${B:!x}"])
def test_no_image_is_a_fault_with_its_line(text: str) -> None:
    with pytest.raises(DockerfileError, match=f"line {text.count(chr(10)) + 1}"):
        bases(text)
