"""The fault matrix: under each fault a release ends as the fault promises. One twin stands for all of these."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gli_tasks.rehearsal.faults import CHANGING_CALLS, FAULTS
from tests.end_to_end.conftest import Rehearsed, Started, invoke, traces, wait_until_gone

pytestmark = pytest.mark.end_to_end

#: How a failed release leaves the rollout's order on record; one that could not be ended says what was last written.
UNDONE, UNTOUCHED = "undone", None
#: The part of the matrix that is rehearsed with every change; `invoke rehearse.faults` rehearses all of it. For each
#: fault: exit code, which version serves, the record's outcome, and what the record says of ecs.update.
SELECTION: dict[str, tuple[int, str, str, str | None]] = {
    "bad-image": (1, "old", "failed", UNDONE),
    "crash-at-start": (1, "old", "failed", UNDONE),
    "health-check-never-passes": (1, "old", "failed", UNDONE),
    "crash-after-a-minute": (1, "old", "failed", UNDONE),
    "slow-start-within-grace": (0, "new", "healthy", "done"),
    "slow-start-beyond-grace": (1, "old", "failed", UNDONE),
    "new-version-answers-500": (1, "old", "failed", UNDONE),
    "no-capacity": (1, "old", "failed", UNDONE),
    "secret-missing": (1, "old", "failed", UNTOUCHED),
    "secret-lost-meanwhile": (1, "old", "failed", UNDONE),
    "registry-down-mid-push": (1, "old", "failed", UNTOUCHED),
    "s3-down-for-the-record": (1, "old", "running", "done"),
    "s3-down-for-the-lock": (0, "new", "healthy", "done"),
    "slack-down": (0, "new", "healthy", "done"),
    "disk-full": (1, "old", "failed", UNTOUCHED),
    "clock-skew": (1, "old", "", UNTOUCHED),
    "clock-drift": (0, "new", "healthy", "done"),
    "aws-throttling": (0, "new", "healthy", "done"),
    "aws-5xx": (0, "new", "healthy", "done"),
    "aws-connection-reset": (0, "new", "healthy", "done"),
    "aws-lost-reply": (0, "new", "healthy", "done"),
    "aws-truncated-answer": (0, "new", "healthy", "done"),
    "aws-truncated-answer:ecr.PutImage": (0, "new", "healthy", "done"),
    "aws-truncated-answer:ecs.RegisterTaskDefinition": (0, "new", "healthy", "done"),
    "aws-truncated-answer:ecs.UpdateService": (0, "new", "healthy", "done"),
    "aws-expired-token:s3.PutObject": (2, "old", "", UNTOUCHED),
    "aws-expired-token:ecs.RegisterTaskDefinition": (1, "old", "running", UNTOUCHED),
    "aws-expired-token:ecs.UpdateService": (5, "old", "running", "running"),
    "aws-expired-token-mid-rollout": (5, "new", "running", "done"),
}
#: The answer of the new version's own, or of a balancer that had nobody to ask.
WITH_OWN_FAILURES = {"crash-after-a-minute"}


@pytest.fixture(scope="module")
def cells() -> dict[str, dict[str, Any]]:
    """Rehearse the selection, and return each verdict by its fault; the undisturbed release's by an empty name."""
    before = traces()
    words = ("-p", "greenflow", "--engine", "process", "--json", "--only", ",".join(SELECTION))
    done = invoke("rehearse.faults", *words, timeout_s=1_500)
    assert done.stdout.strip(), done.stderr[-4_000:]
    answer = json.loads(done.stdout)
    assert answer["left_over"] == []
    assert not wait_until_gone(before)
    found = {cell["fault"]: cell for cell in answer["cells"]}
    assert (done.returncode == 0) is all(cell["kept"] for cell in found.values())
    return found


def test_every_call_that_changes_something_has_its_faults(cells: dict[str, dict[str, Any]]) -> None:
    assert set(cells[""]["calls"]) == set(CHANGING_CALLS)


@pytest.mark.parametrize("name", SELECTION)
def test_a_release_ends_as_the_fault_promises(cells: dict[str, dict[str, Any]], name: str) -> None:
    cell = cells[name]
    exit_code, serving, outcome, update = SELECTION[name]
    assert cell["broken"] == []
    assert cell["release_exit_code"] == exit_code
    assert cell["version_after"] == cell["version_before" if serving == "old" else "version_new"]
    assert set(cell["serving"].values()) == {serving}
    assert cell["recorded"]["outcome"] == outcome
    assert cell["recorded"]["steps"].get("ecs.update") == update
    assert (cell["requests_failed"] == 0) or name in WITH_OWN_FAILURES
    assert cell["requests_served"] > 0
    assert cell["fault_met"] != 0
    for word in FAULTS[name].promise.cause:
        assert word.lower() in cell["cause"].lower()


def test_faults_are_listed_with_what_they_promise() -> None:
    done = invoke("rehearse", "--list-faults", "--json")
    assert done.returncode == 0, done.stderr
    listed = {one["name"]: one for one in json.loads(done.stdout)["faults"]}
    assert set(listed) == set(FAULTS)
    assert all(one["description"] and "exit code" in one["promise"] for one in listed.values())
    shown = invoke("rehearse", "--list-faults")
    assert all(name in shown.stdout for name in FAULTS)


@pytest.mark.parametrize("words", [("rehearse", "--fault"), ("rehearse.faults", "--only")])
def test_an_unknown_fault_is_refused_with_the_nearest_name(words: tuple[str, str]) -> None:
    done = invoke(*words, "slak-down")
    assert done.returncode == 2
    assert "slack-down" in done.stderr


def test_a_fault_of_the_proxys_is_rehearsed_alone_as_well(rehearse: Callable[..., Rehearsed]) -> None:
    before = traces()
    done = rehearse("--project", "gli", "--engine", "process", "--fault", "aws-lost-reply:ecs.UpdateService")
    assert done.exit_code == 0, done.said
    assert done.verdict["release_exit_code"] == 0
    assert done.verdict["fault_met"] == 2
    assert done.verdict["requests_failed"] == 0
    assert not wait_until_gone(before)


def test_a_rehearsal_that_is_killed_under_a_fault_leaves_nothing(start_rehearsal: Callable[..., Started]) -> None:
    before = traces()
    started = start_rehearsal("--engine", "process", "--project", "greenflow", "--fault", "aws-throttling")
    started.wait_for("ecs.wait")
    started.process.kill()
    started.process.wait(10)
    assert not wait_until_gone(before)
