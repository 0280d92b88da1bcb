"""Run a pipeline: groups in their order, the steps of a group side by side, and on failure the undo in reverse
order."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from gli_tasks import shell
from gli_tasks.aws import as_gli_error
from gli_tasks.errors import GliError, Interrupted, Locked, NotRestored, RecordFailed, Refused, WaitsForPerson
from gli_tasks.release.news import tell
from gli_tasks.release.plan import StepKind, already_done
from gli_tasks.release.record import Failure, Outcome, StepOutcome, StepRecord
from gli_tasks.release.run import Run, timestamp
from gli_tasks.release.steps import Step
from gli_tasks.settings.model import Pipeline

_LOOK_S = 0.2
_GO_ON = "`invoke release.resume` goes on with it"


def run_pipeline(run: Run, pipeline: Pipeline, steps: Mapping[str, Step]) -> None:
    """Run every step; the record is written after each. A resumed release leaves out what was done before.

    Raises the error of the first step that failed, once the steps before it were undone; NotRestored where an
    undo failed. An error that says "nothing was touched" comes out as a plain failure where something was.
    """
    names = flat(pipeline)
    kinds = {name: StepKind(steps[name].looks, steps[name].local, steps[name].takes_local) for name in names}
    before = {one.name: one for one in run.resumed_from.steps} if run.resumed_from else {}
    done = already_done(kinds, [name for name, one in before.items() if one.outcome is StepOutcome.DONE])
    begun: list[str] = []
    failed_step = ""
    error: GliError | None = None
    with _stoppable(run):
        for group in pipeline:
            together = (group,) if isinstance(group, str) else group
            if run.stop.is_set():
                failed_step, error = together[0], Interrupted("stopped by Ctrl-C before this step", remedy=_GO_ON)
                break
            begun.extend(together)
            for name in done.intersection(together):
                run.progress.ended(name, str(StepOutcome.DONE), f"before: {before[name].detail}")
            errors = _run_group(run, tuple(name for name in together if name not in done), steps)
            if errors:
                failed_step, error = next(iter(errors.items()))
                break
        # Still under the handlers: a single Ctrl-C must not cut an undo in half.
        if error is None:
            try:
                _finish_healthy(run)
                return
            except RecordFailed as unwritten:
                # A release that no record can tell of is none that a rollback could find: the old version goes back.
                failed_step, error = begun[-1], unwritten
        raise _finish_failed(run, begun, failed_step, error, steps, "notify" in names)


def put_back(run: Run, failed_step: str, error: GliError, steps: Mapping[str, Step], notify: bool) -> GliError:
    """Undo every step that the record says was begun and is not undone yet, and close the record with this error.

    Return the error as the operator is to see it: NotRestored where an undo failed.
    """
    begun = [one.name for one in run.record.steps if one.outcome is not StepOutcome.UNDONE and one.name in steps]
    with _stoppable(run):
        return _finish_failed(run, begun, failed_step, error, steps, notify)


def flat(pipeline: Pipeline) -> list[str]:
    """Return the names of a pipeline's steps in their order."""
    return [step for group in pipeline for step in ((group,) if isinstance(group, str) else group)]


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
                    errors[futures[future]] = _as_known(error)
                elif error is not None:
                    raise error
    return errors


def _as_known(error: Exception) -> GliError:
    """Return any error as one of ours: what nobody foresaw ends with the undo, the record and a sentence as well."""
    known = as_gli_error(error)
    if known is not None:
        return known
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return GliError(f"{type(error).__name__}: {error}", where=place, remedy="report this: the tool did not foresee it")


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
        known = _as_known(error)
        ended(StepOutcome.FAILED, str(known))
        _try_save(run)
        raise known from error
    ended(StepOutcome.DONE, detail)
    run.save()


def _try_save(run: Run) -> RecordFailed | None:
    """Write the record, and return why that failed: what went wrong before is the better thing to raise."""
    try:
        run.save()
    except RecordFailed as error:
        return error
    return None


def _finish_healthy(run: Run) -> None:
    run.update(
        lambda record: replace(record, outcome=Outcome.HEALTHY, ended_at=timestamp(), seconds=round(run.elapsed_s(), 3))
    )
    run.save()
    run.journal.mark_healthy(run.record)


def _finish_failed(
    run: Run, begun: list[str], failed_step: str, error: GliError, steps: Mapping[str, Step], notify: bool
) -> GliError:
    serving: list[str] = []
    lost: dict[str, GliError] = {}
    for name in reversed(begun):
        undo = steps[name].undo
        # Without the lock, another release may be at work, and putting our old version back would fight it.
        if undo is None or isinstance(error, Locked):
            continue
        try:
            sentence = undo(run)
        except Exception as undo_error:  # noqa: BLE001 - the other steps are undone all the same
            lost[name] = _as_known(undo_error)
            _note_undo(run, name, StepOutcome.NOT_UNDONE, str(lost[name]))
        else:
            serving.append(sentence)
            _note_undo(run, name, StepOutcome.UNDONE, sentence)
        _try_save(run)
    outcome = Outcome.INTERRUPTED if isinstance(error, Interrupted) else Outcome.FAILED
    clean = run.console.redactor.clean
    not_restored = _not_restored(error, lost)
    failure = Failure(failed_step, clean(str(not_restored or error)), clean(error.remedy), tuple(map(clean, serving)))
    run.update(
        lambda record: replace(
            record, outcome=outcome, ended_at=timestamp(), seconds=round(run.elapsed_s(), 3), failure=failure
        )
    )
    unwritten = _try_save(run)
    if unwritten is not None and not isinstance(error, RecordFailed):
        run.console.line(f"the end of this release is not on record: {unwritten}")
    if notify:
        run.console.line(tell(run, outcome))
    if not_restored is not None:
        return not_restored
    return _as_seen(error, failed_step, serving, any(steps[name].changes for name in begun))


def _not_restored(error: GliError, lost: Mapping[str, GliError]) -> NotRestored | None:
    if not lost:
        return None
    whats = "\n".join(one.what for one in lost.values())
    remedies = dict.fromkeys(one.remedy for one in lost.values() if one.remedy)
    return NotRestored(f"{error}\n{whats}", where=", ".join(lost), remedy="; ".join(remedies))


def _note_undo(run: Run, name: str, outcome: StepOutcome, sentence: str) -> None:
    previous = next(step for step in run.record.steps if step.name == name)
    detail = run.console.redactor.clean("; ".join(filter(None, (previous.detail, f"undo: {sentence}"))))
    run.update(lambda record: record.with_step(replace(previous, outcome=outcome, detail=detail)))
    run.progress.ended(name, str(outcome), sentence)


def _as_seen(error: GliError, step: str, serving: list[str], changed: bool) -> GliError:
    """Return the error as the operator sees it: with the step, what serves now, and an exit code that is true."""
    if error.exit_code == 2 and not changed:
        return Refused(error.what, where=error.where or step, remedy=error.remedy)
    now = "; ".join(serving) or "the old version serves, untouched"
    if isinstance(error, Locked) and changed:
        now = "what this release left, or what another one does now; `invoke release.status` shows it"
    what = f"{error}\n  serving: {now}"
    own_code = next((one for one in (Interrupted, Locked, WaitsForPerson) if isinstance(error, one)), GliError)
    return own_code(what, where=step, remedy=_GO_ON if own_code is Interrupted else "")


def _end_at_once() -> None:
    """End this process now, with every program that it runs: what the second Ctrl-C asks for."""
    shell.kill_all()
    if sys.stderr.isatty():
        # The live table hides the cursor, and has no time left to show it again.
        sys.stderr.write("\x1b[?25h")
    print("\nstopped at once: a rollout may go on; see `invoke release.status`", file=sys.stderr, flush=True)
    os._exit(Interrupted.exit_code)


@contextmanager
def _stoppable(run: Run) -> Iterator[None]:
    """Let Ctrl-C (or SIGTERM, as a CI job's cancel sends it) stop the release: once at a safe point, twice at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(_number: int, _frame: FrameType | None) -> None:
        if run.stop.is_set():
            _end_at_once()
        run.stop.set()
        print("\nstopping at the next safe point; once more stops at once", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
