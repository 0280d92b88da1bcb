"""Facts of a service: what it deploys, and how."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Network:
    """Where a task's network interface goes."""

    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    assign_public_ip: str


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """A container's port in a target group."""

    target_group_arn: str
    container_name: str
    container_port: int


@dataclass(frozen=True, slots=True)
class CapacityProvider:
    """One item of a capacity provider strategy."""

    name: str
    weight: int
    base: int


@dataclass(frozen=True, slots=True)
class Workload:
    """What a service revision deploys; two equal ones need no new deployment."""

    task_definition_arn: str
    launch_type: str | None
    capacity_providers: tuple[CapacityProvider, ...]
    platform_version: str | None
    load_balancers: tuple[LoadBalancer, ...]
    network: Network | None


@dataclass(frozen=True, slots=True)
class Breaker:
    """The deployment circuit breaker's settings."""

    enable: bool = False
    rollback: bool = False
    reset_on_healthy_task: bool | None = None
    threshold_kind: str | None = None
    threshold_value: int | None = None


@dataclass(frozen=True, slots=True)
class AlarmSettings:
    """Alarms of a deployment configuration; stored, not watched."""

    names: tuple[str, ...]
    enable: bool
    rollback: bool


@dataclass(frozen=True, slots=True)
class DeploymentConfiguration:
    """How a service rolls."""

    minimum_healthy_percent: int = 100
    maximum_percent: int = 200
    breaker: Breaker | None = None
    alarms: AlarmSettings | None = None
    bake_time_minutes: int | None = None
