"""Health is decided as Docker decides it, on a bounded number of threads."""

from __future__ import annotations

import itertools
import threading
import time

from gli_tasks.rehearsal.runtime.contract import ContainerHealth
from gli_tasks.rehearsal.runtime.health_checks import HealthChecks, WatchedHealth

from .conftest import eventually, make_check


def watched(**changes) -> WatchedHealth:
    return WatchedHealth(make_check(**changes), lambda: True, now_s=100.0)


def test_failures_count_in_a_row() -> None:
    health = watched(retries=2)
    assert health.health is ContainerHealth.UNKNOWN
    health.record(False, 101)
    assert health.health is ContainerHealth.UNKNOWN
    health.record(True, 102)
    assert health.health is ContainerHealth.HEALTHY
    health.record(False, 103)
    health.record(True, 104)
    health.record(False, 105)
    assert health.health is ContainerHealth.HEALTHY
    health.record(False, 106)
    assert health.health is ContainerHealth.UNHEALTHY
    health.record(True, 107)
    assert health.health is ContainerHealth.HEALTHY


def test_the_start_period_forgives_until_the_first_success() -> None:
    health = watched(retries=1, start_period_s=10)
    health.record(False, 105)
    assert health.health is ContainerHealth.UNKNOWN
    health.record(True, 106)
    health.record(False, 107)
    assert health.health is ContainerHealth.UNHEALTHY
    late = watched(retries=1, start_period_s=10)
    late.record(False, 111)
    assert late.health is ContainerHealth.UNHEALTHY


def test_checks_run_at_their_interval_on_few_threads() -> None:
    checks = HealthChecks(threads=2)
    seen: dict[int, list[float]] = {number: [] for number in range(6)}
    threads: set[str] = set()

    def check(number: int) -> bool:
        seen[number].append(time.monotonic())
        threads.add(threading.current_thread().name)
        return True

    all_watched = []
    for number in seen:
        health = WatchedHealth(make_check(interval_s=0.05), lambda number=number: check(number), time.monotonic())
        all_watched.append(health)
        checks.watch(health)
    eventually(lambda: all(len(times) >= 4 for times in seen.values()))
    all_watched[0].end()
    checks.close()
    count = sum(map(len, seen.values()))
    assert len(threads) <= 2
    pairs = [pair for times in seen.values() for pair in itertools.pairwise(times)]
    assert all(later - earlier >= 0.05 for earlier, later in pairs)
    assert count == sum(map(len, seen.values()))


def test_a_check_that_cannot_be_made_failed() -> None:
    checks = HealthChecks(threads=1)

    def broken() -> bool:
        raise OSError("no")

    health = WatchedHealth(make_check(interval_s=0.01, retries=1), broken, time.monotonic())
    checks.watch(health)
    eventually(lambda: health.health is ContainerHealth.UNHEALTHY)
    checks.close()
