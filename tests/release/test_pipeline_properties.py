"""The runner, for any pipeline of groups whose steps fail, are undone or are cut off at any place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gli_tasks.errors import GliError, NotRestored, RolloutFailed
from gli_tasks.release.journal import Journal
from gli_tasks.release.pipeline import flat, put_back, run_pipeline
from gli_tasks.release.record import Outcome, StepOutcome
from gli_tasks.release.steps import Step
from gli_tasks.settings.model import Pipeline
from tests.floor_parts import steady
from tests.release.release_parts import BUCKET, Release

# Each example is a release, with its record on S3: few of them, the same in every run.
few = settings(steady, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = "abcdefg"


@dataclass(frozen=True)
class Plan:
    """What befalls one step: whether it fails, and how its undo ends (``none`` for a step that has none)."""

    fails: bool
    undo: str
    changes: bool


GOOD = st.builds(Plan, st.just(False), st.sampled_from(["none", "done"]), st.booleans())


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    """Return groups of one to three steps; one step alone stands with and without its own group."""
    names, groups = list(NAMES[: draw(st.integers(1, len(NAMES)))]), []
    while names:
        count = min(draw(st.integers(1, 3)), len(names))
        group, names = names[:count], names[count:]
        groups.append(group[0] if count == 1 and draw(st.booleans()) else tuple(group))
    return tuple(groups)


def groups_of(pipeline: Pipeline) -> list[tuple[str, ...]]:
    return [(one,) if isinstance(one, str) else one for one in pipeline]


def fresh(s3: Any) -> Release:
    """Return a release where no other is on record."""
    for one in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        s3.delete_object(Bucket=BUCKET, Key=one["Key"])
    return Release(s3)


def step(release: Release, name: str, plan: Plan, also: Callable[[], object]) -> Step:
    undo = {"none": None, "done": f"{name} is back", "fails": NotRestored(f"{name} is lost")}[plan.undo]
    fails = RolloutFailed(f"{name} failed") if plan.fails else None
    return release.step(name, fails=fails, undo=undo, changes=plan.changes, also=lambda: also() and None)


def together(names: tuple[str, ...]) -> Callable[[], object]:
    """Return what each of a group does: wait for all others, which one after the other would never end."""
    return threading.Barrier(len(names), timeout=20).wait if names else lambda: None


def bound(release: Release, pipeline: Pipeline, plans: dict[str, Plan], left: set[str]) -> dict[str, Step]:
    steps = {}
    for group in groups_of(pipeline):
        meeting = together(tuple(name for name in group if name in left))
        steps |= {name: step(release, name, plans[name], meeting) for name in group}
    return steps


def begun(release: Release) -> list[str]:
    return [event.split()[0] for event in release.events if event.endswith(" begins")]


def undone(release: Release) -> list[str]:
    return [event.split()[0] for event in release.events if event.endswith(" undone")]


def require_order(release: Release, pipeline: Pipeline) -> None:
    """Nothing of a group begins before all of the one before it has ended."""
    place = {name: index for index, group in enumerate(groups_of(pipeline)) for name in group}
    seen = [place[event.split()[0]] for event in release.events if not event.endswith("undone")]
    assert seen == sorted(seen)
    assert len(begun(release)) == len(set(begun(release)))


@few
@given(
    pipelines(),
    st.fixed_dictionaries(
        {
            name: st.builds(
                Plan,
                st.sampled_from([False] * 5 + [True]),
                st.sampled_from(["none", "done", "done", "fails"]),
                st.booleans(),
            )
            for name in NAMES
        }
    ),
)
def test_any_pipeline_runs_in_order_and_is_undone_in_reverse(
    s3: Any, pipeline: Pipeline, plans: dict[str, Plan]
) -> None:
    release = fresh(s3)
    groups = groups_of(pipeline)
    bad = next((index for index, group in enumerate(groups) if any(plans[name].fails for name in group)), None)
    ran = flat(pipeline if bad is None else pipeline[: bad + 1])
    steps = bound(release, pipeline, plans, set(ran))
    if bad is None:
        run_pipeline(release.run, pipeline, steps)
    else:
        with pytest.raises(GliError) as caught:
            run_pipeline(release.run, pipeline, steps)
    require_order(release, pipeline)
    assert sorted(begun(release)) == sorted(ran)
    record = release.stored()
    assert record == release.run.record
    current = Journal(s3, BUCKET).current()
    if bad is None:
        assert undone(release) == []
        assert set(release.outcomes().values()) == {StepOutcome.DONE}
        assert (record.outcome, record.failure) == (Outcome.HEALTHY, None)
        assert current == record
        return
    to_undo = [name for name in reversed(ran) if plans[name].undo != "none"]
    assert undone(release) == to_undo
    lost = [name for name in to_undo if plans[name].undo == "fails"]
    assert caught.value.exit_code == (5 if lost else 1)
    assert isinstance(caught.value, NotRestored) == bool(lost)
    assert current is None
    assert record.outcome is Outcome.FAILED
    assert record.failure is not None
    assert record.failure.step in groups[bad]
    assert plans[record.failure.step].fails
    assert record.failure.serving == tuple(f"{name} is back" for name in to_undo if name not in lost)
    expected = {"done": StepOutcome.UNDONE, "fails": StepOutcome.NOT_UNDONE}
    assert release.outcomes() == {
        name: expected.get(plans[name].undo, StepOutcome.FAILED if plans[name].fails else StepOutcome.DONE)
        for name in ran
    }
    assert all(f"{name} is lost" in str(caught.value) for name in lost)


class Killed(BaseException):
    """The process is gone: no undo, no last word on record."""


def cut_off(s3: Any, pipeline: Pipeline, plans: dict[str, Plan], victim: str) -> Release:
    """Run a release that is killed inside one step."""
    release = fresh(s3)
    release.run.save()  # as every release does before its first step

    def die() -> None:
        raise Killed

    steps = {name: step(release, name, plans[name], die if name == victim else lambda: None) for name in plans}
    with pytest.raises(Killed):
        run_pipeline(release.run, pipeline, steps)
    assert undone(release) == []
    return release


def taken_up(s3: Any, first: Release) -> Release:
    """Return the release as `release.resume` finds it."""
    release = Release(s3)
    record = release.journal.go_on(first.run.record.id)
    release.run.update(lambda _: record)
    release.run.resumed_from = record
    return release


SCENES = st.tuples(
    pipelines(), st.fixed_dictionaries(dict.fromkeys(NAMES, GOOD)), st.sampled_from(NAMES), st.sampled_from(NAMES)
)


@few
@given(SCENES)
def test_a_release_that_was_cut_off_anywhere_does_the_rest_and_only_that(s3: Any, scene: Any) -> None:
    pipeline, plans, victim, _ = scene
    names = flat(pipeline)
    victim = victim if victim in names else names[-1]
    first = cut_off(s3, pipeline, plans, victim)
    second = taken_up(s3, first)
    done = {one.name for one in second.run.record.steps if one.outcome is StepOutcome.DONE}
    assert victim not in done
    assert done <= {event.split()[0] for event in first.events if event.endswith("ends")}
    run_pipeline(second.run, pipeline, bound(second, pipeline, plans, set(names) - done))
    require_order(second, pipeline)
    assert sorted(begun(second)) == sorted(set(names) - done)
    assert undone(second) == []
    record = second.stored()
    assert record.outcome is Outcome.HEALTHY
    assert {one.name: one.outcome for one in record.steps} == dict.fromkeys(names, StepOutcome.DONE)
    assert Journal(s3, BUCKET).current() == record


@few
@given(SCENES)
def test_a_resumed_release_that_fails_undoes_what_was_done_before_it_was_cut_off_too(s3: Any, scene: Any) -> None:
    pipeline, plans, victim, bad = scene
    names = flat(pipeline)
    victim = victim if victim in names else names[-1]
    first = cut_off(s3, pipeline, plans, victim)
    second = taken_up(s3, first)
    done = {one.name for one in second.run.record.steps if one.outcome is StepOutcome.DONE}
    left = [name for name in names if name not in done]
    bad = bad if bad in left else left[-1]
    plans = {**plans, bad: Plan(True, plans[bad].undo, plans[bad].changes)}
    ran = names_until(pipeline, bad)
    with pytest.raises(GliError):
        run_pipeline(second.run, pipeline, bound(second, pipeline, plans, set(left) & set(ran)))
    require_order(second, pipeline)
    assert undone(second) == [name for name in reversed(ran) if plans[name].undo == "done"]
    assert second.stored().outcome is Outcome.FAILED


@few
@given(SCENES)
def test_giving_up_undoes_each_step_that_was_begun_once_and_in_reverse(s3: Any, scene: Any) -> None:
    pipeline, plans, victim, _ = scene
    names = flat(pipeline)
    victim = victim if victim in names else names[-1]
    first = cut_off(s3, pipeline, plans, victim)
    second = taken_up(s3, first)
    on_record = [one.name for one in second.run.record.steps]
    steps = {name: step(second, name, plans[name], lambda: None) for name in names}
    put_back(second.run, victim, RolloutFailed("given up"), steps, notify=False)
    expected = [name for name in reversed(on_record) if plans[name].undo == "done"]
    assert (begun(second), undone(second)) == ([], expected)
    assert second.stored().outcome is Outcome.FAILED
    # Once more finds nothing left to undo.
    put_back(second.run, victim, RolloutFailed("given up"), steps, notify=False)
    assert undone(second) == expected


def groups_with(pipeline: Pipeline, name: str) -> tuple[str, ...]:
    return next(group for group in groups_of(pipeline) if name in group)


def names_until(pipeline: Pipeline, name: str) -> list[str]:
    """Return the steps up to the end of the group that this one is in."""
    groups = groups_of(pipeline)
    last = groups.index(groups_with(pipeline, name))
    return [one for group in groups[: last + 1] for one in group]
