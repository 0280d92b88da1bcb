"""Plain data becomes frozen dataclasses, and every problem is told with its path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.settings.model import (
    STEP_NAMES,
    AccountId,
    Between,
    Host,
    HttpUrl,
    Matches,
    Named,
    Port,
    Region,
    SecretReference,
)
from gli_tasks.settings.validation import absent_names, build, nearest
from tests.floor_parts import steady


@dataclass(frozen=True, slots=True)
class Inner:
    name: Named
    port: Port = 80


@dataclass(frozen=True, slots=True)
class Outer:
    inner: Inner
    ratio: float
    on: bool = True
    words: tuple[str, ...] = ()
    folder: Path = Path("x")
    more: Mapping[str, Inner] = field(default_factory=dict)
    maybe: Inner | None = None


GOOD: dict[str, Any] = {"inner": {"name": "a"}, "ratio": 1}


def told(kind: Any, data: Any, path: str = "") -> tuple[Any, list[str]]:
    problems: list[str] = []
    value = build(kind, data, path, lambda where, sentence: problems.append(f"{where}: {sentence}"))
    return value, problems


def test_good_data_is_built() -> None:
    data = {**GOOD, "maybe": {"name": "b"}, "more": {"k": {"name": "c", "port": "8080"}}, "words": ["x"], "on": "false"}
    assert told(Outer, data) == (
        Outer(Inner("a"), 1.0, False, ("x",), Path("x"), {"k": Inner("c", 8080)}, Inner("b")),
        [],
    )


def test_every_problem_is_told_in_one_go() -> None:
    data = {
        "inner": {"name": 3, "prot": 1, "port": 70_000},
        "on": "maybe",
        "words": "x",
        "folder": "",
        "more": {"k": [], "l": {}},
        "maybe": "b",
    }
    assert sorted(told(Outer, data)[1]) == [
        "folder: expected a folder's path",
        "inner.name: expected a string, got 3",
        "inner.port: expected a number from 1 to 65535, got 70000",
        "inner.prot: unknown key (did you mean 'port'?)",
        "maybe: expected a table, got 'b'",
        "more.k: expected a table, got a list",
        "more.l.name: missing; expected a string",
        "on: expected true or false, got 'maybe'",
        "ratio: missing; expected a number",
        "words: expected a list, got 'x'",
    ]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (int, "14"),
        (float, "0.5"),
        (float, 3),
        (bool, True),
        (bool, "true"),
        (str, ""),
        (AccountId, ""),
        (AccountId, "123456789012"),
        (Region, "us-east-1"),
        (Region, "us-gov-west-1"),
        (Host, "api.example.com"),
        (HttpUrl, "https://api.example.com/health?x=1"),
        (SecretReference, ""),
        (SecretReference, "aws-sm:shop/db#password"),
        (SecretReference, "aws-sm:shop/db"),
        (SecretReference, "env:DB_PASSWORD"),
        (Port, 1),
        (Port, "65535"),
    ],
)
def test_good_leaf(kind: Any, data: Any) -> None:
    assert told(kind, data, "x")[1] == []


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (int, "many"),
        (int, 14.5),
        (int, True),
        (int, ""),
        (float, True),
        (float, "x"),
        (bool, "yes"),
        (bool, 2),
        (str, 1),
        (str, None),
        (str, ["a"]),
        (AccountId, "1234"),
        (AccountId, "123456789012\n"),
        (AccountId, 123456789012),
        (Region, "seoul"),
        (Host, ""),
        (Host, "https://api.example.com"),
        (Host, "API example"),
        (HttpUrl, "https:///health"),
        (HttpUrl, "api.example.com"),
        (HttpUrl, "ftp://example.com"),
        (SecretReference, "hunter2hunter2"),
        (SecretReference, "aws-sm:"),
        (SecretReference, "aws-sm:a#"),
        (SecretReference, "env:lower"),
        (Port, 0),
        (Port, 65_536),
        (Annotated[float, Between(0, 10)], float("nan")),
        (Annotated[float, Between(0, 10)], "nan"),
        (Annotated[float, Between(0, 10)], "inf"),
    ],
)
def test_bad_leaf(kind: Any, data: Any) -> None:
    problems = told(kind, data, "x")[1]
    assert len(problems) == 1
    assert problems[0].startswith("x: expected ")


def test_what_stands_where_a_reference_belongs_is_not_shown() -> None:
    assert told(SecretReference, "hunter2hunter2", "x")[1] == [
        "x: expected a reference, aws-sm:<name>#<field> or env:<NAME>, got something else"
    ]


@pytest.mark.parametrize(
    "secret", ["postgres://u:hunter2@db/shop", "redis://:hunter2@cache", "https://hooks.slack.com/services/T/B/hunter2"]
)
def test_what_looks_like_a_secret_is_not_shown(secret: str) -> None:
    problems = told(Host, secret, "x")[1] + told(int, secret, "y")[1]
    assert len(problems) == 2
    assert "hunter2" not in str(problems)


def test_a_long_value_is_cut() -> None:
    assert told(int, "x" * 1_000, "a")[1] == [f"a: expected a whole number, got '{'x' * 57}...'"]


def test_nearest_names_a_word_only_where_it_is_near() -> None:
    assert nearest("git.chek", STEP_NAMES) == " (did you mean 'git.check'?)"
    assert nearest("zzz", STEP_NAMES) == ""
    assert nearest("x", ()) == ""


def test_absent_names_are_found_at_every_depth() -> None:
    outer = Outer(Inner(""), 1.0, more={"k": Inner(""), "l": Inner("y")}, maybe=Inner(""))
    assert absent_names(outer) == ["inner.name", "more.k.name", "maybe.name"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3),
    max_leaves=8,
)


@steady
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("inner", "ratio", "on", "words", "more", "maybe"), JSON)))
def test_any_data_is_built_or_told_and_never_raises(data: dict[str, Any]) -> None:
    value, problems = told(Outer, data)
    if not problems:
        assert isinstance(value, Outer)
        assert isinstance(value.inner, Inner)
        assert isinstance(value.ratio, float)
    assert all(problem.partition(":")[0] for problem in problems)


@steady
@given(st.integers())
def test_limits_hold_for_every_number(number: int) -> None:
    assert (told(Port, number)[1] == []) == (1 <= number <= 65_535)


@steady
@given(st.text())
def test_a_pattern_must_match_the_whole_string(text: str) -> None:
    kind = Annotated[str, Matches("[a-z]*", "letters")]
    assert (told(kind, text)[1] == []) == all("a" <= one <= "z" for one in text)
