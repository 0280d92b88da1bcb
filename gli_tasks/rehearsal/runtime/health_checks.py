"""Run container health checks at their interval, on a bounded number of threads.

Rules: https://docs.docker.com/reference/dockerfile/#healthcheck. The first check runs one interval after the start, the
next one an interval after the end of the one before; failures in the start period do not count until one succeeded.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

from gli_tasks.rehearsal.runtime.contract import ContainerHealth, HealthCheck

LOG = logging.getLogger(__name__)

STOP_TIMEOUT_S = 10.0


class WatchedHealth:
    """One container's health, decided by the outcomes of its checks."""

    def __init__(self, check: HealthCheck, run: Callable[[], bool], now_s: float) -> None:
        """Judge by ``check``; ``run`` makes one check. ``now_s`` is when the container started, on a steady clock."""
        self.check = check
        self.run = run
        self._counts_from_s = now_s + check.start_period_s
        self._failures = 0
        self._health = ContainerHealth.UNKNOWN
        self._ended = threading.Event()

    @property
    def health(self) -> ContainerHealth:
        """Return what the checks have decided so far."""
        return self._health

    @property
    def ended(self) -> bool:
        """Say whether there is nothing left to watch."""
        return self._ended.is_set()

    def end(self) -> None:
        """Stop watching: the container ended."""
        self._ended.set()

    def record(self, passed: bool, started_s: float) -> None:
        """Take the outcome of a check that started at ``started_s``."""
        if passed:
            self._failures = 0
            self._health = ContainerHealth.HEALTHY
            self._counts_from_s = min(self._counts_from_s, started_s)  # one success ends the start period
        elif started_s >= self._counts_from_s:
            self._failures += 1
            if self._failures >= self.check.retries:
                self._health = ContainerHealth.UNHEALTHY


class HealthChecks:
    """Runs the checks of many containers with a few threads."""

    def __init__(self, threads: int = 4) -> None:
        """Start ``threads`` threads."""
        self._due: list[tuple[float, int, WatchedHealth]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"rehearsal health {number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def watch(self, watched: WatchedHealth) -> None:
        """Check a container until it is ended."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + watched.check.interval_s, next(self._order), watched))
            self._changed.notify()

    def close(self) -> None:
        """Make no further checks, and wait for those under way."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_S)

    def _work(self) -> None:
        while (watched := self._next()) is not None:
            if watched.ended:
                continue
            started_s = time.monotonic()
            try:
                passed = watched.run()
            except Exception:  # the thread's top: a check that cannot be made is a check that failed
                LOG.exception("a health check could not be made")
                passed = False
            watched.record(passed, started_s)
            self.watch(watched)

    def _next(self) -> WatchedHealth | None:
        with self._changed:
            while not self._closed:
                left_s = self._due[0][0] - time.monotonic() if self._due else None
                if left_s is not None and left_s <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(left_s)
        return None
