"""Counts of requests and answers, gathered for CloudWatch."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

LONGEST_SAMPLE = 10_000


class Window(msgspec.Struct):
    """What happened in one period for a load balancer and a target group ("" where no target was chosen).

    ``response_times_s`` run from the request's leaving to the answer's head (ALB's TargetResponseTime).
    """

    load_balancer: str
    target_group: str
    target_group_dimension: str = ""
    requests: int = 0
    target_2xx: int = 0
    target_3xx: int = 0
    target_4xx: int = 0
    target_5xx: int = 0
    elb_4xx: int = 0
    elb_5xx: int = 0
    target_connection_errors: int = 0
    response_times_s: list[float] = []
    healthy_hosts: int = 0
    unhealthy_hosts: int = 0
    timestamp: float = 0.0


class Meter:
    """Counts, period by period."""

    def __init__(self) -> None:
        """Start at zero."""
        self._windows: dict[tuple[str, str], Window] = {}

    def window(self, load_balancer: str, target_group: str) -> Window:
        """Return the counters of the period that runs."""
        key = load_balancer, target_group
        found = self._windows.get(key)
        if found is None:
            found = self._windows[key] = Window(load_balancer, target_group)
        return found

    def answered(self, load_balancer: str, target_group: str, status: int, seconds: float) -> None:
        """Count a target's answer."""
        window = self.window(load_balancer, target_group)
        if 200 <= status < 300:
            window.target_2xx += 1
        elif 300 <= status < 400:
            window.target_3xx += 1
        elif 400 <= status < 500:
            window.target_4xx += 1
        elif status >= 500:
            window.target_5xx += 1
        if len(window.response_times_s) < LONGEST_SAMPLE:
            window.response_times_s.append(round(seconds, 6))

    def failed(self, load_balancer: str, target_group: str, status: int) -> None:
        """Count an error answer of the balancer's own."""
        window = self.window(load_balancer, target_group)
        if status >= 500:
            window.elb_5xx += 1
        elif status >= 400:
            window.elb_4xx += 1

    def finish(self, now: float, hosts: Callable[[str], tuple[int, int]], dimensions: dict[str, str]) -> list[Window]:
        """End the period at epoch second ``now`` and return what was counted."""
        windows = list(self._windows.values())
        self._windows = {}
        for window in windows:
            window.timestamp = now
            window.healthy_hosts, window.unhealthy_hosts = hosts(window.target_group)
            window.target_group_dimension = dimensions.get(window.target_group, "")
        return windows
