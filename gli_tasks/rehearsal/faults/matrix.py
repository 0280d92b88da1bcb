"""Rehearse a release under each fault in turn on one stage: what serves after one is the old version of the next."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from gli_tasks.rehearsal import stage as stages
from gli_tasks.rehearsal.faults.fault import Fault
from gli_tasks.rehearsal.rehearse import Scene, bring_up_old, judged, play
from gli_tasks.rehearsal.seen import look, newest_record
from gli_tasks.rehearsal.stage import Stage
from gli_tasks.rehearsal.verdict import Verdict

_SETTLE_S = 30.0
_GIVE_UP_S = 120.0
_PACE_S = 0.3


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is rehearsed: project and environment, engine, load in requests a second, and the faults in their order."""

    project: str
    environment: str
    engine: str
    rate: float
    time_scale: float
    faults: tuple[Fault, ...]


def run_matrix(matrix: Matrix, say: Callable[[str], None]) -> tuple[list[Verdict], tuple[str, ...]]:
    """Rehearse an undisturbed release and then one under each fault; return the verdicts, and what was left behind.

    A stage that a fault left unsettled is replaced by a new one. Raises RehearsalFailed where none can be put up.
    """
    verdicts: list[Verdict] = []
    left_over: tuple[str, ...] = ()
    stage: Stage | None = None
    try:
        for number, fault in enumerate((None, *matrix.faults), start=1):
            if stage is None:
                stage = _put_up(matrix, say)
            scene = Scene(f"1.{number}.0", matrix.rate, matrix.time_scale, fault)
            say(f"-- {fault.name if fault else 'undisturbed'}")
            verdict = judged(play(stage, scene, lambda text: say(f"   {text}")), scene)
            verdicts.append(verdict)
            say("   as promised" if verdict.kept else "   NOT as promised: " + "; ".join(verdict.broken))
            if not _settle(stage):
                say("   the stage did not settle; a new one is put up")
                left_over += stages.take_down(stage)
                stage = None
    finally:
        if stage is not None:
            left_over += stages.take_down(stage)
    return verdicts, left_over


def _put_up(matrix: Matrix, say: Callable[[str], None]) -> Stage:
    stage = stages.put_up(matrix.project, matrix.environment, matrix.engine, time_scale=matrix.time_scale, say=say)
    try:
        bring_up_old(stage)
    except BaseException:
        stages.take_down(stage)
        raise
    return stage


def _settle(stage: Stage) -> bool:
    """Do what an operator does after a fault: free the lock, give up a release that could not end, and see that every
    service runs one version whole. Tell whether it does.
    """
    settings = stage.loaded.settings
    if look(stage).lock_holder:
        # Its lease would run out; a matrix need not wait for that.
        stage.client("s3").delete_object(Bucket=settings.state.bucket, Key="lock.json")
    newest = newest_record(stage, frozenset())
    if newest is not None and newest["outcome"] == "running" and not _given_up(stage):
        return False
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        seen = look(stage)
        one_each = all(one.settled and len(one.task_definitions) == 1 for one in seen.services.values())
        if one_each and seen.version and "," not in seen.version:
            return True
        time.sleep(_PACE_S)
    return False


def _given_up(stage: Stage) -> bool:
    settings = stage.loaded.settings
    argv = [
        *("-m", "invoke", "release.abort", "--env", settings.environment, "--project", settings.project),
        *("--reason", "the fault is over", "--yes"),
    ]
    nowhere = subprocess.DEVNULL
    process = stage.start(argv, stdin=nowhere, stdout=nowhere, stderr=nowhere)
    try:
        return process.wait(_GIVE_UP_S) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    finally:
        stage.ended(process)
