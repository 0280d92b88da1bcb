"""End a release: healthy, or with the undo of what was done and a record that says so."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gli_tasks.aws import as_gli_error
from gli_tasks.errors import GliError, Interrupted, Locked, NotRestored, RecordFailed, Refused, WaitsForPerson
from gli_tasks.release.news import tell
from gli_tasks.release.record import Failure, Outcome, Record, StepOutcome
from gli_tasks.release.run import Run, timestamp
from gli_tasks.release.steps import Step

GO_ON = "`invoke release.resume` goes on with it"


def as_known(error: Exception) -> GliError:
    """Return any error as one of ours: what nobody foresaw ends with the undo, the record and a sentence as well."""
    known = as_gli_error(error)
    if known is not None:
        return known
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return GliError(f"{type(error).__name__}: {error}", where=place, remedy="report this: the tool did not foresee it")


def try_save(run: Run) -> RecordFailed | None:
    """Write the record, and return why that failed: what went wrong before is the better thing to raise."""
    try:
        run.save()
    except RecordFailed as error:
        return error
    return None


def finish_healthy(run: Run) -> None:
    """Record the release as healthy, and let ``current.json`` name it. Raises RecordFailed."""
    run.update(
        lambda record: replace(record, outcome=Outcome.HEALTHY, ended_at=timestamp(), seconds=round(run.elapsed_s(), 3))
    )
    run.save()
    run.journal.mark_healthy(run.record)


def finish_failed(
    run: Run, begun: Sequence[str], failed_step: str, error: GliError, steps: Mapping[str, Step], notify: bool
) -> GliError:
    """Undo the steps that were begun, the last one first, close the record, and return the error for the operator.

    What comes back is NotRestored where an undo failed on which depends what serves. Without the lock nothing is put
    back, since another release may be at work; a release that had changed something then stays open on record.
    """
    lost_lock = isinstance(error, Locked)
    changed = any(steps[name].changes for name in begun)
    outcome = Outcome.INTERRUPTED if isinstance(error, Interrupted) else Outcome.FAILED
    undoable = [] if lost_lock else [name for name in reversed(begun) if steps[name].undo is not None]
    if undoable:
        # Before the first undo: whoever finds this release cut off must know that it was on its way back.
        failure = _failure(run, failed_step, error, ())
        run.update(lambda record: replace(record, undoing=str(outcome), failure=failure))
        try_save(run)
    serving: list[str] = []
    lost: dict[str, GliError] = {}
    for name in undoable:
        _undo(run, name, steps[name], serving, lost)
    not_restored = _not_restored(error, {name: one for name, one in lost.items() if not steps[name].tidies})
    failure = _failure(run, failed_step, not_restored or error, serving)
    open_still = lost_lock and changed
    run.update(lambda record: replace(record, undoing="", failure=failure) if open_still else _closed(record, outcome))
    if not open_still:
        run.update(lambda record: replace(record, failure=failure, seconds=round(run.elapsed_s(), 3)))
    unwritten = try_save(run)
    if unwritten is not None and not isinstance(error, RecordFailed):
        run.console.line(f"the end of this release is not on record: {unwritten}")
    if notify:
        run.console.line(tell(run, outcome))
    if not_restored is not None:
        return not_restored
    left = [one.what for one in lost.values()]
    return _as_seen(error, failed_step, serving, left, changed)


def _closed(record: Record, outcome: Outcome) -> Record:
    return replace(record, outcome=outcome, ended_at=timestamp(), undoing="")


def _failure(run: Run, step: str, error: GliError, serving: Sequence[str]) -> Failure:
    clean = run.console.redactor.clean
    return Failure(step, clean(str(error)), clean(error.remedy), tuple(map(clean, serving)))


def _undo(run: Run, name: str, step: Step, serving: list[str], lost: dict[str, GliError]) -> None:
    assert step.undo is not None
    try:
        sentence = step.undo(run)
    except Exception as error:  # noqa: BLE001 - the other steps are undone all the same
        lost[name] = as_known(error)
        _note_undo(run, name, StepOutcome.NOT_UNDONE, str(lost[name]))
    else:
        serving.append(sentence)
        _note_undo(run, name, StepOutcome.UNDONE, sentence)
    try_save(run)


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


def _as_seen(error: GliError, step: str, serving: Sequence[str], left: Sequence[str], changed: bool) -> GliError:
    """Return the error as the operator sees it: with the step, what serves now, and an exit code that is true."""
    if error.exit_code == 2 and not changed:
        return Refused(error.what, where=error.where or step, remedy=error.remedy)
    now = "; ".join(serving) or "the old version serves, untouched"
    if isinstance(error, Locked) and changed:
        now = "what this release left, or what another one does now; `invoke release.status` shows it"
    what = f"{f'{error.where}: ' if error.where else ''}{error.what}\n  serving: {now}"
    what += "".join(f"\n  left behind: {one}" for one in left)
    own_code = next((one for one in (Interrupted, Locked, WaitsForPerson) if isinstance(error, one)), GliError)
    return own_code(what, where=step, remedy=error.remedy or (GO_ON if own_code is Interrupted else ""))
