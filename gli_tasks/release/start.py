"""Start a release: look before anything is touched, take the lock, open the record, run the pipeline."""

from __future__ import annotations

import secrets
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
from gli_tasks.release.plan import closing
from gli_tasks.release.progress import progress_for
from gli_tasks.release.record import Failure, Outcome, Record, ServiceRecord
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


def release_id(moment: datetime) -> str:
    """Return a new release's id: its time in UTC, so that names sort by time, and four digits against a second one."""
    return f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


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
    record = Record(
        id=release_id(started),
        project=settings.project,
        environment=settings.environment,
        who=operator_name(),
        identity=identity,
        started_at=timestamp(started),
        overridden_settings=loaded.overrides,
        services={name: ServiceRecord() for name in settings.services},
        rollback_to=target,
    )
    journal = Journal(aws.client("s3"), settings.state.bucket)
    with held(aws.client("s3"), settings.state.bucket, record.id, record.who) as lock:
        close_what_was_cut_off(journal, record.id)
        require_settled(read_services(aws.client("ecs"), settings.ecs.cluster, names))
        if target:
            # Looked at once more, now that nobody else can change it.
            record = replace(record, services=services_of(find_target(settings, aws, target)))
        return carry_out(settings, console, aws, journal, record, lock, pipeline)


def close_what_was_cut_off(journal: Journal, next_release: str) -> None:
    """Make sure that no release stands half done: close the record of one that had changed nothing.

    Raises Refused where it had begun to change something, since what serves now was then never proven.
    """
    newest = journal.newest(1)
    if not newest or newest[0].outcome is not Outcome.RUNNING:
        return
    cut_off = newest[0]
    begun = [step.name for step in cut_off.steps if step.name in STEPS and STEPS[step.name].changes]
    sentence = closing(cut_off.id, begun, next_release)
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
        run.save()
        try:
            run_pipeline(run, pipeline, STEPS)
        except GliError as failure:
            error = failure
    return Ended(run.record, error, journal.place(record.id))
