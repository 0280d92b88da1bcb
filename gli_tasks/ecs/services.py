"""Read services and their tasks, and believe no answer that lacks what it must hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from gli_tasks.aws import is_cut_off
from gli_tasks.ecs.plan import Attempt, ServiceFacts, TaskFacts, attempt_facts, service_facts, task_facts
from gli_tasks.errors import AwsCallFailed, Refused, UsageError

# DescribeServices takes ten services a call, DescribeTasks a hundred tasks (API reference).
_SERVICES_A_CALL = 10
_TASKS_A_CALL = 100
# As many calls go out at once; a client's pool holds ten connections unless told otherwise.
_CALLS_AT_ONCE = 5

One = TypeVar("One")
Other = TypeVar("Other")


def read_services(ecs: Any, cluster: str, names: Sequence[str]) -> dict[str, ServiceFacts]:
    """Return the named services, ten a call, a few calls at once.

    Raises UsageError, naming those that do not exist or are not active, and AwsCallFailed where an answer does not
    hold what it must: a proxy or a cut connection can leave a success with its fields missing.
    """
    batches = [names[start : start + _SERVICES_A_CALL] for start in range(0, len(names), _SERVICES_A_CALL)]

    def describe(batch: Sequence[str]) -> Mapping[str, Any]:
        answer = ecs.describe_services(cluster=cluster, services=list(batch))
        require(answer, "DescribeServices", "services")
        return dict(answer)

    try:
        answers = side_by_side(describe, batches)
    except ecs.exceptions.ClusterNotFoundException:
        raise UsageError(f"there is no cluster {cluster!r}", remedy="check ECS_CLUSTER and the region") from None
    found = {facts.name: facts for answer in answers for facts in map(_whole_service, answer["services"])}
    missing = {str(one.get("arn", "")).rsplit("/", 1)[-1] for answer in answers for one in answer.get("failures") or ()}
    unsaid = [name for name in names if name not in found and name not in missing]
    if unsaid:
        raise AwsCallFailed(f"DescribeServices answered without a word on {', '.join(unsaid)}", remedy=_ASK_AGAIN)
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
    """Return a service's tasks whose desired status is RUNNING or STOPPED. Raises AwsCallFailed for an answer with
    holes."""
    return describe_tasks(ecs, cluster, list_tasks(ecs, cluster, service, status))


def list_tasks(ecs: Any, cluster: str, service: str, status: str) -> list[str]:
    """Return the ARNs of a service's tasks whose desired status is RUNNING or STOPPED. Raises AwsCallFailed."""
    arns: list[str] = []
    for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster, serviceName=service, desiredStatus=status):
        require(page, "ListTasks", "taskArns")
        arns.extend(page["taskArns"])
    return arns


def describe_tasks(ecs: Any, cluster: str, arns: Sequence[str]) -> list[TaskFacts]:
    """Return tasks by ARN, those left out that AWS has forgotten. Raises AwsCallFailed."""
    tasks: list[TaskFacts] = []
    for start in range(0, len(arns), _TASKS_A_CALL):
        answer = ecs.describe_tasks(cluster=cluster, tasks=list(arns[start : start + _TASKS_A_CALL]))
        require(answer, "DescribeTasks", "tasks")
        for one in answer["tasks"]:
            require(one, "DescribeTasks", "taskArn", "lastStatus")
            tasks.append(task_facts(one))
    return tasks


def read_attempt(ecs: Any, arn: str) -> Attempt | None:
    """Return a service deployment by ARN; None where AWS knows it no more. Raises AwsCallFailed."""
    answer = ecs.describe_service_deployments(serviceDeploymentArns=[arn])
    require(answer, "DescribeServiceDeployments", "serviceDeployments")
    return next(map(attempt_facts, answer["serviceDeployments"]), None)


_ASK_AGAIN = "ask again; if it stays so, see what stands between here and AWS (a proxy, AWS_ENDPOINT_URL)"


def require(answer: Mapping[str, Any], operation: str, *keys: str) -> None:
    """Make sure that an answer holds what it must. Raises AwsCallFailed."""
    absent = [key for key in keys if key not in answer]
    if absent:
        raise AwsCallFailed(f"{operation} answered without {', '.join(absent)}", remedy=_ASK_AGAIN)


def _whole_service(description: Mapping[str, Any]) -> ServiceFacts:
    require(description, "DescribeServices", "serviceName", "status")
    if description["status"] == "ACTIVE":
        # Without its deployments a service would look as if ours were gone.
        require(description, "DescribeServices", "deployments", "desiredCount", "runningCount")
        for one in description["deployments"]:
            require(one, "DescribeServices", "id", "status", "taskDefinition", "desiredCount", "runningCount")
    return service_facts(description)


def is_passing(error: Exception) -> bool:
    """Tell whether a failed read may well succeed a little later: throttled, an error of AWS's own, no connection, an
    answer with holes, or one that was cut off."""
    from botocore import exceptions

    if isinstance(error, AwsCallFailed | exceptions.ConnectionError | exceptions.HTTPClientError) or is_cut_off(error):
        return True
    if not isinstance(error, exceptions.ClientError):
        return False
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    throttled = "Throttl" in code or code in ("TooManyRequestsException", "RequestLimitExceeded", "SlowDown")
    return throttled or status >= 500 or status == 429


def patiently(
    read: Callable[[], Other],
    tolerate_s: float,
    *,
    pace_s: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Other:
    """Return what ``read`` gives, asking again while it fails in passing, for at most ``tolerate_s`` seconds."""
    until = clock() + tolerate_s
    while True:
        try:
            return read()
        except Exception as error:
            if not is_passing(error) or clock() + pace_s > until:
                raise
        sleep(pace_s)


def side_by_side(act: Callable[[One], Other], over: Iterable[One]) -> list[Other]:
    """Return what ``act`` gives for each, a few at once, in order. The first error is raised."""
    every = list(over)
    if len(every) < 2:
        return [act(one) for one in every]
    with ThreadPoolExecutor(min(_CALLS_AT_ONCE, len(every)), "ecs-read") as pool:
        return list(pool.map(act, every))
