"""The runner: order, side by side, failure, undo, exit codes, the record after each step, and what is shown."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from gli_tasks.console import Secret
from gli_tasks.errors import (
    AwsCallFailed,
    ChecksFailed,
    GliError,
    Locked,
    NotRestored,
    RecordFailed,
    Refused,
    RolloutFailed,
    UsageError,
    WaitsForPerson,
)
from gli_tasks.release.journal import Journal
from gli_tasks.release.pipeline import run_pipeline
from gli_tasks.release.record import Outcome, StepOutcome
from gli_tasks.release.steps import STEPS, Step
from gli_tasks.settings.model import STEP_NAMES, Notify, Pipeline
from tests.release.release_parts import BUCKET, Release, s3_client


def fail(release: Release, pipeline: Pipeline, steps: dict[str, Step]) -> GliError:
    with pytest.raises(GliError) as caught:
        run_pipeline(release.run, pipeline, steps)
    return caught.value


def test_the_table_binds_every_step_that_settings_may_name() -> None:
    assert set(STEPS) == STEP_NAMES
    assert all(step.changes for step in STEPS.values() if step.undo)


def test_steps_run_in_their_order_and_the_release_is_healthy(release: Release) -> None:
    run_pipeline(release.run, ("a", "b", "c"), {name: release.step(name) for name in "abc"})
    assert release.events == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]
    one = release.stored()
    assert one == release.run.record
    assert one.outcome is Outcome.HEALTHY
    assert [(step.name, step.outcome, step.detail) for step in one.steps] == [
        (name, StepOutcome.DONE, f"{name} did it") for name in "abc"
    ]
    assert one.ended_at > one.started_at
    assert one.failure is None
    current = Journal(release.s3, BUCKET).current()
    assert current is not None
    assert current.id == one.id


def test_the_steps_of_a_group_really_overlap(release: Release) -> None:
    """Each waits for all others: one after another, they would never end."""
    together = threading.Barrier(3, timeout=10)
    steps = {name: release.step(name, also=lambda: together.wait() and None) for name in ("b", "c", "d")}
    steps |= {"a": release.step("a"), "e": release.step("e")}
    run_pipeline(release.run, ("a", ("b", "c", "d"), "e"), steps)
    assert release.events[:2] == ["a begins", "a ends"]
    assert sorted(release.events[2:5]) == ["b begins", "c begins", "d begins"]
    assert release.events[-2:] == ["e begins", "e ends"]
    assert set(release.outcomes().values()) == {StepOutcome.DONE}


def test_a_failure_waits_for_the_rest_of_its_group(release: Release) -> None:
    steps = {
        "quick": release.step("quick", fails=RolloutFailed("crash loop")),
        "slow": release.step("slow", seconds=0.3, undo="slow is back"),
        "never": release.step("never"),
    }
    error = fail(release, (("quick", "slow"), "never"), steps)
    assert "crash loop" in str(error)
    assert release.events.index("slow ends") < release.events.index("slow undone")
    assert "never begins" not in release.events
    assert release.outcomes() == {"quick": StepOutcome.FAILED, "slow": StepOutcome.UNDONE}


def test_undo_runs_in_reverse_and_for_the_failed_step_too(release: Release) -> None:
    steps = {
        "a": release.step("a", undo="a is back", changes=True),
        "b": release.step("b"),
        "c": release.step("c", undo="c is back", fails=ChecksFailed("api answered 500", remedy="look at api")),
        "d": release.step("d", undo="d is back"),
    }
    error = fail(release, ("a", "b", "c", "d"), steps)
    assert [event for event in release.events if event.endswith("undone")] == ["c undone", "a undone"]
    assert error.exit_code == 1
    assert str(error) == "c: api answered 500\n  serving: c is back; a is back\n  next: look at api"
    one = release.stored()
    assert one.outcome is Outcome.FAILED
    assert one.failure is not None
    assert (one.failure.step, one.failure.remedy) == ("c", "look at api")
    assert one.failure.serving == ("c is back", "a is back")
    assert release.outcomes() == {"a": StepOutcome.UNDONE, "b": StepOutcome.DONE, "c": StepOutcome.UNDONE}
    details = {step.name: step.detail for step in one.steps}
    assert details["a"] == "a did it; undo: a is back"
    assert Journal(release.s3, BUCKET).current() is None


def test_an_undo_that_fails_is_the_worst_and_the_others_still_run(release: Release) -> None:
    steps = {
        "a": release.step("a", undo="a is back"),
        "b": release.step("b", undo=NotRestored("b: 0/2 running", remedy="see ecs.status")),
        "c": release.step("c", undo=KeyError("nobody foresaw this")),
        "d": release.step("d", fails=RolloutFailed("crash loop")),
    }
    error = fail(release, ("a", "b", "c", "d"), steps)
    assert isinstance(error, NotRestored)
    assert error.exit_code == 5
    for words in ("crash loop", "b: 0/2 running", "KeyError: 'nobody foresaw this'", "see ecs.status"):
        assert words in str(error)
    assert [event for event in release.events if event.endswith("undone")] == ["c undone", "b undone", "a undone"]
    outcomes = release.outcomes()
    assert (outcomes["a"], outcomes["b"], outcomes["c"]) == (
        StepOutcome.UNDONE,
        StepOutcome.NOT_UNDONE,
        StepOutcome.NOT_UNDONE,
    )
    one = release.stored()
    assert one.outcome is Outcome.FAILED
    assert one.failure is not None
    assert "0/2 running" in one.failure.what


@pytest.mark.parametrize(
    ("error", "changes", "code"),
    [
        (Refused("dirty"), (), 2),
        (UsageError("no image"), (), 2),
        (Refused("dirty"), ("look",), 1),
        (UsageError("no service"), ("check",), 1),
        (RolloutFailed("crash loop"), (), 1),
        (AwsCallFailed("throttled"), ("look",), 1),
    ],
)
def test_the_exit_code_is_2_only_where_nothing_was_changed(
    release: Release, error: GliError, changes: tuple[str, ...], code: int
) -> None:
    steps = {
        "look": release.step("look", changes="look" in changes),
        "check": release.step("check", fails=error, changes="check" in changes),
        "later": release.step("later", changes=True),
    }
    seen = fail(release, ("look", "check", "later"), steps)
    assert seen.exit_code == code
    assert error.what in str(seen)
    assert ("serving: the old version serves, untouched" in str(seen)) is (code == 1)


def test_an_error_that_nobody_foresaw_is_undone_and_recorded_as_well(release: Release) -> None:
    steps = {
        "a": release.step("a", undo="a is back", changes=True),
        "b": release.step("b", fails=ZeroDivisionError("x")),
    }
    error = fail(release, ("a", "b"), steps)
    assert error.exit_code == 1
    assert "ZeroDivisionError: x" in str(error)
    assert "release_parts.py:" in str(error)
    assert "a undone" in release.events
    assert release.stored().outcome is Outcome.FAILED


def test_an_error_of_botocore_comes_as_a_sentence(release: Release) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = s3_client(f"http://127.0.0.1:{taken.getsockname()[1]}")
        error = fail(release, ("a",), {"a": release.step("a", also=lambda: client.list_buckets())})
        client.close()
    assert "AWS cannot be reached" in str(error)


def test_the_record_is_written_after_each_step(release: Release) -> None:
    seen: list[list[tuple[str, str]]] = []

    def look() -> None:
        seen.append([(step.name, str(step.outcome)) for step in release.stored().steps])

    steps = {"a": release.step("a"), "b": release.step("b", also=look), "c": release.step("c", also=look)}
    run_pipeline(release.run, ("a", "b", "c"), steps)
    assert seen == [[("a", "done")], [("a", "done"), ("b", "done")]]


def test_without_the_lock_nothing_more_is_changed_nor_put_back(release: Release) -> None:
    def lost() -> None:
        if "a ends" in release.events:
            raise Locked("the lock was lost: another process took it")

    release.run.require_lock = lost
    steps = {
        "a": release.step("a", changes=True, undo="back"),
        "look": release.step("look"),
        "b": release.step("b", changes=True, undo="back"),
    }
    error = fail(release, ("a", "look", "b"), steps)
    assert isinstance(error, Locked)
    assert error.exit_code == 3
    assert release.events == ["a begins", "a ends", "look begins", "look ends"]
    assert "another one" in error.what
    # It stays open, so that it can go on or be given up.
    assert release.stored().outcome is Outcome.RUNNING
    assert release.stored().steps[-1].outcome is StepOutcome.RUNNING


@pytest.mark.parametrize("kind", [Locked, WaitsForPerson])
def test_an_exit_code_of_its_own_stays(release: Release, kind: type[GliError]) -> None:
    error = fail(release, ("a",), {"a": release.step("a", changes=True, fails=kind("x"))})
    assert type(error) is kind


def test_a_failed_step_is_on_record_before_anything_is_undone(release: Release) -> None:
    seen: list[dict[str, StepOutcome]] = []

    def back(_: Any) -> str:
        seen.append(release.outcomes())
        return "back"

    steps = {"a": Step(lambda _: "", changes=True, undo=back), "b": release.step("b", fails=RolloutFailed("no"))}
    fail(release, ("a", "b"), steps)
    assert seen == [{"a": StepOutcome.DONE, "b": StepOutcome.FAILED}]


def test_a_record_that_another_wrote_stops_the_release_and_undoes_it(release: Release) -> None:
    def meddle() -> None:
        release.s3.put_object(Bucket=BUCKET, Key=f"releases/{release.run.record.id}.json", Body=b"{}")

    steps = {
        "a": release.step("a", undo="a is back", changes=True),
        "b": release.step("b", also=meddle),
        "c": release.step("c"),
    }
    error = fail(release, ("a", "b", "c"), steps)
    assert "another process wrote it meanwhile" in str(error)
    assert "serving: a is back" in str(error)
    assert "c begins" not in release.events


def test_a_record_that_cannot_be_written_hides_neither_the_cause_nor_a_lost_undo(release: Release) -> None:
    def meddle() -> None:
        release.s3.put_object(Bucket=BUCKET, Key=f"releases/{release.run.record.id}.json", Body=b"{}")

    steps = {
        "a": release.step("a", undo=NotRestored("still on api:7"), changes=True),
        "b": release.step("b", also=meddle, fails=RolloutFailed("crash loop")),
    }
    error = fail(release, ("a", "b"), steps)
    assert error.exit_code == 5
    assert "crash loop" in str(error)
    assert "still on api:7" in str(error)
    assert "not on record" in release.lines.getvalue()


def test_an_s3_that_went_away_during_a_step_does_not_prevent_the_undo(release: Release) -> None:
    def drop(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="s3")

    def go_away() -> None:
        release.s3.meta.events.register("before-send.s3.PutObject", drop)

    steps = {"a": release.step("a", undo="a is back", changes=True, also=go_away)}
    try:
        error = fail(release, ("a",), steps)
    finally:
        release.s3.meta.events.unregister("before-send.s3.PutObject", drop)
    assert "AWS" in str(error) or "record cannot be written" in str(error)
    assert "serving: a is back" in str(error)


def test_a_healthy_release_takes_the_place_of_a_broken_current(release: Release) -> None:
    release.s3.put_object(Bucket=BUCKET, Key="current.json", Body=b"{}")
    run_pipeline(release.run, ("a",), {"a": release.step("a")})
    current = Journal(release.s3, BUCKET).current()
    assert current is not None
    assert current.id == release.run.record.id


def test_a_stop_before_a_step_leaves_it_unbegun(release: Release) -> None:
    steps = {"a": release.step("a", undo="a is back", also=release.run.stop.set), "b": release.step("b")}
    error = fail(release, ("a", "b"), steps)
    assert error.exit_code == 130
    assert error.where == "b"
    assert "b begins" not in release.events
    assert "a undone" in release.events
    assert release.stored().outcome is Outcome.INTERRUPTED


def test_a_stop_after_the_last_step_came_too_late(release: Release) -> None:
    run_pipeline(release.run, ("a",), {"a": release.step("a", also=release.run.stop.set)})
    assert release.stored().outcome is Outcome.HEALTHY


def test_the_handlers_of_signals_are_put_back(release: Release) -> None:
    before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    run_pipeline(release.run, ("a",), {"a": release.step("a")})
    fail(Release(release.s3), ("a",), {"a": release.step("a", fails=RolloutFailed("x"))})
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_in_another_thread_the_pipeline_runs_without_handlers(release: Release) -> None:
    thread = threading.Thread(target=run_pipeline, args=(release.run, ("a",), {"a": release.step("a")}))
    thread.start()
    thread.join(20)
    assert release.stored().outcome is Outcome.HEALTHY


def test_progress_is_a_line_for_each_change(release: Release) -> None:
    steps = {
        "ecs.update": release.step("ecs.update", undo="api runs api:6 again", changes=True),
        "ecs.wait": release.step("ecs.wait", fails=RolloutFailed("crash loop"), also=lambda: time.sleep(0.1)),
    }
    fail(release, ("ecs.update", "ecs.wait"), steps)
    lines = release.lines.getvalue().splitlines()
    assert all(re.match(r"\[ {1,6}\d+\.\d s\] \S", line) for line in lines)
    assert [re.sub(r"\d+\.\d s", "T", line).partition("] ")[2] for line in lines] == [
        "ecs.update    begins",
        "ecs.update    done in T: ecs.update did it",
        "ecs.wait      begins",
        "ecs.wait      failed in T: crash loop",
        "ecs.update    undone in T: api runs api:6 again",
    ]


def test_secrets_reach_neither_record_nor_lines(release: Release) -> None:
    release.run.console.redactor.learn(Secret("hunter2-hunter2"))
    steps = {
        "a": release.step("a", undo="with hunter2-hunter2"),
        "b": release.step("b", fails=RolloutFailed("hunter2-hunter2 was refused")),
    }
    fail(release, ("a", "b"), steps)
    stored = release.s3.get_object(Bucket=BUCKET, Key=f"releases/{release.run.record.id}.json")["Body"].read()
    assert b"hunter2" not in stored
    assert "hunter2" not in release.lines.getvalue()


def test_news_of_a_failure_decide_nothing(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_HOOK", "http://127.0.0.1:1/services/SECRET")
    release = Release(s3, notify=Notify("env:SLACK_HOOK", "#releases"))
    steps = {"a": release.step("a", fails=RolloutFailed("crash loop")), "notify": release.step("notify")}
    error = fail(release, ("a", "notify"), steps)
    assert "crash loop" in str(error)
    assert "Slack was not told (ConnectError); the release goes on" in release.lines.getvalue()
    assert "SECRET" not in release.lines.getvalue()


def test_each_does_all_before_the_first_error_is_raised(release: Release) -> None:
    done: list[str] = []

    def act(name: str, seconds: float) -> str:
        time.sleep(seconds)
        done.append(name)
        if name == "quick":
            raise RecordFailed("no")
        return name

    with pytest.raises(RecordFailed):
        release.run.each({"quick": 0.0, "slow": 0.2}, act)
    assert done == ["quick", "slow"]
    assert release.run.each({}, act) == {}


def test_a_release_that_cannot_be_marked_healthy_is_undone(release: Release) -> None:
    def drop(request: Any, **_: Any) -> None:
        if request.url.endswith("/current.json"):
            raise EndpointConnectionError(endpoint_url=request.url)

    release.s3.meta.events.register("before-send.s3.PutObject", drop)
    try:
        error = fail(release, ("a", "b"), {"a": release.step("a", undo="a is back"), "b": release.step("b")})
    finally:
        release.s3.meta.events.unregister("before-send.s3.PutObject", drop)
    assert error.exit_code == 1
    assert release.events[-1] == "a undone"
    assert "a is back" in str(error)
    assert release.stored().outcome is Outcome.FAILED
