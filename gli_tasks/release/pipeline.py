"""Run a pipeline: groups in their order, the steps of a group side by side, and on failure the undo in reverse
order."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from gli_tasks.errors import GliError, Interrupted, Locked, RecordFailed
from gli_tasks.release.ending import GO_ON, as_known, finish_failed, finish_healthy, try_save
from gli_tasks.release.plan import StepKind, already_done
from gli_tasks.release.record import StepOutcome, StepRecord
from gli_tasks.release.run import Run, timestamp
from gli_tasks.release.steps import Step
from gli_tasks.release.stopping import stoppable
from gli_tasks.settings.model import Pipeline

_LOOK_S = 0.2


def run_pipeline(run: Run, pipeline: Pipeline, steps: Mapping[str, Step]) -> None:
    """Run every step; the record is written after each. A resumed release leaves out what was done before.

    Raises the error of the first step that failed, once the steps before it were undone; NotRestored where an
    undo failed. An error that says "nothing was touched" comes out as a plain failure where something was.
    """
    names = flat(pipeline)
    before = {one.name: one for one in run.resumed_from.steps} if run.resumed_from else {}
    done = already_done(
        kinds_of(names, steps), [one.name for one in before.values() if one.outcome is StepOutcome.DONE]
    )
    # What was begun before counts too, even where the pipeline has changed meanwhile and names it no more.
    begun = [name for name, one in before.items() if one.outcome is not StepOutcome.UNDONE and name in steps]
    failed_step = ""
    error: GliError | None = None
    with stoppable(run.stop):
        for group in pipeline:
            together = (group,) if isinstance(group, str) else group
            if run.stop.is_set():
                failed_step, error = together[0], Interrupted("stopped by Ctrl-C before this step", remedy=GO_ON)
                break
            begun.extend(name for name in together if name not in begun)
            for name in done.intersection(together):
                run.progress.ended(name, str(StepOutcome.DONE), f"before: {before[name].detail}")
            errors = _run_group(run, tuple(name for name in together if name not in done), steps)
            if errors:
                failed_step, error = next(iter(errors.items()))
                break
        # Still under the handlers: a single Ctrl-C must not cut an undo in half.
        if error is None:
            try:
                finish_healthy(run)
                return
            except RecordFailed as unwritten:
                # A release that no record can tell of is none that a rollback could find: the old version goes back.
                failed_step, error = begun[-1], unwritten
        raise finish_failed(run, begun, failed_step, error, steps, "notify" in names)


def put_back(run: Run, failed_step: str, error: GliError, steps: Mapping[str, Step], notify: bool) -> GliError:
    """Undo every step that the record says was begun and is not undone yet, and close the record with this error.

    Return the error as the operator is to see it: NotRestored where an undo failed.
    """
    begun = [one.name for one in run.record.steps if one.outcome is not StepOutcome.UNDONE and one.name in steps]
    with stoppable(run.stop):
        return finish_failed(run, begun, failed_step, error, steps, notify)


def flat(pipeline: Pipeline) -> list[str]:
    """Return the names of a pipeline's steps in their order."""
    return [step for group in pipeline for step in ((group,) if isinstance(group, str) else group)]


def kinds_of(names: list[str], steps: Mapping[str, Step]) -> dict[str, StepKind]:
    """Return what each step is to a release that goes on."""
    return {name: StepKind(steps[name].looks, steps[name].local, steps[name].takes_local) for name in names}


def _run_group(run: Run, names: tuple[str, ...], steps: Mapping[str, Step]) -> dict[str, GliError]:
    """Run the steps of a group side by side; every one is finished before the group's errors come back."""
    errors: dict[str, GliError] = {}
    if not names:
        return errors
    with ThreadPoolExecutor(len(names), "step") as pool:
        futures = {pool.submit(_run_step, run, name, steps[name]): name for name in names}
        open_futures: set[Future[None]] = set(futures)
        while open_futures:
            # A short wait, because a signal's handler runs in this thread only between two waits.
            done, open_futures = wait(open_futures, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                if isinstance(error, Exception):
                    errors[futures[future]] = as_known(error)
                elif error is not None:
                    raise error
    return errors


def _run_step(run: Run, name: str, step: Step) -> None:
    started_at, start = timestamp(), time.monotonic()
    run.progress.started(name)
    run.update(lambda record: record.with_step(StepRecord(name, StepOutcome.RUNNING, started_at)))

    def ended(outcome: StepOutcome, detail: str) -> None:
        seconds = round(time.monotonic() - start, 3)
        clean = run.console.redactor.clean(detail)
        run.update(lambda record: record.with_step(StepRecord(name, outcome, started_at, seconds, clean)))
        run.progress.ended(name, str(outcome), clean)

    try:
        if step.changes:
            run.require_lock()
            # Whoever finds this release cut off must know that the step may have changed something.
            run.save()
        detail = step.act(run)
    except Exception as error:
        known = as_known(error)
        # Without the lock nothing is put back: the step stands where it stood, for whoever takes the release up.
        ended(StepOutcome.RUNNING if isinstance(known, Locked) else StepOutcome.FAILED, str(known))
        try_save(run)
        raise known from error
    ended(StepOutcome.DONE, detail)
    run.save()
