"""Take away old task definitions that nothing runs and no rollback would want."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from gli_tasks.errors import GliError

# ECS takes some 20 changes of task definitions at once and one a second from then on (API reference, "Request
# throttling"); the SDK's retries are left to those who release meanwhile.
_AT_ONCE = 10
_PACE_S = 1.0
# DeleteTaskDefinitions takes ten a call (API reference).
_DELETED_A_CALL = 10
_TASKS_A_CALL = 100
_SERVICES_A_CALL = 10


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a family."""

    arn: str
    number: int
    active: bool

    @property
    def short(self) -> str:
        """Return ``family:revision``."""
        return self.arn.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deregistered and what was deleted, as ``family:revision``."""

    deregistered: tuple[str, ...]
    deleted: tuple[str, ...]


def prunable(revisions: Collection[Revision], keep: Collection[str], newest: int) -> tuple[Revision, ...]:
    """Return the revisions of one family that may go, the oldest first.

    The ``newest`` active ones stay, and those whose ARNs are in ``keep``; so does everything newer than what stays as
    the newest.
    """
    ordered = sorted(revisions, key=lambda one: one.number, reverse=True)
    active = [one for one in ordered if one.active]
    staying = {one.arn for one in active[:newest]} | set(keep)
    oldest_of_the_newest = active[:newest][-1].number if active[:newest] else None
    return tuple(
        one
        for one in reversed(ordered)
        if one.arn not in staying and (oldest_of_the_newest is None or one.number < oldest_of_the_newest)
    )


def read_revisions(ecs: Any, family: str, *, inactive: bool) -> tuple[Revision, ...]:
    """Return a family's active revisions, and those that were deregistered where ``inactive`` asks for them."""
    found: list[Revision] = []
    for status in ("ACTIVE", "INACTIVE") if inactive else ("ACTIVE",):
        pages = ecs.get_paginator("list_task_definitions").paginate(familyPrefix=family, status=status)
        for page in pages:
            for arn in page["taskDefinitionArns"]:
                name, _, number = str(arn).rsplit("/", 1)[-1].rpartition(":")
                # The API's prefix is the whole name of a family, by its documentation; this does not rest on it.
                if name == family:
                    found.append(Revision(str(arn), int(number), status == "ACTIVE"))
    return tuple(found)


def in_use(ecs: Any, cluster: str) -> frozenset[str]:
    """Return the task definitions of every deployment of every service of a cluster, and of every task that runs."""
    services: list[str] = []
    for page in ecs.get_paginator("list_services").paginate(cluster=cluster):
        services += page["serviceArns"]
    used: set[str] = set()
    for start in range(0, len(services), _SERVICES_A_CALL):
        answer = ecs.describe_services(cluster=cluster, services=services[start : start + _SERVICES_A_CALL])
        for service in answer["services"]:
            used.add(str(service.get("taskDefinition", "")))
            for one in (*service.get("deployments", ()), *service.get("taskSets", ())):
                used.add(str(one.get("taskDefinition", "")))
    tasks: list[str] = []
    for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster):
        tasks += page["taskArns"]
    for start in range(0, len(tasks), _TASKS_A_CALL):
        answer = ecs.describe_tasks(cluster=cluster, tasks=tasks[start : start + _TASKS_A_CALL])
        used |= {str(one["taskDefinitionArn"]) for one in answer["tasks"]}
    return frozenset(used - {""})


def prune(
    ecs: Any,
    family: str,
    going: Sequence[Revision],
    *,
    delete: bool,
    on_change: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Pruned:
    """Deregister revisions of a family, and delete them where ``delete`` says so; tasks that run them run on.

    Believed when a read no longer finds them active. Raises GliError, naming what is left.
    """
    deregistered: list[str] = []
    for one in going:
        if not one.active:
            continue
        if len(deregistered) >= _AT_ONCE:
            sleep(_PACE_S)
        ecs.deregister_task_definition(taskDefinition=one.arn)
        deregistered.append(one.short)
        on_change(f"{one.short} deregistered")
    left = {one.arn for one in read_revisions(ecs, family, inactive=False)} & {one.arn for one in going}
    if left:
        names = ", ".join(sorted(arn.rsplit("/", 1)[-1] for arn in left))
        raise GliError(f"these were deregistered and are still active: {names}", remedy="start again")
    deleted = _delete(ecs, going, on_change, sleep) if delete else ()
    return Pruned(tuple(deregistered), tuple(deleted))


def _delete(
    ecs: Any, going: Sequence[Revision], on_change: Callable[[str], None], sleep: Callable[[float], None]
) -> list[str]:
    deleted: list[str] = []
    failed: list[str] = []
    for start in range(0, len(going), _DELETED_A_CALL):
        if start:
            sleep(_PACE_S)
        names = [one.arn for one in going[start : start + _DELETED_A_CALL]]
        answer = ecs.delete_task_definitions(taskDefinitions=names)
        failed += [f"{one.get('arn', '')}: {one.get('reason', '')}" for one in answer.get("failures", ())]
        for one in answer["taskDefinitions"]:
            deleted.append(str(one["taskDefinitionArn"]).rsplit("/", 1)[-1])
            on_change(f"{deleted[-1]} {one.get('status', '')}")
    if failed:
        raise GliError(
            "these could not be deleted:\n" + "\n".join(f"  - {one}" for one in failed), remedy="start again later"
        )
    return deleted
