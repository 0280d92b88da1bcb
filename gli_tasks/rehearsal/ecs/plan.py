"""PURE: how many tasks to start and stop, when a deployment has failed, and what to go back to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
_SMALLEST_THRESHOLD, _LARGEST_THRESHOLD = 3, 200
# ECS throttles a service whose tasks keep failing; the cap is the documented quarter of an hour.
_FREE_RESTARTS, _FIRST_RESTART_DELAY_S, _LAST_RESTART_DELAY_S = 3, 10.0, 900.0


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """A service's tasks that are meant to run: of the primary deployment and of those before it."""

    primary_healthy: int
    primary_unready: int
    old_healthy: int
    old_unready: int

    @property
    def healthy(self) -> int:
        """Return all that serve."""
        return self.primary_healthy + self.old_healthy

    @property
    def total(self) -> int:
        """Return all that run or are about to."""
        return self.healthy + self.primary_unready + self.old_unready


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now."""

    start: int = 0
    stop_primary_unready: int = 0
    stop_primary_healthy: int = 0
    stop_old_unready: int = 0
    stop_old_healthy: int = 0


def healthy_floor(desired: int, minimum_percent: int) -> int:
    """Return the fewest healthy tasks that a deployment may leave, rounded up as ECS does."""
    return math.ceil(desired * minimum_percent / 100)


def task_ceiling(desired: int, maximum_percent: int) -> int:
    """Return the most tasks that a deployment may have, rounded down as ECS does."""
    return math.floor(desired * maximum_percent / 100)


def rolling_step(desired: int, minimum_percent: int, maximum_percent: int, counts: TaskCounts) -> Step:
    """Decide the next step of a rolling update, or of keeping a service at its desired count.

    New tasks start while the ceiling has room. Old tasks that serve nobody go at once; old healthy ones go only
    when healthy tasks are left over above the desired count, or, down to the floor, to make the room that the
    ceiling denies to new ones.
    """
    floor = healthy_floor(desired, minimum_percent)
    ceiling = max(task_ceiling(desired, maximum_percent), 0)
    primary = counts.primary_healthy + counts.primary_unready
    missing = max(desired - primary, 0)
    surplus = max(primary - desired, 0)
    stop_primary_unready = min(surplus, counts.primary_unready)
    stop_primary_healthy = surplus - stop_primary_unready
    start = min(missing, max(ceiling - counts.total, 0))
    left_healthy = counts.healthy - stop_primary_healthy
    room_needed = missing - start - counts.old_unready
    spare = max(left_healthy - desired, room_needed)
    stop_old_healthy = max(min(spare, left_healthy - floor, counts.old_healthy), 0)
    return Step(start, stop_primary_unready, stop_primary_healthy, counts.old_unready, stop_old_healthy)


def failure_threshold(desired: int, kind: str = "BOUNDED_PERCENT", value: int = 50) -> int:
    """Return how many failed tasks trip the circuit breaker."""
    if kind == "COUNT":
        return max(value, 1)
    share = math.ceil(desired * value / 100)
    if kind == "UNBOUNDED_PERCENT":
        return max(share, 1)
    return min(max(share, _SMALLEST_THRESHOLD), _LARGEST_THRESHOLD)


def breaker_trips(enabled: bool, failed_tasks: int, threshold: int) -> bool:
    """Say whether the circuit breaker ends the deployment."""
    return enabled and failed_tasks >= threshold


def restart_delay_s(consecutive_failures: int) -> float:
    """Return how long to wait after the last of some failures in a row before the next start, in AWS's seconds."""
    if consecutive_failures <= _FREE_RESTARTS:
        return 0.0
    doublings = min(consecutive_failures - _FREE_RESTARTS - 1, 16)
    return min(_FIRST_RESTART_DELAY_S * 2.0**doublings, _LAST_RESTART_DELAY_S)


@dataclass(frozen=True, slots=True)
class PastDeployment:
    """A deployment as a rollback sees it."""

    deployment_id: str
    revision_arn: str
    completed_at: datetime | None


def last_good(deployments: Sequence[PastDeployment], failed_id: str) -> PastDeployment | None:
    """Return the deployment that completed last, apart from the failed one; None where none ever did."""
    completed = [item for item in deployments if item.completed_at is not None and item.deployment_id != failed_id]
    return max(completed, key=lambda item: item.completed_at or datetime.min, default=None)
