"""Read services and their tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gli_tasks.ecs.plan import ServiceFacts, TaskFacts, service_facts, task_facts
from gli_tasks.errors import Refused, UsageError

# DescribeServices takes ten services a call, DescribeTasks a hundred tasks (API reference).
_SERVICES_A_CALL = 10
_TASKS_A_CALL = 100


def read_services(ecs: Any, cluster: str, names: Sequence[str]) -> dict[str, ServiceFacts]:
    """Return the named services, ten a call. Raises UsageError, naming those that do not exist or are not active."""
    found: dict[str, ServiceFacts] = {}
    try:
        for start in range(0, len(names), _SERVICES_A_CALL):
            answer = ecs.describe_services(cluster=cluster, services=list(names[start : start + _SERVICES_A_CALL]))
            found |= {facts.name: facts for facts in map(service_facts, answer["services"])}
    except ecs.exceptions.ClusterNotFoundException:
        raise UsageError(f"there is no cluster {cluster!r}", remedy="check ECS_CLUSTER and the region") from None
    absent = [name for name in names if name not in found or found[name].status != "ACTIVE"]
    if absent:
        raise UsageError(
            f"the cluster {cluster!r} has no active service {', '.join(absent)}",
            remedy="create the service once (its network and load balancer are its own), then release",
        )
    return {name: found[name] for name in names}


def serving_definition(service: ServiceFacts) -> str:
    """Return the task definition that a service runs for sure: of its newest deployment that has completed.

    While a rollout is under way that is the old one's; where none has completed, the one that it strives for.
    """
    completed = (one.task_definition for one in service.deployments if one.rollout_state == "COMPLETED")
    return next(completed, service.task_definition)


def require_settled(services: Mapping[str, ServiceFacts]) -> None:
    """Make sure that no rollout is under way: what it replaces, and so what to go back to, would not be known.

    Raises Refused, naming every service whose deployment has neither completed nor failed.
    """
    moving = [
        f"{name}: {one.primary.id} to {one.primary.task_definition.rsplit('/', 1)[-1]}"
        for name, one in services.items()
        if one.primary is not None and one.primary.rollout_state == "IN_PROGRESS"
    ]
    if moving:
        raise Refused(
            "a deployment is under way:\n" + "\n".join(f"  - {line}" for line in moving),
            remedy="wait for its end (`invoke ecs.wait`), then start again",
        )


def read_tasks(ecs: Any, cluster: str, service: str, status: str) -> list[TaskFacts]:
    """Return a service's tasks whose desired status is RUNNING or STOPPED."""
    arns: list[str] = []
    for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster, serviceName=service, desiredStatus=status):
        arns.extend(page["taskArns"])
    tasks: list[TaskFacts] = []
    for start in range(0, len(arns), _TASKS_A_CALL):
        answer = ecs.describe_tasks(cluster=cluster, tasks=arns[start : start + _TASKS_A_CALL])
        tasks.extend(map(task_facts, answer["tasks"]))
    return tasks
