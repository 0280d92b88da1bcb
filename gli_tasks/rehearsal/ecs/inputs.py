"""Reads the nested parts of requests into facts."""

from __future__ import annotations

import dataclasses
from typing import Any

from gli_tasks.rehearsal.ecs.definitions import TaskDefinition
from gli_tasks.rehearsal.ecs.model import ContainerOverride
from gli_tasks.rehearsal.ecs.settings import (
    AlarmSettings,
    Breaker,
    CapacityProvider,
    DeploymentConfiguration,
    LoadBalancer,
    Network,
)
from gli_tasks.rehearsal.wire.errors import AwsError

Wire = dict[str, Any]
_LARGEST_PERCENT = 200


def invalid(message: str) -> AwsError:
    """Make the error of a parameter that ECS refuses."""
    return AwsError("InvalidParameterException", message)


def tags(items: list[Wire] | None) -> dict[str, str]:
    """Read tags. Raises AwsError where ECS refuses them."""
    found = {item["key"]: item.get("value", "") for item in items or []}
    if len(found) < len(items or []):
        raise invalid("Tag keys must be unique.")
    if any(key.lower().startswith("aws:") for key in found):
        raise invalid("Tag keys must not start with aws:.")
    return found


def network(wire: Wire | None) -> Network | None:
    """Read a network configuration."""
    vpc = (wire or {}).get("awsvpcConfiguration")
    if vpc is None:
        return None
    if not vpc["subnets"]:
        raise invalid("subnets can not be empty.")
    groups = tuple(vpc.get("securityGroups", []))
    return Network(tuple(vpc["subnets"]), groups, vpc.get("assignPublicIp", "DISABLED"))


def need_network(definition: Wire, found: Network | None) -> None:
    """Raise AwsError where awsvpc and the network configuration do not go together."""
    awsvpc = definition.get("networkMode") == "awsvpc"
    if awsvpc and found is None:
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    if not awsvpc and found is not None:
        raise invalid("Network Configuration is not valid for the given networkMode of this task definition.")


def load_balancers(items: list[Wire], definition: TaskDefinition) -> tuple[LoadBalancer, ...]:
    """Read load balancers. Raises AwsError where a container or port is not the task definition's."""
    found: list[LoadBalancer] = []
    ports = {container.name: container.ports for container in definition.containers}
    for item in items:
        if "targetGroupArn" not in item:
            raise invalid("The twin does target groups only; a load balancer needs targetGroupArn.")
        name, port = item.get("containerName", ""), item.get("containerPort", 0)
        if name not in ports:
            raise invalid(f"The container {name} does not exist in the task definition.")
        if port not in ports[name]:
            raise invalid(f"The container {name} did not have a container port {port} defined.")
        found.append(LoadBalancer(item["targetGroupArn"], name, port))
    return tuple(found)


def capacity_providers(items: list[Wire] | None) -> tuple[CapacityProvider, ...]:
    """Read a capacity provider strategy."""
    return tuple(
        CapacityProvider(item["capacityProvider"], item.get("weight", 0), item.get("base", 0)) for item in items or []
    )


def configuration(wire: Wire | None, earlier: DeploymentConfiguration) -> DeploymentConfiguration:
    """Read a deployment configuration over an earlier one. Raises AwsError where ECS, or the twin, refuses it."""
    if wire is None:
        return earlier
    strategy = wire.get("strategy", "ROLLING")
    if strategy != "ROLLING":
        raise AwsError(
            "UnsupportedFeatureException", f"The twin does not do the deployment strategy {strategy} yet, only ROLLING."
        )
    minimum = wire.get("minimumHealthyPercent", earlier.minimum_healthy_percent)
    maximum = wire.get("maximumPercent", earlier.maximum_percent)
    if not 0 <= minimum <= 100 or not 100 <= maximum <= _LARGEST_PERCENT:
        raise invalid("minimumHealthyPercent must be from 0 to 100, maximumPercent from 100 to 200.")
    if minimum == maximum:
        raise invalid("Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.")
    breaker, alarms = earlier.breaker, earlier.alarms
    if "deploymentCircuitBreaker" in wire:
        breaker = _breaker(wire["deploymentCircuitBreaker"])
    if "alarms" in wire:
        settings = wire["alarms"]
        alarms = AlarmSettings(tuple(settings["alarmNames"]), settings["enable"], settings["rollback"])
    bake = wire.get("bakeTimeInMinutes", earlier.bake_time_minutes)
    return dataclasses.replace(
        earlier,
        minimum_healthy_percent=minimum,
        maximum_percent=maximum,
        breaker=breaker,
        alarms=alarms,
        bake_time_minutes=bake,
    )


def _breaker(wire: Wire) -> Breaker:
    threshold = wire.get("thresholdConfiguration", {})
    return Breaker(
        enable=wire["enable"],
        rollback=wire["rollback"],
        reset_on_healthy_task=wire.get("resetOnHealthyTask"),
        threshold_kind=threshold.get("type"),
        threshold_value=threshold.get("value"),
    )


def overrides(wire: Wire | None, definition: TaskDefinition) -> dict[str, ContainerOverride]:
    """Read RunTask's overrides. Raises AwsError for a container that is not the task definition's."""
    known = {container.name for container in definition.containers}
    found: dict[str, ContainerOverride] = {}
    for item in (wire or {}).get("containerOverrides", []):
        name = item.get("name")
        if name not in known:
            raise invalid("Override for container named " + str(name) + " is not a container in the TaskDefinition.")
        command = tuple(item["command"]) if "command" in item else None
        environment = tuple((pair["name"], pair.get("value", "")) for pair in item.get("environment", []))
        found[name] = ContainerOverride(command, environment)
    return found
