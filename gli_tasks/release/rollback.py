"""Go back to an earlier release: at once, by the same steps, with a record of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gli_tasks.aws import Aws
from gli_tasks.ecs.definition import current as definition_of
from gli_tasks.ecs.services import read_services
from gli_tasks.errors import Refused
from gli_tasks.registry import has_digest
from gli_tasks.release.journal import Journal
from gli_tasks.release.plan import ReleaseFacts, TargetFacts, choose_target, obstacles
from gli_tasks.release.record import Outcome, Record, ServiceRecord
from gli_tasks.settings.model import Pipeline, Settings

#: What a rollback does of a release: no build, no new revision.
STEPS_BACK: Pipeline = ("ecs.update", "ecs.wait", "health.check", "notify")
_RECORDS_LOOKED_AT = 50


def find_target(settings: Settings, aws: Aws, wanted: str) -> Record:
    """Return the release to go back to, having made sure that its task definitions and images are still there.

    Raises Refused, naming everything that is in the way.
    """
    ecs, ecr = aws.client("ecs"), aws.client("ecr")
    services = settings.ecs_services
    live = read_services(ecs, settings.ecs.cluster, [one.service for one in services.values()])
    serving = {name: live[one.service].task_definition for name, one in services.items()}
    # One broken record must not be in the way of going back.
    records, _ = Journal(aws.client("s3"), settings.state.bucket).newest_readable(_RECORDS_LOOKED_AT)
    if (
        records
        and records[0].outcome is Outcome.RUNNING
        and any(one.task_definition_before for one in records[0].services.values())
    ):
        raise Refused(
            f"the release {records[0].id} is under way, or was cut off and stands half done",
            remedy="put the old version back with `invoke release.abort`, or go on with `invoke release.resume`",
        )
    chosen = choose_target([_release_facts(record) for record in records], serving, wanted)
    target = next(record for record in records if record.id == chosen)
    recorded = {name: one for name, one in target.services.items() if one.task_definition}
    facts = {
        name: _facts(ecs, ecr, services[name].repository, one) for name, one in recorded.items() if name in services
    }
    found = obstacles(
        facts,
        list(services),
        list(recorded),
        migration_head=target.migration_head,
        migration_head_now=next((one.migration_head for one in records if one.migration_head), ""),
    )
    if found:
        raise Refused(
            f"the release {target.id} cannot be gone back to:\n" + "\n".join(f"  - {sentence}" for sentence in found),
            remedy="name another with --to; `invoke release.history` lists them",
        )
    return target


def _release_facts(record: Record) -> ReleaseFacts:
    definitions = {name: one.task_definition for name, one in record.services.items() if one.task_definition}
    return ReleaseFacts(record.id, record.outcome is Outcome.HEALTHY, definitions, record.rollback_to)


def _facts(ecs: Any, ecr: Any, repository: str, one: ServiceRecord) -> TargetFacts:
    definition = definition_of(ecs, one.task_definition)
    status = str(definition.get("status", "")) if definition else ""
    return TargetFacts(one.task_definition, status, one.image, has_digest(ecr, repository, one.digest))


def sentences_of(settings: Settings, aws: Aws, target: Record) -> tuple[str, ...]:
    """Return what going back to a release would change, one sentence a service."""
    services = settings.ecs_services
    live = read_services(aws.client("ecs"), settings.ecs.cluster, [one.service for one in services.values()])
    return tuple(
        f"{one.service}: {_short(live[one.service].task_definition)} → {_short(target.services[name].task_definition)}"
        for name, one in services.items()
        if live[one.service].task_definition != target.services[name].task_definition
    )


def _short(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


def services_of(target: Record) -> dict[str, ServiceRecord]:
    """Return what a rollback's record begins with: the target's versions, with nothing done yet."""
    return {name: replace(one, deployment="", task_definition_before="") for name, one in target.services.items()}
