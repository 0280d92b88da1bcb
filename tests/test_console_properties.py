"""The redactor, for any secrets and any text: nothing that was cleaned holds what was learnt, however it is written."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from gli_tasks.console import MASK, Redactor, Secret, masked
from tests.floor_parts import steady

brief = settings(steady, max_examples=60)

# Few characters, so that secrets overlap, hold each other and meet by chance; among them those that are escaped, those
# that split lines, and the mask's own.
LETTERS = st.sampled_from("ab*\"\\/ %\n\r\t'\u2028é한\U0001f511")
SECRETS = st.lists(st.text(LETTERS, max_size=9), min_size=1, max_size=4)
TEXT = st.text(LETTERS, max_size=30)


def redactor_of(secrets: list[str]) -> Redactor:
    redactor = Redactor()
    for one in secrets:
        redactor.learn(Secret(one))
    return redactor


def to_hide(secrets: list[str]) -> list[str]:
    """Return what may not be seen: values of four characters and more that are not all asterisks and blanks."""
    return [one for one in secrets if len(one) >= 4 and one.replace("*", "").strip()]


def mixed(data: st.DataObject, secrets: list[str]) -> str:
    """Return a text that the secrets are strewn over, side by side and within each other."""
    return "".join(data.draw(st.lists(st.one_of(TEXT, st.sampled_from(secrets)), max_size=6)))


@brief
@given(SECRETS, st.data())
def test_no_text_holds_a_secret_once_it_is_cleaned(secrets: list[str], data: st.DataObject) -> None:
    cleaned = redactor_of(secrets).clean(mixed(data, secrets))
    assert [one for one in to_hide(secrets) if one in cleaned] == []


def test_a_mask_completes_no_secret_that_holds_asterisks_itself() -> None:
    assert redactor_of(["hunter", f"a{MASK}b"]).clean("it is ahunterb") == f"it is {MASK}"
    # What is nothing but asterisks cannot be told from the mask, and is no reason to mask for ever.
    assert redactor_of(["*****"]).clean("***** hunter") == "***** hunter"


@brief
@given(SECRETS, st.data())
def test_to_clean_twice_is_to_clean_once(secrets: list[str], data: st.DataObject) -> None:
    redactor = redactor_of(secrets)
    cleaned = redactor.clean(mixed(data, secrets))
    assert redactor.clean(cleaned) == cleaned


@brief
@given(SECRETS, st.data())
def test_the_order_in_which_secrets_are_learnt_says_nothing(secrets: list[str], data: st.DataObject) -> None:
    text = mixed(data, secrets)
    assert redactor_of(secrets).clean(text) == redactor_of(sorted(secrets)).clean(text)


@brief
@given(SECRETS, TEXT, TEXT)
def test_a_secret_is_masked_as_json_as_an_address_and_as_python_write_it(
    secrets: list[str], before: str, after: str
) -> None:
    clean = redactor_of(secrets).clean
    for one in to_hide(secrets):
        for form in (
            json.dumps(one)[1:-1],
            json.dumps(one, ensure_ascii=False)[1:-1],
            quote(one, safe=""),
            repr(one)[1:-1],
        ):
            assert form not in clean(f"{before}{form}{after}")
        document = json.dumps({"message": f"{before}|{one}|{after}"})
        assert json.dumps(one)[1:-1] not in clean(document)
        assert one not in json.loads(clean(document))["message"]


@brief
@given(SECRETS, st.sampled_from(["\n", "\r\n", "\n   "]))
def test_each_line_of_a_secret_is_masked_where_it_is_printed(secrets: list[str], end: str) -> None:
    whole = end.join(secrets)
    clean = redactor_of([whole]).clean
    for line in to_hide([line.strip() for line in whole.splitlines()]):
        assert line not in clean(f"stderr: {line}.")


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda one: st.lists(one, max_size=3) | st.dictionaries(TEXT, one, max_size=3) | st.tuples(one, one),
    max_leaves=8,
)


def strings(tree: Any) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    if isinstance(tree, dict):
        return [text for pair in tree.items() for one in pair for text in strings(one)]
    return [text for one in tree for text in strings(one)] if isinstance(tree, list | tuple) else []


@brief
@given(SECRETS, TREES)
def test_no_string_of_a_tree_holds_a_secret_and_all_else_stays(secrets: list[str], tree: Any) -> None:
    redactor = redactor_of(secrets)
    planted = {"planted": [*secrets, dict.fromkeys(secrets, tree)], "tree": tree}
    cleaned = redactor.clean_tree(planted)
    assert [one for one in to_hide(secrets) for text in strings(cleaned) if one in text] == []
    assert redactor.clean_tree(cleaned) == cleaned
    assert json.loads(json.dumps(cleaned)) == cleaned


@brief
@given(
    st.text("abcXYZ_", max_size=6),
    st.sampled_from(["PASSWORD", "password", "Passwd", "TOKEN", "Secret", "PRIVATE", "credential"]),
    st.text("abcXYZ_", max_size=6),
    st.text(min_size=1),
)
def test_a_value_under_a_name_that_says_secret_is_masked_unless_it_refers_to_one(
    before: str, word: str, after: str, value: str
) -> None:
    shown = masked({f"{before}{word}{after}": value, "HOST": value})
    assert shown["HOST"] == value
    assert shown[f"{before}{word}{after}"] in (MASK, value)
    if not value.startswith(("aws-sm:", "env:", "arn:")) and "/" not in value:
        assert shown[f"{before}{word}{after}"] == MASK
