"""Fill a task definition's image in, and tell whether two definitions ask for the same. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# What AWS adds to a definition when it registers it; no part of what was asked for.
_ADDED_BY_AWS = frozenset(
    {
        "taskDefinitionArn",
        "revision",
        "status",
        "requiresAttributes",
        "compatibilities",
        "registeredAt",
        "registeredBy",
        "deregisteredAt",
    }
)
# What AWS answers for a health check that leaves these out (API reference, HealthCheck).
_HEALTH_CHECK_DEFAULTS = {"interval": 30, "timeout": 5, "retries": 3}
# Lists whose order says nothing, and the key that orders them.
_UNORDERED = {"environment": "name", "secrets": "name", "portMappings": "containerPort", "volumes": "name"}


def render(template: Mapping[str, Any], container: str, image: str) -> dict[str, Any]:
    """Return the task definition with this image in the named container. Raises KeyError where there is no such
    container."""
    containers = [dict(one) for one in template["containerDefinitions"]]
    if container not in [one["name"] for one in containers]:
        raise KeyError(container)
    for one in containers:
        if one["name"] == container:
            one["image"] = image
    return {**template, "containerDefinitions": containers}


def normalised(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task definition without what AWS adds and without what it fills in by itself, so that two can be
    compared.

    Defaults by the API reference of RegisterTaskDefinition: containers get cpu 0, essential true, and empty lists; port
    mappings get protocol tcp, and in awsvpc mode the host port equals the container port.
    """
    kept = {key: _without_empty(value) for key, value in definition.items() if key not in _ADDED_BY_AWS}
    awsvpc = kept.get("networkMode") == "awsvpc"
    kept["containerDefinitions"] = sorted(
        (_normalised_container(one, awsvpc) for one in kept.get("containerDefinitions", ())),
        key=lambda one: str(one.get("name")),
    )
    kept["requiresCompatibilities"] = sorted(kept.get("requiresCompatibilities", ()))
    kept.pop("tags", None)
    kept |= {key: _in_units(kept[key]) for key in ("cpu", "memory") if key in kept}
    if kept.get("enableFaultInjection") is False:
        del kept["enableFaultInjection"]
    return {key: value for key, value in kept.items() if value not in (None, [], {})}


def _in_units(size: Any) -> str:
    """Return a task's size as AWS answers it: CPU units and MiB, also for ``1 vCPU`` and ``2 GB`` (API reference)."""
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*(vcpu|gb)", str(size).strip().lower())
    return str(int(float(found[1]) * 1024)) if found else str(size)


def _without_empty(value: Any) -> Any:
    """Return the value without the empty lists and tables inside, which AWS adds at every depth."""
    if isinstance(value, Mapping):
        inner = {key: _without_empty(one) for key, one in value.items()}
        return {key: one for key, one in inner.items() if one not in (None, [], {})}
    return [_without_empty(one) for one in value] if isinstance(value, list | tuple) else value


def _normalised_container(container: Mapping[str, Any], awsvpc: bool) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in container.items():
        if (key == "cpu" and value == 0) or (key == "essential" and value is True):
            continue
        kept[key] = value
    if "healthCheck" in kept:
        kept["healthCheck"] = {**_HEALTH_CHECK_DEFAULTS, **kept["healthCheck"]}
    if "portMappings" in kept:
        kept["portMappings"] = [_normalised_port(one, awsvpc) for one in kept["portMappings"]]
    for key, order in _UNORDERED.items():
        if key in kept:
            kept[key] = sorted(kept[key], key=lambda one: str(one.get(order)))
    return kept


def _normalised_port(mapping: Mapping[str, Any], awsvpc: bool) -> dict[str, Any]:
    kept = {"protocol": "tcp", **mapping}
    if awsvpc:
        kept["hostPort"] = kept.get("containerPort")
    return kept


def equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two task definitions ask for the same."""
    return normalised(one) == normalised(other)
