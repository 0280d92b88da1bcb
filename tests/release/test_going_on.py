"""Which steps a resumed release leaves out, which release can go on, and what closes one that was cut off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.errors import Refused
from gli_tasks.release.journal import Journal
from gli_tasks.release.plan import (
    HalfDone,
    OpenFacts,
    StepKind,
    TargetFacts,
    already_done,
    choose_open,
    obstacle_to_begin,
    obstacles,
)
from gli_tasks.release.record import Outcome, StepOutcome, StepRecord
from gli_tasks.release.steps import STEPS
from tests.release.release_parts import BUCKET, Release, record

KINDS = {name: StepKind(step.looks, step.local, step.takes_local) for name, step in STEPS.items()}
ORDER = list(KINDS)


def test_what_left_its_work_on_a_machine_is_done_again_until_it_was_pushed() -> None:
    assert already_done(KINDS, ["git.check", "build.env", "build.check", "image.build"]) == frozenset()
    assert already_done(KINDS, ORDER[: ORDER.index("image.push") + 1]) == {
        "git.check",
        "build.env",
        "build.check",
        "image.build",
        "image.push",
    }


def test_what_only_looks_is_done_again() -> None:
    assert not already_done(KINDS, ORDER) & {"ecs.verify", "ecs.wait", "health.check"}


@given(st.sets(st.sampled_from(ORDER)))
def test_only_what_was_done_is_left_out(done: set[str]) -> None:
    left_out = already_done(KINDS, done)
    assert left_out <= done
    # To be cut off again, with more done, never makes a step needed that was not.
    assert left_out <= already_done(KINDS, ORDER)


@pytest.mark.parametrize("outcome", ["running", "interrupted", "not put back"])
def test_the_newest_release_can_go_on(outcome: str) -> None:
    assert choose_open([OpenFacts("b", outcome), OpenFacts("a", "healthy")], "") == "b"
    assert choose_open([OpenFacts("b", outcome)], "b") == "b"


def test_a_healthy_release_that_nothing_names_yet_can_go_on() -> None:
    assert choose_open([OpenFacts("b", "healthy", is_current=False)], "") == "b"


@pytest.mark.parametrize(
    ("facts", "wanted", "said"),
    [
        ([], "", "none was cut off"),
        ([OpenFacts("b", "healthy", is_current=True)], "", "nothing to go on with"),
        ([OpenFacts("b", "failed")], "", "b is failed"),
        ([OpenFacts("b", "failed"), OpenFacts("a", "running")], "a", "because b came after it"),
        ([OpenFacts("b", "running")], "c", "no record of a release 'c'"),
    ],
)
def test_no_other_can(facts: list[OpenFacts], wanted: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        choose_open(facts, wanted)


def test_a_release_that_changed_something_is_not_closed_by_the_next_one() -> None:
    assert obstacle_to_begin(HalfDone("a", cut_off=True, begun=(), not_put_back=())) is None
    assert obstacle_to_begin(HalfDone("a", cut_off=False, begun=("ecs.update",), not_put_back=())) is None
    found = obstacle_to_begin(HalfDone("a", cut_off=True, begun=("image.push", "ecs.update"), not_put_back=()))
    assert found is not None
    assert "a was cut off in ecs.update" in found.what
    assert "release.resume" in found.remedy
    assert "release.abort" in found.remedy


def test_none_begins_over_what_could_not_be_put_back() -> None:
    found = obstacle_to_begin(HalfDone("a", cut_off=False, begun=("ecs.update",), not_put_back=("ecs.update",)))
    assert found is not None
    assert "could not put back what ecs.update had changed" in found.what
    assert "release.rollback" in found.remedy


def test_a_database_that_moved_on_is_in_the_way_of_a_rollback() -> None:
    fine = {"api": TargetFacts("api:1", "ACTIVE", "image", True)}
    assert obstacles(fine, ["api"], ["api"]) == ()
    assert obstacles(fine, ["api"], ["api"], migration_head="0007", migration_head_now="0007") == ()
    assert obstacles(fine, ["api"], ["api"], migration_head="", migration_head_now="0007") == ()
    found = obstacles(fine, ["api"], ["api"], migration_head="0007", migration_head_now="0009")
    assert found == ("the database was at migration 0007 then, and is at 0009 now",)


def test_a_record_is_taken_up_by_another_process(release: Release) -> None:
    release.journal.write(record())
    other = Journal(release.s3, BUCKET)
    taken = other.go_on(record().id)
    assert taken == record()
    other.write(taken.with_step(StepRecord("a", StepOutcome.DONE, "")))
    assert release.journal.read(record().id).steps[0].name == "a"


def test_a_broken_record_hides_no_other(release: Release) -> None:
    release.journal.write(record())
    release.s3.put_object(Bucket=BUCKET, Key="releases/20260302-000000-beef.json", Body=b"{")
    records, broken = release.journal.newest_readable(10)
    assert [one.id for one in records] == [record().id]
    assert [one.where for one in broken] == [f"s3://{BUCKET}/releases/20260302-000000-beef.json"]
    assert records[0].outcome is Outcome.RUNNING
