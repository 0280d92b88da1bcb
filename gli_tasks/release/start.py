"""Start a release: look before anything is touched, open the record, run the pipeline."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime

from gli_tasks.aws import Aws
from gli_tasks.console import Console
from gli_tasks.ecs.services import read_services, require_settled
from gli_tasks.edge import operator_name
from gli_tasks.errors import GliError, RecordFailed, Refused
from gli_tasks.release.journal import Journal
from gli_tasks.release.lock import Holder, Lock
from gli_tasks.release.pipeline import run_pipeline
from gli_tasks.release.progress import progress_for
from gli_tasks.release.record import Record, ServiceRecord
from gli_tasks.release.rollback import STEPS_BACK, find_target, services_of
from gli_tasks.release.run import Run, timestamp
from gli_tasks.release.steps import STEPS
from gli_tasks.settings import LoadedSettings, Settings
from gli_tasks.settings.model import Pipeline


def release_id(moment: datetime) -> str:
    """Return a new release's id: its time in UTC, so that names sort by time, and four digits against a second one."""
    return f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def start_release(loaded: LoadedSettings, console: Console) -> tuple[Record, GliError | None, str]:
    """Run the environment's pipeline; return the record, the error that ended it, and where the record is.

    Raises Locked where another release holds the environment, Refused and other errors of what is wrong before
    anything was touched.
    """
    settings = loaded.settings
    if not settings.pipeline:
        raise Refused(
            f"{settings.project} {settings.environment} has no pipeline",
            remedy=f"add [pipelines] {settings.environment} to project.toml",
        )
    return _start(loaded, console, settings.pipeline, "")


def start_rollback(loaded: LoadedSettings, console: Console, target: str) -> tuple[Record, GliError | None, str]:
    """Go back to an earlier release; return and raise as ``start_release`` does."""
    return _start(loaded, console, STEPS_BACK, target)


def _start(
    loaded: LoadedSettings, console: Console, pipeline: Pipeline, target: str
) -> tuple[Record, GliError | None, str]:
    settings = loaded.settings
    aws = Aws(settings.aws.region, settings.aws.account)
    identity = aws.require_account()
    names = [one.service for one in settings.ecs_services.values()]
    require_settled(read_services(aws.client("ecs"), settings.ecs.cluster, names))
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
    lock = Lock(aws.client("s3"), settings.state.bucket)
    try:
        lock.acquire(Holder(secrets.token_hex(16), record.who, record.id, record.started_at))
    except RecordFailed as error:
        raise Refused(error.what, where=error.where, remedy=error.remedy) from error
    try:
        if target:
            # Looked at once more, now that nobody else can change it.
            record = replace(record, services=services_of(find_target(settings, aws, target)))
        return _run(settings, console, aws, record, started, lock, pipeline)
    finally:
        lock.release()


def _run(
    settings: Settings,
    console: Console,
    aws: Aws,
    record: Record,
    started: datetime,
    lock: Lock,
    pipeline: Pipeline,
) -> tuple[Record, GliError | None, str]:
    journal = Journal(aws.client("s3"), settings.state.bucket)
    flat = [step for group in pipeline for step in ((group,) if isinstance(group, str) else group)]
    error: GliError | None = None
    with progress_for(console, flat) as progress:
        run = Run(settings, aws, console, progress, journal, record, started, lock.require_held)
        aws.guard_changes(lock.require_held)
        aws.tell_changes(run.note_call)
        run.save()
        try:
            run_pipeline(run, pipeline, STEPS)
        except GliError as failure:
            error = failure
    return run.record, error, journal.place(record.id)
