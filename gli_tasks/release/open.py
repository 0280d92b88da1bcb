"""Go on with a release that was cut off or interrupted, or give it up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime

from gli_tasks.aws import Aws, as_gli_error
from gli_tasks.console import Console
from gli_tasks.edge import operator_name
from gli_tasks.errors import GliError, Interrupted, NotRestored, RecordFailed, Refused
from gli_tasks.git.repository import has_commit
from gli_tasks.lock import Holder, Lock, held
from gli_tasks.release.journal import Journal
from gli_tasks.release.pipeline import flat, kinds_of, put_back
from gli_tasks.release.plan import OpenFacts, already_done, choose_open
from gli_tasks.release.progress import LineProgress, progress_for
from gli_tasks.release.record import Failure, Outcome, Record, StepOutcome
from gli_tasks.release.rollback import STEPS_BACK
from gli_tasks.release.run import Run, timestamp
from gli_tasks.release.start import Ended, carry_out, half_done, pipeline_of
from gli_tasks.release.steps import STEPS
from gli_tasks.release.steps.rollout import undo_foreseen
from gli_tasks.settings import LoadedSettings, Settings
from gli_tasks.settings.model import Pipeline
from gli_tasks.source import read_source

_RECORDS_LOOKED_AT = 50


@contextmanager
def _nothing_done_yet() -> Iterator[None]:
    """Let no error before the first act say that the old version serves: how the release stands is as it was."""
    try:
        yield
    except Exception as error:
        known = as_gli_error(error)
        if known is None or known.exit_code != 1:
            raise
        remedy = "; ".join(filter(None, (known.remedy, "the release stands as it stood: try again")))
        raise Refused(known.what, where=known.where, remedy=remedy) from error


def find_open(settings: Settings, aws: Aws, wanted: str) -> Record:
    """Return the release that can go on or be given up. Raises Refused where there is none, or nobody can tell."""
    with _nothing_done_yet():
        journal = Journal(aws.client("s3"), settings.state.bucket)
        records = journal.newest(_RECORDS_LOOKED_AT if wanted else 1)
        current = journal.current_id() if records and records[0].outcome is Outcome.HEALTHY else ""
    facts = [OpenFacts(record.id, _standing(record), record.id == current) for record in records]
    chosen = choose_open(facts, wanted)
    return next(record for record in records if record.id == chosen)


def _standing(record: Record) -> str:
    return "not put back" if half_done(record).not_put_back else str(record.outcome)


def steps_left(settings: Settings, record: Record) -> tuple[str, ...]:
    """Return the steps that a resumed release would do, in their order; none where its undo is what is left."""
    if undo_left(record) is not None and record.undoing != Outcome.INTERRUPTED:
        return ()
    names = flat(_pipeline(settings, record))
    done = already_done(kinds_of(names, STEPS), [one.name for one in record.steps if one.outcome is StepOutcome.DONE])
    return tuple(name for name in names if name not in done)


def undos_left(record: Record) -> tuple[str, ...]:
    """Return the steps that giving the release up would undo, in the order of their undo."""
    begun = [one.name for one in record.steps if one.outcome is not StepOutcome.UNDONE]
    return tuple(name for name in reversed(begun) if name in STEPS and STEPS[name].undo is not None)


def plan_of_abort(loaded: LoadedSettings, console: Console, record: Record) -> tuple[str, ...]:
    """Return what giving the release up would change, one sentence each; reads only."""
    settings = loaded.settings
    aws = Aws(settings.aws.region, settings.aws.account)
    journal = Journal(aws.client("s3"), settings.state.bucket)
    run = Run(settings, aws, console, LineProgress(console), journal, record, datetime.fromisoformat(record.started_at))
    left = undos_left(record)
    services = undo_foreseen(run) if "ecs.update" in left else ()
    return (*(f"undo {step}" for step in left if step != "ecs.update"), *services)


def undo_left(record: Record) -> Failure | None:
    """Return why the old version is still to be put back: the release failed or was given up, and then was cut off or
    could not undo what it had done. None where the release can go forward."""
    if record.outcome is Outcome.RUNNING and record.undoing:
        return record.failure
    failed = next((one for one in record.steps if one.outcome is StepOutcome.FAILED), None)
    if record.outcome is Outcome.RUNNING and failed is not None:
        return Failure(failed.name, failed.detail)
    return record.failure if half_done(record).not_put_back else None


def require_same_sources(settings: Settings, record: Record) -> None:
    """Make sure that what is left to do from the sources is done from the commits that the release is of.

    Raises Refused, naming every source that is elsewhere.
    """
    left = steps_left(settings, record)
    wrong = []
    for name, service in settings.services.items():
        recorded = record.services.get(name)
        if recorded is None or not recorded.commit:
            continue
        if any(STEPS[step].local for step in left):
            found = read_source(service.source)
            if (found.commit, found.dirty) != (recorded.commit, recorded.dirty):
                wrong.append(f"{name} is at {found.image_tag[:12]}, and the release is of {recorded.commit[:12]}")
        elif "git.tag" in left and settings.git.tag_prefix and not has_commit(service.source, recorded.commit):
            wrong.append(f"{name}: {service.source} does not hold {recorded.commit[:12]}; fetch it")
    if wrong:
        raise Refused(
            f"the sources are not those that {record.id} is of:\n" + "\n".join(f"  - {one}" for one in wrong),
            remedy="bring those commits here, or give the release up with `invoke release.abort`",
        )


def resume_release(loaded: LoadedSettings, console: Console, wanted: str) -> Ended:
    """Go on with a release, to the end that it would have had; return and raise as ``start_release`` does.

    One that was cut off while the old version was being put back goes on with that; one that a person had interrupted
    then goes forward.
    """
    settings, aws, release, who = _begun(loaded, wanted)
    with _held(aws, settings, release, who, console) as lock:
        journal = Journal(aws.client("s3"), settings.state.bucket)
        with _nothing_done_yet():
            # Looked at once more, now that nobody else can change it.
            require_same_sources(settings, find_open(settings, aws, release))
            before = journal.go_on(release)
        note = f"{who} at {timestamp()}"
        record = replace(before, resumed=(*before.resumed, note))
        failure = undo_left(before)
        if failure is not None:
            interrupted = before.undoing == Outcome.INTERRUPTED
            error = _as_error(failure, interrupted)
            ended = _put_back(settings, console, aws, journal, record, lock, failure.step, error)
            if not interrupted or isinstance(ended.error, NotRestored):
                return ended
            before = record = ended.record
        opened = replace(record, outcome=Outcome.RUNNING, failure=None, ended_at="", undoing="")
        return carry_out(settings, console, aws, journal, opened, lock, _pipeline(settings, opened), before)


def _as_error(failure: Failure, interrupted: bool) -> GliError:
    what = failure.what.splitlines() or ["no reason is on record"]
    text = "\n".join(line for line in what if not line.startswith("  next: "))
    if interrupted:
        return Interrupted(text)
    return GliError(f"{text}\n  (its undo was cut off, and went on later)", remedy=failure.remedy)


def abort_release(loaded: LoadedSettings, console: Console, wanted: str, reason: str) -> Ended:
    """Give a release up: put back what it had changed, and close its record.

    ``error`` of what comes back is None where the old version serves and the record says so; NotRestored where it could
    not be put back, RecordFailed where the record could not be closed.
    """
    settings, aws, release, who = _begun(loaded, wanted)
    with _held(aws, settings, release, who, console) as lock:
        journal = Journal(aws.client("s3"), settings.state.bucket)
        with _nothing_done_yet():
            find_open(settings, aws, release)
            record = journal.go_on(release)
        last = next((one.name for one in reversed(record.steps)), "")
        error = GliError(f"given up by {who}: {reason}")
        ended = _put_back(settings, console, aws, journal, record, lock, last, error)
        if isinstance(ended.error, NotRestored):
            return ended
        closed = journal.read_or_none(release)
    if closed is None or closed.outcome is Outcome.RUNNING:
        unclosed = RecordFailed(
            "the old version serves, and the record could not be closed",
            where=ended.place,
            remedy="once S3 answers, `invoke release.abort` again closes it",
        )
        return replace(ended, error=unclosed)
    return replace(ended, error=None)


def _begun(loaded: LoadedSettings, wanted: str) -> tuple[Settings, Aws, str, str]:
    settings = loaded.settings
    aws = Aws(settings.aws.region, settings.aws.account)
    with _nothing_done_yet():
        aws.require_account()
    return settings, aws, find_open(settings, aws, wanted).id, operator_name()


def _held(aws: Aws, settings: Settings, release: str, who: str, console: Console) -> AbstractContextManager[Lock]:
    """Hold the lock, having waited for the lease of the process that died."""

    def tell(holder: Holder, left_s: float) -> None:
        console.line(f"waiting up to {left_s:.0f} s for the lease of {holder.who}, who held {release} and is silent")

    return held(aws.client("s3"), settings.state.bucket, release, who, patient=True, on_wait=tell, on_left=console.line)


def _put_back(
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
