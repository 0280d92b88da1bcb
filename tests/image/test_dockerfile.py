"""Dockerfiles are read as Docker reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.image.dockerfile import DockerfileError, parse_dockerfile
from gli_tasks.image.words import WordError, expand, nanoseconds, split_pairs, split_words


def test_comments_continuations_and_directives() -> None:
    parsed = parse_dockerfile(
        "# syntax=docker/dockerfile:1\n# escape=`\n\nfrom python:3.11 as base\n"
        "ENV A=1 `\n  # a comment inside\n\n  B=2\nCOPY --chown=app:app --from=x a b\n"
        'CMD ["python3", "server.py"]\n'
    )
    assert parsed.escape == "`"
    assert [(each.line, each.keyword, each.text) for each in parsed.instructions] == [
        (4, "FROM", "python:3.11 as base"),
        (5, "ENV", "A=1   B=2"),
        (9, "COPY", "a b"),
        (10, "CMD", '["python3", "server.py"]'),
    ]
    assert parsed.instructions[2].flags == {"chown": "app:app", "from": "x"}
    assert parsed.instructions[3].words == ("python3", "server.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: file with no instructions"),
        ("# only a comment", "line 1: file with no instructions"),
        ("FROM a\nFOO b", "line 2: unknown instruction: FOO"),
        ("FROM a\n\nENV", "line 3: ENV requires at least one argument"),
        ("# escape=x\nFROM a", "line 1: invalid ESCAPE"),
        ("FROM a\nCOPY <<EOF /a\nEOF", "line 2: COPY with a here-document"),
    ],
)
def test_faults_name_their_line(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match="dockerfile parse error") as raised:
        parse_dockerfile(text)
    assert message in str(raised.value)


@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parsed = parse_dockerfile(text)
    except DockerfileError:
        return
    assert all(each.keyword.isupper() and each.text for each in parsed.instructions)


@given(st.text(max_size=80), st.dictionaries(st.sampled_from(["A", "B_1"]), st.text(max_size=5)))
def test_no_text_breaks_the_expansion(text: str, variables: dict[str, str]) -> None:
    try:
        expand(text, variables)
    except WordError:
        return


@given(st.text(st.characters(exclude_characters="'", exclude_categories=["Cs"]), max_size=30))
def test_single_quotes_keep_everything(text: str) -> None:
    assert expand(f"'{text}'", {"A": "no"}) == text


@given(st.lists(st.from_regex(r"[^\s'\"\\]{1,8}", fullmatch=True), max_size=6))
def test_words_are_split_at_spaces(words: list[str]) -> None:
    assert split_words("  ".join(words)) == words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A", "one"),
        ("${A}x", "onex"),
        ("$Ax", ""),
        ("\\$A", "$A"),
        ("'$A'", "$A"),
        ('"$A b"', "one b"),
        ('"a\\"b\\n"', 'a"b\\n'),
        ("${NO:-d}", "d"),
        ("${NO-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${A:+yes}", "yes"),
        ("${EMPTY:+yes}", ""),
        ("${NO:-${A}}", "one"),
        ("${NO:-}", ""),
        ("a$", "a$"),
        ("a b", "a b"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "one", "EMPTY": ""}) == expected


@pytest.mark.parametrize("text", ["${", "${A", "${A%x}", "'a", '"a', "${NO:?needed}", "${}"])
def test_what_cannot_be_expanded(text: str) -> None:
    with pytest.raises(WordError):
        expand(text, {"A": "one"})


def test_pairs() -> None:
    assert split_pairs('A=1 B="two words" C=a\\ b') == [("A", "1"), ("B", '"two words"'), ("C", "a\\ b")]
    assert split_pairs("KEY the old form") == [("KEY", "the old form")]
    for text in ("A", "A=1 B", "=x"):
        with pytest.raises(WordError):
            split_pairs(text)


def test_durations() -> None:
    assert nanoseconds("1m30s") == 90_000_000_000
    assert nanoseconds("1.5s") == 1_500_000_000
    assert nanoseconds("0") == 0
    for text in ("", "5", "s", "5 s"):
        with pytest.raises(WordError):
            nanoseconds(text)
