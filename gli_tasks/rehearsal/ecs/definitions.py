"""A task definition as the lifecycle reads it: typed, out of the registered wire form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gli_tasks.rehearsal.runtime.contract import HealthCheck

DEFAULT_STOP_TIMEOUT_S = 30.0
_MEBIBYTE = 1024 * 1024
Wire = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dependency:
    """A container that must come to a condition first: START, HEALTHY, COMPLETE or SUCCESS."""

    container: str
    condition: str


@dataclass(frozen=True, slots=True)
class AwsLogs:
    """Options of the awslogs driver."""

    group: str
    prefix: str
    create_group: bool


@dataclass(frozen=True, slots=True)
class ContainerDefinition:
    """One container. Durations are AWS's own, not scaled."""

    name: str
    image: str
    essential: bool
    entry_point: tuple[str, ...] | None
    command: tuple[str, ...] | None
    environment: tuple[tuple[str, str], ...]
    secrets: tuple[tuple[str, str], ...]
    ports: tuple[int, ...]
    depends_on: tuple[Dependency, ...]
    health_check: HealthCheck | None
    logs: AwsLogs | None
    memory_bytes: int | None
    stop_timeout_s: float
    start_timeout_s: float | None
    working_directory: str | None
    user: str | None
    version_consistency: bool


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """One revision of a family."""

    arn: str
    family: str
    revision: int
    cpu: str | None
    memory: str | None
    containers: tuple[ContainerDefinition, ...]


def _health_check(wire: Wire | None) -> HealthCheck | None:
    if not wire or wire["command"][0] == "NONE":
        return None
    return HealthCheck(
        command=tuple(wire["command"]),
        interval_s=float(wire.get("interval", 30)),
        timeout_s=float(wire.get("timeout", 5)),
        retries=int(wire.get("retries", 3)),
        start_period_s=float(wire.get("startPeriod") or 0),
    )


def _logs(wire: Wire | None) -> AwsLogs | None:
    if not wire or wire["logDriver"] != "awslogs":
        return None
    options = wire.get("options", {})
    prefix, create = options.get("awslogs-stream-prefix", ""), options.get("awslogs-create-group", "false")
    return AwsLogs(options.get("awslogs-group", ""), prefix, create.lower() == "true")


def _tuple(value: list[str] | None) -> tuple[str, ...] | None:
    return tuple(value) if value else None


def read_container(wire: Wire) -> ContainerDefinition:
    """Read a container definition that registration has already checked and completed."""
    memory = wire.get("memory")
    return ContainerDefinition(
        name=wire["name"],
        image=wire["image"],
        essential=wire.get("essential", True),
        entry_point=_tuple(wire.get("entryPoint")),
        command=_tuple(wire.get("command")),
        environment=tuple((item["name"], item.get("value", "")) for item in wire.get("environment", [])),
        secrets=tuple((item["name"], item["valueFrom"]) for item in wire.get("secrets", [])),
        ports=tuple(item["containerPort"] for item in wire.get("portMappings", []) if "containerPort" in item),
        depends_on=tuple(Dependency(item["containerName"], item["condition"]) for item in wire.get("dependsOn", [])),
        health_check=_health_check(wire.get("healthCheck")),
        logs=_logs(wire.get("logConfiguration")),
        memory_bytes=memory * _MEBIBYTE if memory else None,
        stop_timeout_s=float(wire.get("stopTimeout", DEFAULT_STOP_TIMEOUT_S)),
        start_timeout_s=float(wire["startTimeout"]) if "startTimeout" in wire else None,
        working_directory=wire.get("workingDirectory"),
        user=wire.get("user"),
        version_consistency=wire.get("versionConsistency", "enabled") == "enabled",
    )


def read_task_definition(wire: Wire) -> TaskDefinition:
    """Read a registered task definition."""
    return TaskDefinition(
        arn=wire["taskDefinitionArn"],
        family=wire["family"],
        revision=wire["revision"],
        cpu=wire.get("cpu"),
        memory=wire.get("memory"),
        containers=tuple(read_container(item) for item in wire["containerDefinitions"]),
    )
