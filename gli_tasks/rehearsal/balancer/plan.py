"""Decisions of the load balancer, without I/O: which rule, which group, which target; who is healthy, who is gone.

The rules are those of an Application Load Balancer
(https://docs.aws.amazon.com/elasticloadbalancing/latest/application/).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar
from urllib.parse import quote

from gli_tasks.rehearsal.balancer.topology import (
    Forward,
    Listener,
    Redirect,
    Rule,
    Topology,
    WeightedGroup,
)


class TargetState(StrEnum):
    """States of a target, as DescribeTargetHealth names them, and ``gone`` for one that has drained."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNUSED = "unused"
    DRAINING = "draining"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Health:
    """A target's health and what led to it."""

    state: TargetState
    reason: str = ""
    description: str = ""
    successes: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class ProbeAnswered:
    """The target answered a health check with this status."""

    status: int


@dataclass(frozen=True, slots=True)
class ProbeTimedOut:
    """The target did not answer a health check in time."""


@dataclass(frozen=True, slots=True)
class ProbeFailed:
    """The target refused the connection, or closed it, or answered something else than HTTP."""


_T = TypeVar("_T")

Probe = ProbeAnswered | ProbeTimedOut | ProbeFailed

REGISTERING = Health(TargetState.INITIAL, "Elb.RegistrationInProgress", "Target registration is in progress")
CHECKING = Health(TargetState.INITIAL, "Elb.InitialHealthChecking", "Initial health checks in progress")
NOT_IN_USE = Health(
    TargetState.UNUSED,
    "Target.NotInUse",
    "Target group is not configured to receive traffic from the load balancer",
)
DRAINING = Health(TargetState.DRAINING, "Target.DeregistrationInProgress", "Target deregistration is in progress")
GONE = Health(TargetState.GONE, "Target.NotRegistered", "Target is not registered to the target group")


def host_of(header: str) -> str:
    """Return the host of a Host header in lower case, without its port."""
    host = header.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    """Compile a condition value: ``*`` is any number of characters, ``?`` exactly one."""
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(letter) or re.escape(letter) for letter in text), re.DOTALL)


def matches(rule: Rule, host: str, path: str) -> bool:
    """Return whether all conditions of the rule hold: the host in any case, the path in its own, without the query."""
    if rule.hosts and not any(_pattern(value.lower()).fullmatch(host) for value in rule.hosts):
        return False
    return not rule.paths or any(_pattern(value).fullmatch(path) for value in rule.paths)


def find_listener(topology: Topology, protocol: str, host: str) -> Listener | None:
    """Return the listener that serves a host on ``HTTP`` or ``HTTPS``.

    In AWS each load balancer has addresses of its own; here all share one, so the host tells which is meant: the
    load balancer with a rule for this host, on any of its listeners; else the first with a listener of the protocol.
    """
    served = [listener for listener in topology.listeners if listener.protocol == protocol]
    owners = {
        listener.load_balancer
        for listener in topology.listeners
        for rule in listener.rules
        if any(_pattern(value.lower()).fullmatch(host) for value in rule.hosts)
    }
    return next((listener for listener in served if listener.load_balancer in owners), served[0] if served else None)


def find_rule(listener: Listener, host: str, path: str) -> Rule | None:
    """Return the first rule that matches; None where the listener has not even a default one."""
    return next((rule for rule in listener.rules if matches(rule, host, path)), None)


def choose_group(groups: Sequence[WeightedGroup], draw: float) -> str | None:
    """Return the target group for a draw from [0, 1): weights are shares of their sum.

    A single group takes all whatever its weight; None where all of several weights are 0.
    """
    if len(groups) == 1:
        return groups[0].target_group
    total = sum(group.weight for group in groups)
    point = draw * total
    for group in groups:
        if point < group.weight:
            return group.target_group
        point -= group.weight
    # rounding may carry a draw just below 1 to the very end
    return next((group.target_group for group in reversed(groups) if group.weight > 0), None)


def may_stick(forward: Forward, target_group: str) -> bool:
    """Return whether a stickiness cookie may still send a client to this group."""
    return any(
        group.target_group == target_group and (group.weight > 0 or len(forward.targets) == 1)
        for group in forward.targets
    )


def choose_targets(states: Mapping[_T, TargetState]) -> list[_T]:
    """Return the targets that may be sent a request, in their order.

    The healthy ones; where there is none, *fail open*: all that are registered and not draining.
    """
    healthy = [target for target, state in states.items() if state is TargetState.HEALTHY]
    if healthy:
        return healthy
    registered = (TargetState.UNHEALTHY, TargetState.INITIAL)
    return [target for target, state in states.items() if state in registered]


def groups_in_use(topology: Topology) -> frozenset[str]:
    """Return the target groups that some rule forwards to; the others' targets are not probed."""
    return frozenset(
        group.target_group
        for listener in topology.listeners
        for rule in listener.rules
        if isinstance(rule.action, Forward)
        for group in rule.action.targets
    )


@lru_cache(maxsize=256)
def parse_matcher(text: str) -> tuple[range, ...]:
    """Read a success code matcher such as ``200``, ``200,302`` or ``200-399``. Raises ValueError."""
    found = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        found.append(range(int(low), int(high if dash else low) + 1))
    return tuple(found)


def step_health(
    health: Health, probe: Probe, *, matcher: str, healthy_threshold: int, unhealthy_threshold: int
) -> Health:
    """Return a target's health after one more check.

    One success makes an ``initial`` target healthy; an unhealthy one needs ``healthy_threshold`` in a row, and a
    healthy or initial one becomes unhealthy after ``unhealthy_threshold`` failures in a row.
    """
    if isinstance(probe, ProbeAnswered) and any(probe.status in codes for codes in parse_matcher(matcher)):
        successes = health.successes + 1
        if health.state is TargetState.UNHEALTHY and successes < healthy_threshold:
            return replace(health, successes=successes, failures=0)
        return Health(TargetState.HEALTHY, successes=min(successes, healthy_threshold))
    failures = health.failures + 1
    if health.state is not TargetState.UNHEALTHY and failures < unhealthy_threshold:
        base = CHECKING if health.state is TargetState.INITIAL else health
        return replace(base, successes=0, failures=failures)
    reason, description = _why(probe)
    return Health(TargetState.UNHEALTHY, reason, description, failures=min(failures, unhealthy_threshold))


def _why(probe: Probe) -> tuple[str, str]:
    if isinstance(probe, ProbeAnswered):
        return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{probe.status}]"
    if isinstance(probe, ProbeTimedOut):
        return "Target.Timeout", "Request timed out"
    return "Target.FailedHealthChecks", "Health checks failed"


def has_drained(*, active: int, since_s: float, now_s: float, delay_s: float) -> bool:
    """Return whether a draining target is gone: nothing in flight, or its (scaled) delay is over."""
    return active == 0 or now_s - since_s >= delay_s


def redirect_location(redirect: Redirect, *, protocol: str, host: str, port: int, path: str, query: str) -> str:
    """Return the Location of a redirect, its placeholders filled in; a default port is left out, as ALB does."""
    values = {"protocol": protocol.lower(), "host": host, "port": str(port), "path": path.lstrip("/"), "query": query}

    def fill(text: str) -> str:
        return re.sub(r"#\{(protocol|host|port|path|query)\}", lambda found: values[found[1]], text)

    scheme, to_port = fill(redirect.protocol).lower(), fill(redirect.port)
    default = {"http": "80", "https": "443"}.get(scheme)
    authority = fill(redirect.host) + ("" if to_port == default else f":{to_port}")
    wanted = fill(redirect.query)
    location = f"{scheme}://{authority}{fill(redirect.path)}" + (f"?{wanted}" if wanted else "")
    return quote(location, safe="%/:=&?~#+!$,;'@()*[]-._")
