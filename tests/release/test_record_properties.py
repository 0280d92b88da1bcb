"""Records across versions: every field of today's, and what earlier versions really wrote."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gli_tasks.release.record import Outcome, Record, StepOutcome, decode, encode
from tests.floor_parts import steady

quick = settings(steady, max_examples=30)

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return what gives any value of a record's types, so that a field which is added is among them by itself."""
    if dataclasses.is_dataclass(kind):
        return st.builds(kind, **{name: any_of(hint) for name, hint in get_type_hints(kind).items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return st.one_of(*map(any_of, arguments))
    if origin is tuple:
        return st.lists(any_of(arguments[0]), max_size=2).map(tuple)
    if origin is Mapping:
        return st.dictionaries(TEXT, any_of(arguments[1]), max_size=2)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    plain = {
        str: TEXT,
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        type(None): st.none(),
    }
    return plain[kind]


RECORDS = any_of(Record)

OLD = Path(__file__).parent / "records"
#: What versions 1 and 2 did not have yet.
ADDED = {"1": ("rollback_to", "resumed", "migration_head"), "2": ("resumed", "migration_head"), "3": ()}


@quick
@given(RECORDS)
def test_any_record_is_read_as_it_was_written(one: Record) -> None:
    data = encode(one)
    assert decode(data) == one
    assert encode(decode(data)) == data


def with_more(tree: Any, more: dict[str, Any]) -> Any:
    """Return the tree with members added to every object that is a record's own."""
    if isinstance(tree, list):
        return [with_more(one, more) for one in tree]
    if not isinstance(tree, dict):
        return tree
    # The services' names are no fields: what is added there would be a service.
    inner = {
        key: {name: with_more(one, more) for name, one in value.items()}
        if key == "services"
        else with_more(value, more)
        for key, value in tree.items()
    }
    return {**inner, **more}


@quick
@given(RECORDS, st.dictionaries(st.from_regex(r"new_[a-z]{1,5}", fullmatch=True), st.integers() | TEXT))
def test_fields_of_a_newer_version_are_passed_over_wherever_they_stand(one: Record, more: dict[str, Any]) -> None:
    newer = json.dumps(with_more(json.loads(encode(one)), more))
    assert decode(newer.encode()) == one


@quick
@given(RECORDS, st.data())
def test_any_field_with_a_default_may_be_missing(one: Record, data: st.DataObject) -> None:
    defaults = [
        field.name
        for field in dataclasses.fields(Record)
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    ]
    gone = data.draw(st.sets(st.sampled_from(defaults)))
    tree = {key: value for key, value in json.loads(encode(one)).items() if key not in gone}
    read = decode(json.dumps(tree).encode())
    least = Record(one.id, one.project, one.environment, one.who, one.identity, one.started_at)
    for field in dataclasses.fields(Record):
        assert getattr(read, field.name) == getattr(least if field.name in gone else one, field.name)


def holds(read: Any, written: Any) -> bool:
    """Tell whether what was read has all that was written; fields that later versions added may stand beside it."""
    if isinstance(written, dict):
        return isinstance(read, dict) and all(key in read and holds(read[key], one) for key, one in written.items())
    if isinstance(written, list):
        return len(read) == len(written) and all(map(holds, read, written))
    return bool(read == written)


@pytest.mark.parametrize("file", sorted(OLD.iterdir()), ids=lambda file: file.stem)
def test_what_earlier_versions_wrote_is_read_whole(file: Path) -> None:
    data = file.read_bytes()
    written, read = json.loads(data), json.loads(encode(decode(data)))
    added = {key: value for key, value in read.items() if key not in written}
    assert holds(read, written)
    assert set(ADDED[file.stem[0]]) <= set(added)
    least = Record("", "", "", "", "", "")
    assert all(getattr(decode(data), key) == getattr(least, key) for key in added)


def test_earlier_records_mean_what_they_meant() -> None:
    failed, first, back, resumed = (decode(file.read_bytes()) for file in sorted(OLD.iterdir()))
    assert (first.outcome, first.rollback_to, first.resumed) == (Outcome.HEALTHY, "", ())
    assert len(first.steps) == 12
    assert failed.outcome is Outcome.FAILED
    assert failed.failure is not None
    assert failed.failure.serving == ("api runs production-gli-api:1 again",)
    assert {one.name: one.outcome for one in failed.steps}["ecs.update"] is StepOutcome.UNDONE
    assert back.rollback_to == first.id
    assert (resumed.migration_head, len(resumed.resumed)) == ("0042_orders", 1)
