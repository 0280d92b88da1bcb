"""Start a release: look before anything is touched, take the lock, open the record, run the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gli_tasks.aws import Aws
from gli_tasks.console import Console
from gli_tasks.ecs.services import read_services, require_settled
from gli_tasks.edge import operator_name
from gli_tasks.errors import GliError, RecordFailed, Refused
from gli_tasks.lock import Lock, held
from gli_tasks.release.journal import Journal
from gli_tasks.release.pipeline import flat, run_pipeline
from gli_tasks.release.plan import HalfDone, obstacle_to_begin
from gli_tasks.release.progress import progress_for
from gli_tasks.release.record import Failure, Outcome, Record, ServiceRecord, StepOutcome
from gli_tasks.release.rollback import STEPS_BACK, find_target, services_of
from gli_tasks.release.run import Run, timestamp
from gli_tasks.release.steps import STEPS
from gli_tasks.settings import LoadedSettings, Settings
from gli_tasks.settings.model import Pipeline


@dataclass(frozen=True, slots=True)
class Ended:
    """How a release ended: its record, the error that ended it, if any, and where the record is."""

    record: Record
    error: GliError | None
    place: str


def pipeline_of(settings: Settings) -> Pipeline:
    """Return the environment's pipeline. Raises Refused where it has none."""
    if not settings.pipeline:
        raise Refused(
            f"{settings.project} {settings.environment} has no pipeline",
            remedy=f"add [pipelines] {settings.environment} to project.toml",
        )
    return settings.pipeline


def start_release(loaded: LoadedSettings, console: Console) -> Ended:
    """Run the environment's pipeline, and return how that ended.

    Raises Locked where another release holds the environment, Refused and other errors of what is wrong before
    anything was touched.
    """
    return _start(loaded, console, pipeline_of(loaded.settings), "")


def start_rollback(loaded: LoadedSettings, console: Console, target: str) -> Ended:
    """Go back to an earlier release; return and raise as ``start_release`` does."""
    return _start(loaded, console, STEPS_BACK, target)


def _start(loaded: LoadedSettings, console: Console, pipeline: Pipeline, target: str) -> Ended:
    settings = loaded.settings
    aws = Aws(settings.aws.region, settings.aws.account)
    identity = aws.require_account()
    names = [one.service for one in settings.ecs_services.values()]
    # Before the lock is taken, so that what is missing altogether is said without a trace.
    read_services(aws.client("ecs"), settings.ecs.cluster, names)
    started = datetime.now(UTC)
    journal = Journal(aws.client("s3"), settings.state.bucket)
    record = Record(
        id=_new_id(journal),
        project=settings.project,
        environment=settings.environment,
        who=operator_name(),
        identity=identity,
        started_at=timestamp(started),
        overridden_settings=loaded.overrides,
        services={name: ServiceRecord() for name in settings.services},
        rollback_to=target,
    )
    s3, bucket = aws.client("s3"), settings.state.bucket
    with held(s3, bucket, record.id, record.who, on_left=console.line) as lock:
        # By a journal of its own, since each writes one release's record.
        close_what_was_cut_off(Journal(aws.client("s3"), settings.state.bucket), record)
        require_settled(read_services(aws.client("ecs"), settings.ecs.cluster, names))
        if target:
            # Looked at once more, now that nobody else can change it.
            record = replace(record, services=services_of(find_target(settings, aws, target)))
        return carry_out(settings, console, aws, journal, record, lock, pipeline)


def _new_id(journal: Journal) -> str:
    try:
        return journal.new_id()
    except RecordFailed as error:
        raise Refused(error.what, where=error.where, remedy=error.remedy) from error


def half_done(newest: Record) -> HalfDone:
    """Return what a plan and a new release must know of the release before."""
    return HalfDone(
        newest.id,
        cut_off=newest.outcome is Outcome.RUNNING,
        begun=tuple(step.name for step in newest.steps if step.name in STEPS and STEPS[step.name].changes),
        not_put_back=tuple(
            step.name
            for step in newest.steps
            if step.outcome is StepOutcome.NOT_UNDONE and not (step.name in STEPS and STEPS[step.name].tidies)
        ),
    )


def close_what_was_cut_off(journal: Journal, next_one: Record) -> None:
    """Make sure that no release stands half done: close the record of one that had changed nothing.

    Raises Refused where it had begun to change something, since what serves now was then never proven, and where the
    newest record cannot be read. A rollback begins all the same where an undo failed, or a record is broken: it is the
    way out.
    """
    newest, broken = journal.newest_readable(1)
    if broken and not next_one.rollback_to:
        raise Refused(f"how the release before ended is not known: {broken[0].what}", where=broken[0].where)
    if not newest:
        return
    cut_off, state = newest[0], half_done(newest[0])
    obstacle = obstacle_to_begin(state)
    if obstacle is not None and not (next_one.rollback_to and not state.cut_off):
        raise obstacle
    if not state.cut_off:
        return
    sentence = f"cut off before it changed anything; {next_one.id} began after it"
    closed = journal.go_on(cut_off.id)
    failure = Failure(step="", what=sentence)
    journal.write(replace(closed, outcome=Outcome.FAILED, ended_at=timestamp(), failure=failure))


def serving_release(journal: Journal, console: Console) -> Record | None:
    """Return the record of the last healthy release, or None; one that cannot be read spares no work, and is said."""
    try:
        return journal.current()
    except RecordFailed as error:
        console.line(f"the last healthy release cannot be looked at, so everything is checked anew: {error.what}")
        return None


def carry_out(
    settings: Settings,
    console: Console,
    aws: Aws,
    journal: Journal,
    record: Record,
    lock: Lock,
    pipeline: Pipeline,
    resumed_from: Record | None = None,
) -> Ended:
    """Run a pipeline under the lock, and return how it ended."""
    error: GliError | None = None
    with progress_for(console, flat(pipeline)) as progress:
        started = datetime.fromisoformat(record.started_at)
        serving = serving_release(journal, console)
        run = Run(settings, aws, console, progress, journal, record, started, lock.require_held, resumed_from, serving)
        aws.guard_changes(lock.require_held)
        aws.tell_changes(run.note_call)
        try:
            run.save()
        except RecordFailed as refused:
            raise Refused(refused.what, where=refused.where, remedy=refused.remedy) from refused
        try:
            run_pipeline(run, pipeline, STEPS)
        except GliError as failure:
            error = failure
    return Ended(run.record, error, journal.place(record.id))
