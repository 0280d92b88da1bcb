"""`${KEY}` in strings: what is filled, what is told as missing, and that a value never reaches another."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.settings.interpolation import fill, fill_tree, references, wants
from tests.floor_parts import steady

KEYS = st.text(string.ascii_letters + "_", min_size=1, max_size=8)
PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="$"))


def filled(text: str, **values: str) -> tuple[str, list[str]]:
    missing: list[str] = []
    return fill(text, values, missing.append), missing


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("plain", "plain"),
        ("${A}", "1"),
        ("${A}${B}", "12"),
        ("https://${A}/${B}", "https://1/2"),
        ("$A", "$A"),
        ("$ {A}", "$ {A}"),
        ("{A}", "{A}"),
        ("$$", "$$"),
        ("$${A}", "${A}"),
        ("$${A} ${A}", "${A} 1"),
        ("$$${A}", "$${A}"),
        ("a$", "a$"),
        ("${A}\n${B}", "1\n2"),
    ],
)
def test_text_is_filled(text: str, result: str) -> None:
    assert filled(text, A="1", B="2") == (result, [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${C}", ["C"]),
        ("${C}${C}", ["C", "C"]),
        ("${A}${C}", ["C"]),
        ("${A", ["${A"]),
        ("x ${A y", ["${A y"]),
        ("${", ["${"]),
        ("${}", ["${}"]),
        ("${A B}", ["${A B}"]),
        ("${ A }", ["${ A }"]),
        ("${A:-default}", ["${A:-default}"]),
        ("${A${B}}", ["${A${B}"]),
        ("${1A}", ["${1A}"]),
        ("${Ä}", ["${Ä}"]),
        ("${A\n}", ["${A\n}"]),
    ],
)
def test_what_cannot_be_filled_is_told(text: str, told: list[str]) -> None:
    assert filled(text, A="1", B="2")[1] == told


def test_keys_are_in_the_order_of_their_first_place() -> None:
    assert references("${B} ${A} ${B} $${C} ${D E} ${F") == ("B", "A")


def test_what_is_wanted_is_said_as_it_is_written() -> None:
    assert wants("KEY") == "wants ${KEY}"
    assert wants("${KEY") == "holds '${KEY', which is no ${KEY}; a plain ${ is written $${"


@steady
@given(PLAIN)
def test_text_without_a_dollar_is_left_alone(text: str) -> None:
    assert filled(text, A="1") == (text, [])


@steady
@given(st.text())
def test_any_text_can_be_written_with_doubled_dollars(text: str) -> None:
    # Only `${` means something, and `$${` is how it is written plainly.
    assume_plain = text.replace("${", "$${")
    if "$$${" not in assume_plain:
        assert filled(assume_plain) == (text, [])


@steady
@given(st.dictionaries(KEYS, st.text(), min_size=1), st.data())
def test_a_value_is_put_in_as_it_is_and_never_filled_again(values: dict[str, str], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(values)))
    before, after = data.draw(PLAIN), data.draw(PLAIN)
    text = f"{before}${{{key}}}{after}"
    assert fill(text, values, lambda _: None) == before + values[key] + after
    assert references(text) == (key,)


@steady
@given(st.text(), st.dictionaries(KEYS, st.text()))
def test_what_is_left_of_any_text_holds_no_reference_of_its_own(text: str, values: dict[str, str]) -> None:
    missing: list[str] = []
    fill(text, values, missing.append)
    assert set(references(text)) - set(values) <= set(missing)
    assert all(key not in values for key in missing)


@steady
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | PLAIN,
        lambda one: st.lists(one, max_size=3) | st.dictionaries(KEYS, one, max_size=3),
        max_leaves=6,
    )
)
def test_a_tree_without_references_comes_back_equal(tree: Any) -> None:
    origins: dict[str, tuple[str, ...]] = {}
    assert fill_tree(tree, {}, lambda path, key: pytest.fail(f"{path} {key}"), origins) == tree
    assert origins == {}


def test_a_tree_is_filled_with_paths_and_origins() -> None:
    origins: dict[str, tuple[str, ...]] = {}
    missing: list[tuple[str, str]] = []
    tree = {"a": {"b": ["x", "${A}", {"c": "${B}${A}"}]}, "d": 3, "e": "${NONE}"}
    result = fill_tree(tree, {"A": '"}', "B": "${A}"}, lambda path, key: missing.append((path, key)), origins)
    assert result == {"a": {"b": ["x", '"}', {"c": '${A}"}'}]}, "d": 3, "e": ""}
    assert origins == {"a.b[1]": ("A",), "a.b[2].c": ("B", "A"), "e": ("NONE",)}
    assert missing == [("e", "NONE")]
    assert tree["e"] == "${NONE}"
