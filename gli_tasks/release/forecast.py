"""Say what a release would do, without doing any of it: each step looks and tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from gli_tasks.aws import Aws
from gli_tasks.console import Console
from gli_tasks.ecs.difference import Change
from gli_tasks.ecs.findings import Finding
from gli_tasks.edge import operator_name
from gli_tasks.lock import Lock
from gli_tasks.release.journal import Journal
from gli_tasks.release.pipeline import flat
from gli_tasks.release.plan import obstacle_to_begin
from gli_tasks.release.progress import LineProgress
from gli_tasks.release.record import Record, ServiceRecord
from gli_tasks.release.run import Run, timestamp
from gli_tasks.release.start import half_done, pipeline_of, serving_release
from gli_tasks.release.steps import STEPS, Foreseen
from gli_tasks.settings import LoadedSettings, Settings


@dataclass(frozen=True, slots=True)
class StepForecast:
    """What one step would do: how things stand, what it would change, and what would stop it."""

    name: str
    stands: str
    would: tuple[str, ...]
    obstacles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServiceForecast:
    """What would change of one service: its commit, its image now and next, and its task definition, field by field."""

    commit: str
    image_now: str
    image_next: str
    task_definition_now: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """A release that was only looked at. ``obstacles`` are the reasons for which it would refuse or fail."""

    project: str
    environment: str
    who: str
    identity: str
    serving: str
    overridden_settings: tuple[str, ...]
    steps: tuple[StepForecast, ...]
    services: dict[str, ServiceForecast]
    findings: tuple[Finding, ...]
    obstacles: tuple[str, ...]


def foresee_release(loaded: LoadedSettings, console: Console) -> Forecast:
    """Look at everything that a release would touch, and say what each step would do. Nothing is written.

    Raises Refused where the environment has no pipeline or the credentials are another account's.
    """
    settings = loaded.settings
    names = flat(pipeline_of(settings))
    aws = Aws(settings.aws.region, settings.aws.account)
    identity = aws.require_account()
    now = datetime.now(UTC)
    record = Record(
        id="(planned)",
        project=settings.project,
        environment=settings.environment,
        who=operator_name(),
        identity=identity,
        started_at=timestamp(now),
        overridden_settings=loaded.overrides,
        services={name: ServiceRecord() for name in settings.services},
    )
    journal = Journal(aws.client("s3"), settings.state.bucket)
    serving = serving_release(journal, console)
    run = Run(settings, aws, console, LineProgress(console), journal, record, now, last_healthy=serving)
    seen = {name: STEPS[name].foresee(run) for name in names}
    in_the_way = _in_the_way(aws, settings, journal)
    return Forecast(
        project=settings.project,
        environment=settings.environment,
        who=record.who,
        identity=identity,
        serving=serving.id if serving else "",
        overridden_settings=loaded.overrides,
        steps=tuple(StepForecast(name, one.stands, one.would, one.obstacles) for name, one in seen.items()),
        services={name: _service(run, name, tuple(seen.values())) for name in settings.ecs_services},
        findings=tuple(finding for one in seen.values() for finding in one.findings),
        obstacles=(*in_the_way, *(sentence for one in seen.values() for sentence in one.obstacles)),
    )


def _service(run: Run, name: str, seen: tuple[Foreseen, ...]) -> ServiceForecast:
    recorded = run.service(name)
    now, following = next((one.images[name] for one in seen if name in one.images), ("", ""))
    changes = next((one.changes[name] for one in seen if name in one.changes), ())
    return ServiceForecast(recorded.commit, now, following, recorded.task_definition_before, changes)


def _in_the_way(aws: Aws, settings: Settings, journal: Journal) -> tuple[str, ...]:
    """Return why a release could not begin now: another one is at work, or the one before stands half done."""
    holder = Lock(aws.client("s3"), settings.state.bucket).holder()
    if holder is not None:
        return (f"{holder.who} holds the environment for {holder.release}",)
    newest, broken = journal.newest_readable(1)
    if broken:
        return (f"how the release before ended is not known: {broken[0]}",)
    obstacle = obstacle_to_begin(half_done(newest[0])) if newest else None
    return () if obstacle is None else (obstacle.what,)
