"""Settings and interpolation, for any files: they load as written, or every problem says where it is."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gli_tasks.errors import SettingsError
from gli_tasks.settings import LoadedSettings, load
from gli_tasks.settings.interpolation import fill, fill_tree, references
from gli_tasks.settings.validation import SECRET_VALUE
from tests.floor_parts import ENV, TASK_DEFINITION, TOML, Shop, steady, write_shop

brief = settings(steady, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])

CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x00")
TEXT = st.text(CHARACTERS, max_size=12) | st.sampled_from(["", "${API_HOST}", "${NONE}", "${", "$${", "443", "true"])
# Names that mean something here, and such that do not.
KNOWN = ["aws", "region", "account", "services", "api", "kind", "ecs", "host", "port", "health", "checks", "folder"]
WORDS = st.sampled_from([*KNOWN, "pipelines", "dev", "build", "a.b", ""]) | st.text(CHARACTERS, max_size=4)
TREES = st.recursive(
    TEXT | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(WORDS, one, max_size=3),
    max_leaves=8,
)
TABLES = [line[1:-1] for line in TOML.splitlines() if line.startswith("[") and not line.startswith("[[")]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return write_shop(tmp_path_factory.mktemp("any") / "env")


def as_toml(value: Any) -> str:
    """Write a value as TOML does."""
    if isinstance(value, str):
        escaped = (one if one >= " " and one not in '"\\\x7f' else f"\\u{ord(one):04X}" for one in value)
        return f'"{"".join(escaped)}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{as_toml(key)} = {as_toml(inner)}' for key, inner in value.items())} }}"
    return repr(value)


def tried(
    shop: Shop, *, toml: str = TOML, env: str = ENV, definition: str = json.dumps(TASK_DEFINITION)
) -> LoadedSettings | tuple[str, ...]:
    """Load these files, and return the settings or the problems; anything else that is raised fails the test."""
    for file, text in {shop.toml: toml, shop.env: env, shop.task_definition: definition}.items():
        file.write_text(text, encoding="utf-8", newline="")
    try:
        return load(shop.root, "shop", "dev", {})
    except SettingsError as error:
        assert error.problems
        assert str(error).count("\n  - ") >= len(error.problems)
        return error.problems


def require_places(shop: Shop, problems: tuple[str, ...]) -> None:
    """Every problem begins with a file of these settings, and then names the place in it."""
    files = tuple(f"{file}: " for file in (shop.toml, shop.env, shop.task_definition))
    for problem in problems:
        assert problem.startswith(files), problem
        assert problem.partition(": ")[2].strip(), problem
        assert not SECRET_VALUE.search(problem), problem


@brief
@given(st.sampled_from(TABLES), TREES)
def test_any_table_of_a_project_loads_or_is_told_with_file_and_key(shop: Shop, table: str, tree: Any) -> None:
    """One of the tables of good settings is replaced by anything."""
    kept, skipping = [], False
    for line in TOML.splitlines():
        if line.startswith("["):
            skipping = line == f"[{table}]" or line.startswith((f"[{table}.", f"[[{table}."))
        if not skipping:
            kept.append(line)
    # A key alone at the top must come before the first table.
    names = ".".join(as_toml(part) for part in table.split("."))
    result = tried(shop, toml=f"{names} = {as_toml(tree)}\n" + "\n".join(kept))
    if isinstance(result, LoadedSettings):
        assert result.settings.project == "shop"
        return
    require_places(shop, result)
    if table.split(".")[0] != "services" and not isinstance(tree, dict):
        assert any(f": {table.split('.')[0]}" in problem or f"({table.split('.')[0]}" in problem for problem in result)


@brief
@given(st.dictionaries(st.sampled_from(["region", "Region", "acount", "port", "x.y", "ä"]), TEXT, max_size=3))
def test_every_key_that_does_not_belong_is_named(shop: Shop, more: dict[str, str]) -> None:
    lines = "".join(f"{as_toml(key)} = {as_toml(value)}\n" for key, value in more.items() if key != "region")
    result = tried(shop, toml=TOML.replace("[aws]\n", f"[aws]\n{lines}"))
    problems = () if isinstance(result, LoadedSettings) else result
    for key in set(more) - {"region"}:
        assert any(f"aws.{key}: " in problem or f"(aws.{key}): " in problem for problem in problems), (key, problems)
    assert bool(problems) == bool(set(more) - {"region"})


@brief
@given(st.text(CHARACTERS, max_size=60))
def test_any_text_in_an_env_file_loads_or_is_told(shop: Shop, text: str) -> None:
    result = tried(shop, env=ENV + text)
    if not isinstance(result, LoadedSettings):
        require_places(shop, result)


@brief
@given(TREES)
def test_any_task_definition_loads_or_is_told(shop: Shop, tree: Any) -> None:
    containers = [{"name": "api", "image": "${IMAGE}", "x": tree}]
    for one in (tree, {"containerDefinitions": tree}, {"containerDefinitions": containers, "more": tree}):
        result = tried(shop, definition=json.dumps(one))
        if not isinstance(result, LoadedSettings):
            require_places(shop, result)


# A text with `$${` in it cannot be written, and one that looks like a secret is refused.
NOTES = (
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=6)
        | st.sampled_from(["${", "${A}", "\n"]),
        max_size=5,
    )
    .map("".join)
    .filter(lambda one: "$${" not in one and not SECRET_VALUE.search(one))
)


@brief
@given(NOTES, NOTES)
def test_any_string_of_both_files_comes_back_as_it_was_written(shop: Shop, direct: str, value: str) -> None:
    """``$${`` is how a plain ``${`` is written, and a value from the .env file is taken as it is."""
    written = direct.replace("${", "$${")
    table = f'\n[services.api.build]\nenvironment = {{ DIRECT = {as_toml(written)}, FILLED = "<${{NOTE}}>" }}\n'
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    result = tried(shop, toml=TOML + table, env=f"{ENV}NOTE='{quoted}'\n")
    assert isinstance(result, LoadedSettings), result
    environment = result.settings.services["api"].build.environment
    assert environment == {"DIRECT": direct, "FILLED": f"<{value}>"}
    assert result.origins["services.api.build.environment.FILLED"].keys == ("NOTE",)


KEYS = st.from_regex(r"[A-Z_][A-Z0-9_]{0,3}", fullmatch=True)
PLAIN = st.text(CHARACTERS.filter(lambda one: one != "$"), max_size=6)
VALUES = st.dictionaries(KEYS, PLAIN, min_size=1, max_size=4)


@st.composite
def filled_texts(draw: st.DrawFn, values: dict[str, str]) -> tuple[str, str, set[str]]:
    """Return a text with references and escapes, what it is once filled, and the keys in it."""
    text, result, used = "", "", set()
    for kind in draw(st.lists(st.sampled_from("tre"), max_size=6)):
        if kind == "t":
            piece = whole = draw(PLAIN)
        elif kind == "r":
            key = draw(st.sampled_from(sorted(values)))
            used.add(key)
            piece, whole = f"${{{key}}}", values[key]
        else:
            piece, whole = "$${", "${"
        text, result = text + piece, result + whole
    return text, result, used


def never(*_: str) -> None:
    pytest.fail("nothing is missing here")


@brief
@given(VALUES, st.data())
def test_what_is_filled_is_its_pieces_filled_and_no_reference_is_left(
    values: dict[str, str], data: st.DataObject
) -> None:
    text, result, used = data.draw(filled_texts(values))
    assert fill(text, values, never) == result
    assert set(references(text)) == used
    if "$${" not in text:
        assert "${" not in fill(text, values, never)


@brief
@given(VALUES, st.data(), st.randoms(use_true_random=False))
def test_neither_the_order_of_keys_nor_of_members_says_anything(
    values: dict[str, str], data: st.DataObject, chance: random.Random
) -> None:
    texts = [data.draw(filled_texts(values))[0] for _ in range(3)]
    tree = {"a": texts[0], "b": [texts[1], {"c": texts[2]}]}
    shuffled = list(values.items())
    chance.shuffle(shuffled)
    turned = {"b": tree["b"], "a": tree["a"]}
    origins: dict[str, tuple[str, ...]] = {}
    origins_turned: dict[str, tuple[str, ...]] = {}
    one = fill_tree(tree, values, never, origins)
    assert fill_tree(turned, dict(shuffled), never, origins_turned) == one
    assert origins == origins_turned
    assert list(leaves(one)) == [fill(text, values, never) for text in leaves(tree)]


@brief
@given(VALUES, KEYS, PLAIN)
def test_a_value_that_holds_a_reference_is_not_filled_again(values: dict[str, str], key: str, text: str) -> None:
    for other in values:
        assert fill(f"{text}${{{key}}}", {**values, key: f"${{{other}}}$${{"}, never) == f"{text}${{{other}}}$${{"


def leaves(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    else:
        for one in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(one)


def test_the_tables_are_those_of_the_sample(tmp_path: Path) -> None:
    assert {"aws", "services.api", "health", "pipelines"} <= set(TABLES)
