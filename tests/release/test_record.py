"""The record: what is written can be read, by this version and by others."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.release.record import (
    CallRecord,
    CheckRecord,
    Failure,
    Outcome,
    Record,
    ServiceRecord,
    StepOutcome,
    StepRecord,
    decode,
    encode,
)
from tests.release.release_parts import record

TEXT = st.text(max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
RECORDS = st.builds(
    Record,
    id=TEXT,
    project=TEXT,
    environment=TEXT,
    who=TEXT,
    identity=TEXT,
    started_at=TEXT,
    outcome=st.sampled_from(Outcome),
    schema=st.integers(1, 9),
    ended_at=TEXT,
    seconds=NUMBERS,
    services=st.dictionaries(TEXT, st.builds(ServiceRecord, commit=TEXT, root=TEXT, dirty=st.booleans()), max_size=3),
    steps=st.lists(st.builds(StepRecord, TEXT, st.sampled_from(StepOutcome), TEXT, NUMBERS, TEXT), max_size=3).map(
        tuple
    ),
    calls=st.lists(st.builds(CallRecord, TEXT, TEXT, TEXT, TEXT, st.integers(100, 599)), max_size=3).map(tuple),
    checks=st.lists(
        st.builds(CheckRecord, TEXT, TEXT, st.integers(0, 599), NUMBERS, st.none() | NUMBERS, TEXTS), max_size=3
    ).map(tuple),
    overridden_settings=TEXTS,
    tag=TEXT,
    failure=st.none() | st.builds(Failure, TEXT, TEXT, TEXT, TEXTS),
)


@given(RECORDS)
def test_what_is_written_is_what_is_read(one: Record) -> None:
    data = encode(one)
    assert decode(data) == one
    assert encode(decode(data)) == data


@given(RECORDS, st.dictionaries(st.text("xyz", min_size=1), st.none() | st.integers() | st.lists(TEXT), min_size=1))
def test_what_a_newer_version_adds_is_passed_over(one: Record, more: dict[str, object]) -> None:
    data = json.loads(encode(one))
    data |= more
    for part in (*data["steps"], *data["calls"], *data["checks"], *data["services"].values()):
        part |= more
    if data["failure"]:
        data["failure"] |= more
    assert decode(json.dumps(data).encode()) == one


def test_what_an_older_version_did_not_have_takes_its_default() -> None:
    data = json.loads(encode(record()))
    least = {key: data[key] for key in ("id", "project", "environment", "who", "identity", "started_at")}
    assert decode(json.dumps(least).encode()) == record()


def test_people_can_read_it() -> None:
    text = encode(record().with_service("api", commit="한글")).decode()
    assert '\n  "environment": "prod",\n' in text
    assert "한글" in text


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"{}", b'{"id": 1}', b"\xff", b'{"id": "x"}', encode(record())[:-2]]
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


def test_an_outcome_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="outcome"):
        decode(encode(record()).replace(b'"running"', b'"splendid"'))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(StepOutcome)), max_size=20))
def test_a_step_is_there_once_with_its_last_outcome_and_in_the_order_they_began(
    changes: list[tuple[str, StepOutcome]],
) -> None:
    one = record()
    for name, outcome in changes:
        one = one.with_step(StepRecord(name, outcome, ""))
    assert [step.name for step in one.steps] == list(dict.fromkeys(name for name, _ in changes))
    assert {step.name: step.outcome for step in one.steps} == dict(changes)


def test_a_service_keeps_what_was_not_changed() -> None:
    one = record().with_service("api", commit="c", image="i").with_service("api", image="j").with_service("web")
    assert one.services == {"api": ServiceRecord(commit="c", image="j"), "web": ServiceRecord()}
    with pytest.raises(TypeError):
        one.with_service("api", colour="red")
    assert replace(one, services={}) == record()
