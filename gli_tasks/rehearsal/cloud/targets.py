"""Which targets are registered with which target group, and what the balancer reports of them.

A registration is ours to know, its health is the balancer's to tell. A target that is deregistered drains: it stays
until the balancer reports it gone, or, should no balancer do so, until its deregistration delay is over.
Reasons and descriptions: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gli_tasks.rehearsal.ecs.ports import TargetState

DRAINING_GRACE_S = 5.0
"""How long after its delay a draining target is kept for a balancer that has not reported it gone; real seconds."""


class UnknownTargetGroup(Exception):
    """No target group has this ARN."""


class TargetHealth(StrEnum):
    """ELBv2's target states; ``gone`` is the twin's own, for a target that is not (any more) registered."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    UNUSED = "unused"
    GONE = "gone"


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """What identifies a target."""

    target_group_arn: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class RegisteredTarget:
    """A registration as the balancer needs it."""

    target: Target
    is_draining: bool


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What the balancer found; ``active`` counts requests in flight and open WebSockets."""

    target: Target
    state: TargetState
    active: int = 0


class TargetGroups(Protocol):
    """What must be known of target groups."""

    def has_target_group(self, target_group_arn: str) -> bool:
        """Tell whether the target group exists."""

    def is_in_use(self, target_group_arn: str) -> bool:
        """Tell whether a listener or a rule refers to the target group."""

    def deregistration_delay_s(self, target_group_arn: str) -> float:
        """Return how long targets drain, in AWS's seconds."""


REGISTERING = TargetState(TargetHealth.INITIAL, "Elb.RegistrationInProgress", "Target registration is in progress")
DRAINING = TargetState(TargetHealth.DRAINING, "Target.DeregistrationInProgress", "Target deregistration is in progress")
NOT_IN_USE = TargetState(
    TargetHealth.UNUSED,
    "Target.NotInUse",
    "Target group is not configured to receive traffic from the load balancer",
)
NOT_REGISTERED = TargetState(TargetHealth.GONE, "Target.NotRegistered", "Target is not registered to the target group")


@dataclass(slots=True)
class _Registration:
    health: TargetState = REGISTERING
    draining_until: float | None = None


class TargetStates:
    """All registrations of one account and region; safe to use from any thread.

    ``time_scale`` multiplies the deregistration delay; ``clock`` is monotonic.
    """

    def __init__(
        self, groups: TargetGroups, *, time_scale: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._groups = groups
        self._time_scale = time_scale
        self._clock = clock
        self._lock = threading.Lock()
        self._registrations: dict[Target, _Registration] = {}

    def register(self, target_group_arn: str, address: str, port: int) -> None:
        """Register a target; one that drains is taken back. Raises UnknownTargetGroup."""
        if not self._groups.has_target_group(target_group_arn):
            raise UnknownTargetGroup(target_group_arn)
        target = Target(target_group_arn, address, port)
        with self._lock:
            known = self._registrations.get(target)
            if known is None or known.draining_until is not None:
                self._registrations[target] = _Registration()

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        """Start draining a target; one that is not registered is passed over, as on AWS."""
        target = Target(target_group_arn, address, port)
        is_in_use = self._groups.is_in_use(target_group_arn)
        delay_s = self._groups.deregistration_delay_s(target_group_arn) * self._time_scale
        with self._lock:
            known = self._registrations.get(target)
            if known is None or known.draining_until is not None:
                return
            if is_in_use:
                known.draining_until = self._clock() + delay_s + DRAINING_GRACE_S
            else:
                del self._registrations[target]  # no traffic to drain

    def state(self, target_group_arn: str, address: str, port: int) -> TargetState:
        """Return a target's state; ``gone`` where it is not registered, or its target group is deleted."""
        if not self._groups.has_target_group(target_group_arn):
            return NOT_REGISTERED
        is_in_use = self._groups.is_in_use(target_group_arn)
        with self._lock:
            self._forget_drained()
            known = self._registrations.get(Target(target_group_arn, address, port))
            if known is None:
                return NOT_REGISTERED
            if known.draining_until is not None:
                return DRAINING
            return _live_state(known.health, is_in_use)

    def registered(self) -> list[RegisteredTarget]:
        """Return every registration of target groups that still exist, the draining ones included, in order."""
        with self._lock:
            self._forget_drained()
            found = [
                RegisteredTarget(target, one.draining_until is not None) for target, one in self._registrations.items()
            ]
        kept = [one for one in found if self._groups.has_target_group(one.target.target_group_arn)]
        if len(kept) < len(found):
            self._forget({one.target for one in found} - {one.target for one in kept})
        return sorted(kept, key=lambda one: one.target)

    def report(self, reports: Iterable[HealthReport]) -> None:
        """Take over what the balancer found.

        A report can be older than a registration or deregistration that crossed it: what it says of draining counts
        for a target that drains, what it says of health for one that does not.
        """
        with self._lock:
            for one in reports:
                known = self._registrations.get(one.target)
                if known is None:
                    continue
                if known.draining_until is not None:
                    if one.state.state == TargetHealth.GONE:
                        del self._registrations[one.target]
                elif one.state.state not in (TargetHealth.GONE, TargetHealth.DRAINING):
                    known.health = one.state

    def _forget_drained(self) -> None:
        now = self._clock()
        for target in [
            target
            for target, one in self._registrations.items()
            if one.draining_until is not None and one.draining_until <= now
        ]:
            del self._registrations[target]

    def _forget(self, targets: Iterable[Target]) -> None:
        with self._lock:
            for target in targets:
                self._registrations.pop(target, None)


def _live_state(reported: TargetState, is_in_use: bool) -> TargetState:
    if not is_in_use:
        return NOT_IN_USE
    # A group that has just come into use: the balancer has not looked yet.
    return REGISTERING if reported.state == TargetHealth.UNUSED else reported
