"""What the control process tells the balancer: listeners, rules, target groups, targets and sites.

Seconds are AWS's own, unscaled; the balancer multiplies them by ``time_scale``.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class WeightedGroup(msgspec.Struct, frozen=True):
    """A target group of a forward action with its weight (0 to 999)."""

    target_group: str
    weight: int = 1


class Forward(msgspec.Struct, frozen=True, tag="forward"):
    """Send the request to a target of one of the groups; ``stickiness_s`` of 0 is none."""

    targets: tuple[WeightedGroup, ...]
    stickiness_s: float = 0.0


class Redirect(msgspec.Struct, frozen=True, tag="redirect"):
    """Send the client elsewhere; each part may name #{protocol}, #{host}, #{port}, #{path} and #{query}."""

    status: int = 301
    protocol: str = "#{protocol}"
    host: str = "#{host}"
    port: str = "#{port}"
    path: str = "/#{path}"
    query: str = "#{query}"


class FixedResponse(msgspec.Struct, frozen=True, tag="fixed-response"):
    """Answer without a target."""

    status: int = 503
    content_type: str = "text/plain"
    body: str = ""


Action = Forward | Redirect | FixedResponse


class Rule(msgspec.Struct, frozen=True):
    """A listener rule; conditions that are empty hold for all requests."""

    arn: str
    action: Action
    priority: int | str = "default"
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


class Listener(msgspec.Struct, frozen=True):
    """A listener; its rules are in the order of their evaluation, the default one last."""

    arn: str
    port: int
    protocol: Literal["HTTP", "HTTPS"]
    load_balancer: str
    rules: tuple[Rule, ...]


class HealthSettings(msgspec.Struct, frozen=True):
    """How a target group's targets are probed."""

    path: str = "/"
    interval_s: float = 30.0
    timeout_s: float = 5.0
    healthy_threshold: int = 5
    unhealthy_threshold: int = 2
    matcher: str = "200"


class Target(msgspec.Struct, frozen=True):
    """One address of a target group."""

    address: str
    port: int
    draining: bool = False


class TargetGroup(msgspec.Struct, frozen=True):
    """A target group with its targets."""

    arn: str
    name: str
    dimension: str
    health: HealthSettings
    targets: tuple[Target, ...] = ()
    deregistration_delay_s: float = 300.0


class Site(msgspec.Struct, frozen=True):
    """A static site: a host whose objects come from an S3 bucket; ``fallback`` answers what is missing."""

    host: str
    bucket: str
    fallback: str | None = None


class Topology(msgspec.Struct, frozen=True):
    """All that the balancer serves, at one version."""

    version: int
    time_scale: float = 1.0
    listeners: tuple[Listener, ...] = ()
    target_groups: tuple[TargetGroup, ...] = ()
    sites: tuple[Site, ...] = ()


def decode_topology(body: bytes) -> Topology:
    """Decode the control process's answer. Raises msgspec.ValidationError or msgspec.DecodeError."""
    return msgspec.json.decode(body, type=Topology)
