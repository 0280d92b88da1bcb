"""What faults there are, what they put where, and how a verdict is held against a promise."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gli_tasks.errors import UsageError
from gli_tasks.rehearsal.faults import CHANGING_CALLS, FAULTS, MATRIX, Kept, Own, Promise, Serving, fault_named
from gli_tasks.rehearsal.faults.arming import WORKSTATION
from gli_tasks.rehearsal.faults.document import document, where
from gli_tasks.rehearsal.verdict import Recorded, Traffic, Verdict, broken_promises, recorded_from

KINDS = ("throttling", "5xx", "expired-token", "connection-reset", "truncated-answer", "lost-reply")

TRAFFIC = Traffic(
    served=100,
    failed=0,
    rate=100.0,
    p50_ms=1.0,
    p95_ms=2.0,
    p99_ms=3.0,
    by_version={"1.0.0": 60, "1.1.0": 40},
    failed_by_version={"1.0.0": 0, "1.1.0": 0},
)
HEALTHY = Verdict(
    project="p",
    environment="prod",
    engine="process",
    fault="",
    promise="",
    release_exit_code=0,
    version_before="1.0.0",
    version_new="1.1.0",
    version_after="1.1.0",
    serving={"api": "new"},
    requests_served=100,
    requests_failed=0,
    steps=(),
    record="s3://state/releases/r.json",
    outcome="healthy",
    cause="",
    fault_met=None,
    calls={"ecs.UpdateService": 1, "s3.PutObject": 9},
    recorded=Recorded("r", "healthy", {"ecs.update": "done"}, (), {"ecs.UpdateService": 1}, {}),
    current="r",
    lock_left=False,
    seconds=1.0,
    release_seconds=1.0,
    traffic=TRAFFIC,
)
FAILED = replace(
    HEALTHY,
    release_exit_code=1,
    version_after="1.0.0",
    serving={"api": "old"},
    outcome="failed",
    cause="it exited with 1",
    recorded=Recorded("r", "failed", {"ecs.update": "undone"}, ("api runs 7 again",), {"ecs.UpdateService": 2}, {}),
    current="before",
)
GOOD = Promise(0, Serving.NEW)
BAD = Promise(1, Serving.OLD, cause=("exited with 1",))


def test_every_call_has_every_fault_of_awss() -> None:
    for kind in KINDS:
        assert f"aws-{kind}" in FAULTS
        for call in CHANGING_CALLS:
            assert f"aws-{kind}:{call}" in FAULTS


def test_the_matrix_leaves_out_only_what_another_of_its_cells_sees() -> None:
    left_out = set(FAULTS) - set(MATRIX)
    for name in left_out - {"aws-expired-token"}:
        assert name.partition(":")[0] in MATRIX
        assert FAULTS[name].promise.exit_code == 0
    assert {f"aws-expired-token:{call}" for call in CHANGING_CALLS} <= set(MATRIX)


def test_an_unknown_fault_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="aws-lost-reply"):
        fault_named("aws-lost-replay")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_says_what_it_does_and_is_put_somewhere(name: str) -> None:
    fault = FAULTS[name]
    assert fault.name == name
    assert fault.description
    assert where(fault)
    assert fault.promise.sentence().startswith(f"exit code {fault.promise.exit_code}; the ")


def test_times_of_the_new_version_are_awss_and_are_scaled() -> None:
    assert FAULTS["crash-after-a-minute"].files(0.05) == {"FAULTS": "CRASH_AFTER_S=2.25\n"}
    assert FAULTS["crash-at-start"].files(0.05) == {"FAULTS": "CRASH_AT_START=1\n"}


def test_what_ended_as_promised_breaks_nothing() -> None:
    assert broken_promises(GOOD, HEALTHY) == ()
    assert broken_promises(BAD, FAILED) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"release_exit_code": 5}, "exit code 5, not 1"),
        ({"version_after": "1.0.0, 1.1.0"}, "version 1.0.0, 1.1.0 serves, not 1.0.0 alone"),
        ({"serving": {"api": "new"}}, "api runs new"),
        ({"cause": "KeyError"}, "the cause does not speak of 'exited with 1'"),
        ({"said": "Traceback (most recent call last):"}, "traceback"),
        ({"fault_met": 0}, "nothing met the fault"),
        ({"lock_left": True}, "the lock was left held"),
        ({"current": "r"}, "current.json names this release"),
        ({"outcome": ""}, "the release printed nothing"),
        ({"recorded": replace(FAILED.recorded, outcome="running")}, "the record says running, not failed"),
        ({"recorded": replace(FAILED.recorded, steps={"ecs.wait": "running"})}, "leaves step ecs.wait running"),
        ({"recorded": replace(FAILED.recorded, steps={"ecs.update": "done"})}, "ecs.update was done"),
        ({"recorded": replace(FAILED.recorded, serving=())}, "does not say what serves"),
        ({"recorded": replace(FAILED.recorded, tries={})}, "carried out 1 times, and the record knows 0"),
        ({"requests_served": 0}, "no request was served"),
        (
            {"requests_failed": 3, "traffic": replace(TRAFFIC, failed=3, failed_by_version={"1.0.0": 3})},
            "3 of 103 requests failed beyond the fault's own: 3 of 1.0.0",
        ),
    ],
)
def test_each_broken_promise_is_named(change: dict[str, object], words: str) -> None:
    found = broken_promises(BAD, replace(FAILED, **change))  # type: ignore[arg-type]
    assert any(words in sentence for sentence in found), found


@pytest.mark.parametrize(
    ("failed", "seconds", "kept"),
    [({"1.1.0": 9}, 2.0, True), ({"1.1.0": 11}, 2.0, False), ({"unknown": 1}, 2.0, False)],
)
def test_failed_requests_are_the_faults_own_by_who_answered_and_how_long(
    failed: dict[str, int], seconds: float, kept: bool
) -> None:
    count = sum(failed.values())
    verdict = replace(FAILED, requests_failed=count, traffic=replace(TRAFFIC, failed=count, failed_by_version=failed))
    found = broken_promises(replace(BAD, own=Own("new", seconds)), verdict, time_scale=0.05)
    assert (found == ()) is kept


def test_a_record_that_could_not_be_ended_names_no_end_and_was_printed() -> None:
    promise = replace(BAD, kept=Kept.UNENDED, lock_left=True)
    verdict = replace(FAILED, lock_left=True, recorded=Recorded("r", "running"))
    assert broken_promises(promise, verdict) == ()
    assert "did not print its record" in "".join(broken_promises(promise, replace(verdict, outcome="")))


def test_where_nothing_may_be_recorded_a_record_breaks_the_promise() -> None:
    promise = replace(BAD, kept=Kept.NOTHING)
    assert broken_promises(promise, replace(FAILED, recorded=Recorded(), outcome="", calls={})) == ()
    assert any("there is a record" in one for one in broken_promises(promise, FAILED))


def test_a_record_is_read_with_the_tries_of_its_calls() -> None:
    calls = [{"service": "ecs", "operation": "UpdateService", "attempts": tries} for tries in (1, 2)]
    recorded = recorded_from({"id": "r", "outcome": "healthy", "calls": calls, "services": {"web": {}}})
    assert recorded.tries == {"ecs.UpdateService": 3}
    assert recorded.task_definitions == {}
    assert recorded_from(None) == Recorded()


def test_the_page_tells_what_was_seen_and_what_was_not_kept() -> None:
    broken = replace(FAILED, fault="crash-at-start", cause="a | b\nmore", broken=("the lock was left held",))
    page = document([HEALTHY, broken])
    assert "| none | 0 | new | 0 |  | 1 | yes |" in page
    assert "| `crash-at-start` | 1 | old | 0 | a \\| b · more | 1 | **no**: the lock was left held |" in page
    assert "1 of 2 ended as promised" in page
    assert FAULTS["crash-at-start"].promise.sentence() in page


def test_a_workstations_clock_is_off_by_what_it_is_told_and_its_steady_clock_is_not() -> None:
    program = (
        "import time, datetime as d; from datetime import datetime; "
        "print(time.time(), datetime.now(d.UTC).timestamp(), time.time_ns() / 1e9, time.monotonic(), "
        "isinstance(datetime.now(), datetime), isinstance(d.datetime(2026, 1, 1), d.datetime), time.gmtime().tm_year)"
    )
    environment = {**os.environ, "PYTHONPATH": str(WORKSTATION), "REHEARSAL_CLOCK_S": "3600"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    wall, date, nanoseconds, _, *kinds, year = done.stdout.split()
    now = datetime.now(UTC)
    for shown in (wall, date, nanoseconds):
        assert abs(float(shown) - 3600 - now.timestamp()) < 60
    assert kinds == ["True", "True"]
    assert int(year) in (now.year, now.year + 1)


def test_the_workstations_clock_is_a_file_that_python_reads_as_it_starts() -> None:
    assert (Path(WORKSTATION) / "sitecustomize.py").is_file()
