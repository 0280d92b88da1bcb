"""PURE: what RegisterTaskDefinition checks and fills in.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from gli_tasks.rehearsal.wire.errors import AwsError

Wire = dict[str, Any]

_FAMILY = re.compile(r"[A-Za-z0-9_-]{1,255}")
_GIB = 1024
_LONGEST_FARGATE_STOP_S = 120
# Task memory, in MiB, that Fargate offers for each CPU size.
_FARGATE_MEMORY: dict[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1 * _GIB, 4 * _GIB + 1, _GIB)),
    1024: tuple(range(2 * _GIB, 8 * _GIB + 1, _GIB)),
    2048: tuple(range(4 * _GIB, 16 * _GIB + 1, _GIB)),
    4096: tuple(range(8 * _GIB, 30 * _GIB + 1, _GIB)),
    8192: tuple(range(16 * _GIB, 60 * _GIB + 1, 4 * _GIB)),
    16384: tuple(range(32 * _GIB, 120 * _GIB + 1, 8 * _GIB)),
}


def refuse(message: str) -> AwsError:
    """Make the error with which ECS refuses a task definition."""
    return AwsError("ClientException", message)


def _units(text: str, unit: str) -> int:
    """Read "256", ".25 vCPU" or "2 GB" as CPU units or MiB."""
    match = re.fullmatch(rf"(\d*\.?\d+)\s*({unit})?", text.strip(), re.IGNORECASE)
    if match is None:
        name = "cpu" if unit == "vCPU" else "memory"
        raise refuse(f"Invalid '{name}' setting for task.")
    return int(float(match[1]) * _GIB) if match[2] else int(float(match[1]))


def complete(params: Wire) -> Wire:
    """Return a checked task definition with ECS's defaults. Raises AwsError (ClientException)."""
    definition = copy.deepcopy(params)
    definition.pop("tags", None)
    if not _FAMILY.fullmatch(definition["family"]):
        raise refuse("Family contains invalid characters.")
    if "cpu" in definition:
        definition["cpu"] = str(_units(definition["cpu"], "vCPU"))
    if "memory" in definition:
        definition["memory"] = str(_units(definition["memory"], "GB"))
    fargate = "FARGATE" in definition.get("requiresCompatibilities", [])
    definition.setdefault("volumes", [])
    definition.setdefault("placementConstraints", [])
    containers = definition["containerDefinitions"]
    for container in containers:
        _complete_container(container, definition.get("networkMode"))
    _check_containers(containers, task_memory="memory" in definition)
    if fargate:
        _check_fargate(definition, containers)
    if any(container.get("secrets") for container in containers) and not definition.get("executionRoleArn"):
        raise refuse("When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
    eligible = definition.get("networkMode") == "awsvpc" and "cpu" in definition and "memory" in definition
    definition["compatibilities"] = ["EC2", "FARGATE"] if eligible or fargate else ["EXTERNAL", "EC2"]
    definition["requiresAttributes"] = _attributes(definition)
    return definition


def _complete_container(container: Wire, network_mode: str | None) -> None:
    for field in ("name", "image"):
        if not container.get(field):
            raise refuse(f"Container.{field} should not be null or empty.")
    container.setdefault("cpu", 0)
    container.setdefault("essential", True)
    for field in ("environment", "mountPoints", "volumesFrom", "portMappings", "systemControls"):
        container.setdefault(field, [])
    for mapping in container["portMappings"]:
        mapping.setdefault("protocol", "tcp")
        if "containerPort" in mapping and network_mode in ("awsvpc", "host"):
            host_port = mapping.setdefault("hostPort", mapping["containerPort"])
            if host_port != mapping["containerPort"]:
                raise refuse(
                    f"When networkMode={network_mode}, the host ports and container ports in port mappings must match."
                )
        else:
            mapping.setdefault("hostPort", 0)
    if "healthCheck" in container:
        for field, value in (("interval", 30), ("timeout", 5), ("retries", 3)):
            container["healthCheck"].setdefault(field, value)


def _check_containers(containers: Sequence[Wire], task_memory: bool) -> None:
    if not containers:
        raise refuse("Container list cannot be empty.")
    names = Counter(container["name"] for container in containers)
    repeated = [name for name, count in names.items() if count > 1]
    if repeated:
        raise refuse(f"Container names must be unique: {', '.join(repeated)}.")
    if not any(container["essential"] for container in containers):
        raise refuse("At least one container in the task definition must be essential.")
    for container in containers:
        name = container["name"]
        if not task_memory and "memory" not in container and "memoryReservation" not in container:
            raise refuse(
                f"Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' must be "
                "specified."
            )
        plain = {item["name"] for item in container["environment"]}
        for secret in container.get("secrets", []):
            if secret["name"] in plain:
                raise refuse(
                    "The secret name must be unique and not shared with any new or existing environment variables set "
                    f"on the container, such as '{secret['name']}'."
                )
    _check_dependencies(containers)


def _check_dependencies(containers: Sequence[Wire]) -> None:
    known = {container["name"]: container for container in containers}
    waits: dict[str, set[str]] = {}
    for container in containers:
        name = container["name"]
        waits[name] = set()
        for dependency in container.get("dependsOn", []):
            other = known.get(dependency["containerName"])
            if other is None:
                raise refuse(f"Container '{name}' depends on unknown container '{dependency['containerName']}'.")
            if dependency["condition"] == "HEALTHY" and "healthCheck" not in other:
                raise refuse(
                    f"Container '{name}' depends on '{other['name']}' being HEALTHY, which has no healthCheck."
                )
            if dependency["condition"] in ("COMPLETE", "SUCCESS") and other["essential"]:
                raise refuse(
                    f"Container '{name}' depends on the exit of '{other['name']}', which must not be essential."
                )
            waits[name].add(other["name"])
    while waits:
        free = {name for name, others in waits.items() if not others & set(waits)}
        if not free:
            raise refuse(f"There is a circular dependency among containers: {', '.join(sorted(waits))}.")
        waits = {name: others for name, others in waits.items() if name not in free}


def check_fargate_size(cpu: str, memory: str) -> None:
    """Raise AwsError where Fargate offers no task of this CPU and memory."""
    units, mebibytes = _units(cpu, "vCPU"), _units(memory, "GB")
    if mebibytes not in _FARGATE_MEMORY.get(units, ()):
        raise refuse(
            f"No Fargate configuration exists for given values: {units} CPU, {mebibytes} memory. "
            "See the Amazon ECS documentation for the valid values."
        )


def _check_fargate(definition: Wire, containers: Sequence[Wire]) -> None:
    if definition.get("networkMode") != "awsvpc":
        raise refuse("Fargate only supports network mode 'awsvpc'.")
    for field in ("cpu", "memory"):
        if field not in definition:
            raise refuse(f"Fargate requires that '{field}' be defined at the task level.")
    check_fargate_size(definition["cpu"], definition["memory"])
    memory = int(definition["memory"])
    reserved = 0
    for container in containers:
        reserved += container.get("memoryReservation") or container.get("memory") or 0
    if reserved > memory:
        raise refuse(f"The containers ask for {reserved} MiB of memory, which is more than the task's {memory} MiB.")
    role = definition.get("executionRoleArn")
    for container in containers:
        if not role and container.get("logConfiguration", {}).get("logDriver") == "awslogs":
            raise refuse("Fargate requires task definition to have execution role ARN to support log driver awslogs.")
        if not role and ".dkr.ecr." in container["image"]:
            raise refuse("Fargate requires task definition to have execution role ARN to support ECR images.")
        if container.get("stopTimeout", 0) > _LONGEST_FARGATE_STOP_S:
            raise refuse(f"Container stopTimeout must not be longer than {_LONGEST_FARGATE_STOP_S} seconds.")


def _attributes(definition: Wire) -> list[Wire]:
    """Return the least that ECS names: what an instance would need."""
    names = {"com.amazonaws.ecs.capability.docker-remote-api.1.18"}
    if definition.get("networkMode") == "awsvpc":
        names.add("ecs.capability.task-eni")
    if definition.get("taskRoleArn"):
        names.add("com.amazonaws.ecs.capability.task-iam-role")
    for container in definition["containerDefinitions"]:
        driver = container.get("logConfiguration", {}).get("logDriver")
        if driver:
            names.add(f"com.amazonaws.ecs.capability.logging-driver.{driver}")
        for secret in container.get("secrets", []):
            asm = secret["valueFrom"].startswith("arn:aws:secretsmanager:")
            names.add(f"ecs.capability.secrets.{'asm' if asm else 'ssm'}.environment-variables")
    return [{"name": name} for name in sorted(names)]
