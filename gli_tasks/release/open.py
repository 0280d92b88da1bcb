"""Go on with a release that was cut off or interrupted, or give it up."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime

from gli_tasks.aws import Aws
from gli_tasks.console import Console
from gli_tasks.edge import operator_name
from gli_tasks.errors import GliError, NotRestored, Refused
from gli_tasks.lock import Holder, Lock, held
from gli_tasks.release.journal import Journal
from gli_tasks.release.pipeline import flat, put_back
from gli_tasks.release.plan import OpenFacts, StepKind, already_done, choose_open
from gli_tasks.release.progress import progress_for
from gli_tasks.release.record import Outcome, Record, StepOutcome, StepRecord
from gli_tasks.release.rollback import STEPS_BACK
from gli_tasks.release.run import Run, timestamp
from gli_tasks.release.start import Ended, carry_out, pipeline_of
from gli_tasks.release.steps import STEPS
from gli_tasks.settings import LoadedSettings, Settings
from gli_tasks.settings.model import Pipeline
from gli_tasks.source import read_source

_RECORDS_LOOKED_AT = 50


def find_open(settings: Settings, aws: Aws, wanted: str) -> Record:
    """Return the release that can go on or be given up. Raises Refused where there is none."""
    journal = Journal(aws.client("s3"), settings.state.bucket)
    records = journal.newest(_RECORDS_LOOKED_AT if wanted else 1)
    current = journal.current_id() if records and records[0].outcome is Outcome.HEALTHY else ""
    facts = [OpenFacts(record.id, _standing(record), record.id == current) for record in records]
    chosen = choose_open(facts, wanted)
    return next(record for record in records if record.id == chosen)


def steps_left(settings: Settings, record: Record) -> tuple[str, ...]:
    """Return the steps that a resumed release would do, in their order; none where its undo is what is left."""
    if failed_step(record) is not None:
        return ()
    names = flat(_pipeline(settings, record))
    kinds = {name: StepKind(STEPS[name].looks, STEPS[name].local, STEPS[name].takes_local) for name in names}
    done = already_done(kinds, [one.name for one in record.steps if one.outcome is StepOutcome.DONE])
    return tuple(name for name in names if name not in done)


def undos_left(record: Record) -> tuple[str, ...]:
    """Return the steps that giving the release up would undo, in the order of their undo."""
    begun = [one.name for one in record.steps if one.outcome is not StepOutcome.UNDONE]
    return tuple(name for name in reversed(begun) if name in STEPS and STEPS[name].undo is not None)


def _standing(record: Record) -> str:
    return "not put back" if _not_undone(record) is not None else str(record.outcome)


def _not_undone(record: Record) -> StepRecord | None:
    return next((one for one in record.steps if one.outcome is StepOutcome.NOT_UNDONE), None)


def failed_step(record: Record) -> StepRecord | None:
    """Return the step after which the old version is still to be put back: the release failed in it, and then was cut
    off or could not undo what it had done. None where the release can go forward."""
    if record.outcome is Outcome.RUNNING:
        failed = next((one for one in record.steps if one.outcome is StepOutcome.FAILED), None)
        return failed or _not_undone(record)
    return _not_undone(record)


def require_same_sources(settings: Settings, record: Record) -> None:
    """Make sure that what is left to do from the sources is done from the commits that the release is of.

    Raises Refused, naming every source that is elsewhere.
    """
    if not any(STEPS[name].local for name in steps_left(settings, record)):
        return
    moved = []
    for name, service in settings.services.items():
        recorded = record.services.get(name)
        if recorded is None or not recorded.commit:
            continue
        found = read_source(service.source)
        if (found.commit, found.dirty) != (recorded.commit, recorded.dirty):
            moved.append(f"{name} is at {found.image_tag[:12]}, and the release is of {recorded.commit[:12]}")
    if moved:
        raise Refused(
            f"the sources moved on since {record.id} was cut off:\n" + "\n".join(f"  - {one}" for one in moved),
            remedy="check those commits out again, or give the release up with `invoke release.abort`",
        )


def resume_release(loaded: LoadedSettings, console: Console, wanted: str) -> Ended:
    """Go on with a release, to the end that it would have had; return and raise as ``start_release`` does.

    One that was cut off while the old version was being put back goes on with that.
    """
    settings = loaded.settings
    aws = Aws(settings.aws.region, settings.aws.account)
    aws.require_account()
    found = find_open(settings, aws, wanted)
    require_same_sources(settings, found)
    who = operator_name()
    with _held(aws, settings, found.id, who, console) as lock:
        journal = Journal(aws.client("s3"), settings.state.bucket)
        before = journal.go_on(found.id)
        note = f"{who} at {timestamp()}"
        record = replace(before, outcome=Outcome.RUNNING, failure=None, ended_at="", resumed=(*before.resumed, note))
        failed = failed_step(before)
        pipeline = _pipeline(settings, record)
        if failed is None:
            return carry_out(settings, console, aws, journal, record, lock, pipeline, before)
        error = GliError(f"{failed.detail}\n  (the release was cut off after this, and its undo went on later)")
        return _give_up(settings, console, aws, journal, record, lock, failed.name, error)


def abort_release(loaded: LoadedSettings, console: Console, wanted: str, reason: str) -> Ended:
    """Give a release up: put back what it had changed, and close its record.

    ``error`` of what comes back is None where the old version serves, NotRestored where it could not be put back.
    """
    settings = loaded.settings
    aws = Aws(settings.aws.region, settings.aws.account)
    aws.require_account()
    found = find_open(settings, aws, wanted)
    who = operator_name()
    with _held(aws, settings, found.id, who, console) as lock:
        journal = Journal(aws.client("s3"), settings.state.bucket)
        record = journal.go_on(found.id)
        last = next((one.name for one in reversed(record.steps)), "")
        error = GliError(f"given up by {who}: {reason}")
        ended = _give_up(settings, console, aws, journal, record, lock, last, error)
    return ended if isinstance(ended.error, NotRestored) else replace(ended, error=None)


def _held(aws: Aws, settings: Settings, release: str, who: str, console: Console) -> AbstractContextManager[Lock]:
    """Hold the lock, having waited for the lease of the process that died."""

    def tell(holder: Holder, left_s: float) -> None:
        console.line(f"waiting up to {left_s:.0f} s for the lease of {holder.who}, who held {release} and is silent")

    return held(aws.client("s3"), settings.state.bucket, release, who, patient=True, on_wait=tell)


def _give_up(
    settings: Settings,
    console: Console,
    aws: Aws,
    journal: Journal,
    record: Record,
    lock: Lock,
    step: str,
    error: GliError,
) -> Ended:
    names = flat(_pipeline(settings, record))
    with progress_for(console, names) as progress:
        started = datetime.fromisoformat(record.started_at)
        run = Run(settings, aws, console, progress, journal, record, started, lock.require_held, record)
        aws.guard_changes(lock.require_held)
        aws.tell_changes(run.note_call)
        ended = put_back(run, step, error, STEPS, "notify" in names)
    return Ended(run.record, ended, journal.place(record.id))


def _pipeline(settings: Settings, record: Record) -> Pipeline:
    return STEPS_BACK if record.rollback_to else pipeline_of(settings)
