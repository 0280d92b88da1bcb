"""Which images an environment runs, or may run again at any moment: ECS itself is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gli_tasks.errors import Refused, UsageError
from gli_tasks.registry import required

# DescribeServices takes ten services a call, DescribeTasks a hundred tasks (API reference).
_SERVICES_A_CALL = 10
_TASKS_A_CALL = 100


def images_in_use(ecs: Any, cluster: str, *, newest: int = 10) -> frozenset[str]:
    """Return every image of a cluster that must not go, as task definitions and tasks name them.

    That is all of its services' deployments and task sets, all of its tasks, and the ``newest`` active revisions of
    each family that one of them is of: a schedule or an operator may start these.
    Raises UsageError where there is no such cluster, AwsCallFailed for an answer that lacks what it must hold.
    """
    images: set[str] = set()
    try:
        definitions = set(_of_services(ecs, cluster))
        for task in _tasks(ecs, cluster):
            definitions.add(str(required(task, "taskDefinitionArn", "DescribeTasks", "ECS")))
            for container in task.get("containers") or ():
                image, digest = str(container.get("image") or ""), str(container.get("imageDigest") or "")
                images |= {image, f"{_without_tag(image)}@{digest}" if image and digest else ""}
    except ecs.exceptions.ClusterNotFoundException:
        raise UsageError(f"there is no cluster {cluster!r}", remedy="check ECS_CLUSTER and the region") from None
    for family in {_family(arn) for arn in definitions}:
        pages = ecs.get_paginator("list_task_definitions").paginate(
            familyPrefix=family, status="ACTIVE", sort="DESC", PaginationConfig={"MaxItems": newest}
        )
        for page in pages:
            definitions |= set(required(page, "taskDefinitionArns", "ListTaskDefinitions", "ECS"))
    for arn in definitions:
        images |= set(_images_of(ecs, arn).values())
    return frozenset(images - {""})


def proven_image(ecs: Any, cluster: str, service: str, container: str) -> str:
    """Return the image that a service's container runs now, as its task definition names it.

    Raises Refused unless one deployment alone is there and has completed: what still rolls out is not proven.
    Raises UsageError where there is no such service or container.
    """
    try:
        answer = ecs.describe_services(cluster=cluster, services=[service])
    except ecs.exceptions.ClusterNotFoundException:
        raise UsageError(f"there is no cluster {cluster!r}", remedy="check ECS_CLUSTER and the region") from None
    found = [one for one in required(answer, "services", "DescribeServices", "ECS") if one.get("status") == "ACTIVE"]
    if not found:
        raise UsageError(f"the cluster {cluster!r} has no active service {service}", remedy="release it there first")
    deployments = found[0].get("deployments") or []
    states = [str(one.get("rolloutState", "")) for one in deployments]
    if states != ["COMPLETED"]:
        raise Refused(
            f"{service} of {cluster!r} is not settled: its deployments are {', '.join(states) or 'none'}",
            remedy="wait for the end of its rollout, then start again",
        )
    images = _images_of(ecs, str(required(deployments[0], "taskDefinition", "DescribeServices", "ECS")))
    if container not in images:
        raise UsageError(f"{service} of {cluster!r} runs no container {container!r}", remedy="check the settings")
    return images[container]


def _of_services(ecs: Any, cluster: str) -> Iterator[str]:
    """Yield the task definitions of every service of the cluster, of the settings or not."""
    arns: list[str] = []
    for page in ecs.get_paginator("list_services").paginate(cluster=cluster):
        arns += required(page, "serviceArns", "ListServices", "ECS")
    for some in _parts(arns, _SERVICES_A_CALL):
        for service in required(
            ecs.describe_services(cluster=cluster, services=some), "services", "DescribeServices", "ECS"
        ):
            if service.get("status") != "INACTIVE":
                yield str(required(service, "taskDefinition", "DescribeServices", "ECS"))
            for one in (*(service.get("deployments") or ()), *(service.get("taskSets") or ())):
                yield str(required(one, "taskDefinition", "DescribeServices", "ECS"))


def _tasks(ecs: Any, cluster: str) -> Iterator[dict[str, Any]]:
    arns: list[str] = []
    for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster, desiredStatus="RUNNING"):
        arns += required(page, "taskArns", "ListTasks", "ECS")
    for some in _parts(arns, _TASKS_A_CALL):
        yield from required(ecs.describe_tasks(cluster=cluster, tasks=some), "tasks", "DescribeTasks", "ECS")


def _images_of(ecs: Any, task_definition: str) -> dict[str, str]:
    """Return the image of each container."""
    answer = ecs.describe_task_definition(taskDefinition=task_definition)
    definition = required(answer, "taskDefinition", "DescribeTaskDefinition", "ECS")
    containers = required(definition, "containerDefinitions", "DescribeTaskDefinition", "ECS")
    return {str(one.get("name", "")): str(one.get("image", "")) for one in containers}


def _family(arn: str) -> str:
    return arn.rpartition("/")[2].rpartition(":")[0]


def _without_tag(image: str) -> str:
    name = image.partition("@")[0]
    return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name


def _parts(all_of: list[str], size: int) -> Iterable[list[str]]:
    return (all_of[start : start + size] for start in range(0, len(all_of), size))
