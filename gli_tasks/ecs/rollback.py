"""Take one service back to the task definition that served before, at once, and believe it by running digests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from gli_tasks.ecs.definition import current, short
from gli_tasks.ecs.deploy import Expected, Started, follow, require_completed, update_service
from gli_tasks.ecs.evidence import Client
from gli_tasks.ecs.plan import Judgement, ServiceFacts
from gli_tasks.ecs.prune import Revision, read_revisions
from gli_tasks.errors import Refused
from gli_tasks.registry import find_image, has_digest
from gli_tasks.releases_on_record import ReleaseOnRecord


@dataclass(frozen=True, slots=True)
class Target:
    """A task definition to go back to, where it is known from, and what its container must run then.

    ``digest`` is empty where the image is not in the settings' registry, so that it cannot be looked up.
    """

    task_definition: str
    source: str
    digest: str


def previous_on_record(newest_first: Iterable[ReleaseOnRecord], service: str, serving: str) -> tuple[str, str]:
    """Return the task definition that a service ran before the one that serves, and the healthy release that says so.

    ``service`` is the settings' name. Older than the release that the serving one is of; where none is, the newest that
    ended healthy. What lies between a rollback and the release that it went back to was left on purpose, and is passed
    over. Both are empty where no record tells.
    """
    healthy = _chosen_path(newest_first)
    named = [(one.services[service].task_definition, one.id) for one in healthy if service in one.services]
    named = [(definition, release) for definition, release in named if definition]
    here = next((index for index, (definition, _) in enumerate(named) if definition == serving), -1)
    return next(((definition, release) for definition, release in named[here + 1 :] if definition != serving), ("", ""))


def _chosen_path(newest_first: Iterable[ReleaseOnRecord]) -> list[ReleaseOnRecord]:
    path: list[ReleaseOnRecord] = []
    gone_back_to = ""
    for release in newest_first:
        if gone_back_to and release.id != gone_back_to:
            continue
        gone_back_to = ""
        if release.healthy:
            path.append(release)
            gone_back_to = release.rollback_to
    return path


def previous_revision(revisions: Collection[Revision], serving: str, failed: Collection[str]) -> str:
    """Return the newest active revision that is older than the serving one and not known to have failed; empty where
    there is none."""
    number = _number(serving)
    older = [one for one in revisions if one.active and one.number < number and one.arn not in failed]
    return max(older, key=lambda one: one.number).arn if older else ""


def failed_definitions(service: ServiceFacts) -> frozenset[str]:
    """Return the task definitions of a service's deployments that failed, or have failed tasks and did not complete."""
    return frozenset(
        one.task_definition
        for one in service.deployments
        if one.rollout_state == "FAILED" or (one.failed_tasks and one.rollout_state != "COMPLETED")
    )


def find_target(
    ecs: Any,
    ecr: Any,
    service: ServiceFacts,
    records: Sequence[ReleaseOnRecord],
    *,
    name: str,
    wanted: str,
    container: str,
    registry: str,
) -> Target:
    """Return what to take a service back to, having made sure that it can run.

    ``name`` is the service's in the settings, ``wanted`` a family:revision or ARN that an operator asked for, else
    empty. Raises Refused, saying what is in the way.
    """
    serving = service.task_definition
    family = short(serving).rpartition(":")[0]
    if wanted:
        arn, source = wanted, "--to"
    else:
        arn, release = previous_on_record(records, name, serving)
        source = f"the record of release {release}"
        if not arn:
            arn = previous_revision(read_revisions(ecs, family, inactive=False), serving, failed_definitions(service))
            source = f"the active revisions of {family}, since no record names an earlier one"
    if not arn:
        raise Refused(
            f"nothing earlier than {short(serving)} is on record or active", remedy="name a revision with --to"
        )
    definition = current(ecs, arn)
    found = _obstacle(definition, family)
    if found or definition is None:
        raise Refused(f"{name} cannot go back to {short(arn)} ({source}): {found}", remedy="name another with --to")
    digest = _digest(ecr, definition, container, registry)
    return Target(str(definition["taskDefinitionArn"]), source, digest)


def _obstacle(definition: Mapping[str, Any] | None, family: str) -> str:
    if definition is None:
        return "there is no such task definition"
    if definition.get("status") != "ACTIVE":
        return f"it is {definition.get('status')}"
    if definition.get("family") != family:
        return f"it is of another family than {family}"
    return ""


def _digest(ecr: Any, definition: Mapping[str, Any], container: str, registry: str) -> str:
    """Return the digest of the container's image, having seen it in the registry; empty for another registry's."""
    images = {str(one["name"]): str(one["image"]) for one in definition["containerDefinitions"]}
    if container not in images:
        raise Refused(f"it has no container {container!r}", where=short(str(definition["taskDefinitionArn"])))
    image = images[container]
    if not image.startswith(f"{registry}/"):
        return ""
    repository, at, digest = image.removeprefix(f"{registry}/").partition("@")
    if at:
        found = has_digest(ecr, repository, digest)
    else:
        repository, _, tag = repository.partition(":")
        facts = find_image(ecr, repository, tag or "latest")
        found, digest = facts is not None, facts.digest if facts else ""
    if not found:
        raise Refused(
            f"its image {image} is no longer in the registry",
            where=short(str(definition["taskDefinitionArn"])),
            remedy="name another with --to",
        )
    return digest


def roll_back(
    ecs: Any,
    cluster: str,
    service: ServiceFacts,
    target: Target,
    *,
    container: str,
    minimum_healthy_percent: int,
    maximum_percent: int,
    timeout_s: float,
    poll_s: float,
    on_change: Callable[[str, Judgement], None],
    hold: AbstractContextManager[Any] | None = None,
    client: Client | None = None,
) -> Started:
    """Make a service run the target, follow its deployment, and believe it when every running task has its digest.

    ``hold`` is entered for as long as something changes: the environment's lock, where the caller has one. ``client``
    gives the clients whose logs and target health explain a failure.
    Raises RolloutFailed with the reasons; ECS's circuit breaker then puts back what served before.
    """
    with hold or nullcontext():
        started = update_service(
            ecs,
            cluster,
            service,
            target.task_definition,
            minimum_healthy_percent=minimum_healthy_percent,
            maximum_percent=maximum_percent,
        )
        ended = follow(
            ecs,
            cluster,
            {service.name: started.deployment_id},
            timeout_s=timeout_s,
            poll_s=poll_s,
            on_change=on_change,
            client=client,
            # Nothing here puts the other version back but the circuit breaker, so it is waited for.
            give_up_after=0,
        )
        expected = {service.name: Expected(container, target.digest)} if target.digest else {}
        require_completed(ecs, cluster, ended, expected, timeout_s, client=client)
    return started


def _number(arn: str) -> int:
    return int(arn.rpartition(":")[2])
