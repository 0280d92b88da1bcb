"""The pure rules of rolling, over many cases."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.rehearsal.ecs.plan import (
    PastDeployment,
    TaskCounts,
    breaker_trips,
    failure_threshold,
    last_good,
    restart_delay_s,
    rolling_step,
)

NUMBERS = st.integers(0, 12)
COUNTS = st.builds(TaskCounts, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
PERCENTS = st.tuples(st.integers(0, 100), st.integers(100, 200))


@given(NUMBERS, PERCENTS, COUNTS)
def test_a_step_never_breaks_the_floor_or_the_ceiling_by_its_own_doing(
    desired: int, percents: tuple[int, int], counts: TaskCounts
) -> None:
    minimum, maximum = percents
    step = rolling_step(desired, minimum, maximum, counts)
    floor, ceiling = math.ceil(desired * minimum / 100), math.floor(desired * maximum / 100)
    assert 0 <= step.stop_primary_unready <= counts.primary_unready
    assert 0 <= step.stop_primary_healthy <= counts.primary_healthy
    assert 0 <= step.stop_old_unready <= counts.old_unready
    assert 0 <= step.stop_old_healthy <= counts.old_healthy
    assert step.start >= 0
    if step.start:
        assert counts.total + step.start <= ceiling
    stopped_healthy = step.stop_primary_healthy + step.stop_old_healthy
    if stopped_healthy:
        assert counts.healthy - stopped_healthy >= floor
    assert not (step.start and step.stop_primary_unready + step.stop_primary_healthy)


@given(st.integers(0, 10), PERCENTS, COUNTS)
def test_steps_lead_to_the_desired_count_of_the_primary_alone(
    desired: int, percents: tuple[int, int], counts: TaskCounts
) -> None:
    minimum, maximum = percents
    floor, ceiling = math.ceil(desired * minimum / 100), math.floor(desired * maximum / 100)
    if floor >= ceiling and desired:
        return  # ECS documents that such a service cannot roll
    for _ in range(80):
        step = rolling_step(desired, minimum, maximum, counts)
        # Whatever starts becomes healthy by the next look.
        counts = TaskCounts(
            counts.primary_healthy - step.stop_primary_healthy + counts.primary_unready - step.stop_primary_unready,
            step.start,
            counts.old_healthy - step.stop_old_healthy,
            counts.old_unready - step.stop_old_unready,
        )
    assert counts == TaskCounts(desired, 0, 0, 0)


def test_known_steps() -> None:
    assert rolling_step(2, 100, 200, TaskCounts(0, 0, 2, 0)).start == 2
    assert rolling_step(2, 100, 200, TaskCounts(1, 1, 2, 0)).stop_old_healthy == 1
    assert rolling_step(4, 50, 100, TaskCounts(0, 0, 4, 0)).stop_old_healthy == 2
    assert rolling_step(1, 100, 150, TaskCounts(0, 0, 1, 0)).start == 0
    assert rolling_step(1, 0, 100, TaskCounts(0, 0, 1, 0)).stop_old_healthy == 1


@given(st.integers(0, 5000))
def test_the_default_threshold_is_half_the_desired_count_between_3_and_200(desired: int) -> None:
    assert failure_threshold(desired) == min(max(math.ceil(desired / 2), 3), 200)


def test_thresholds_of_other_kinds() -> None:
    assert failure_threshold(10, "COUNT", 7) == 7
    assert failure_threshold(1000, "UNBOUNDED_PERCENT", 50) == 500
    assert failure_threshold(10, "BOUNDED_PERCENT", 100) == 10
    assert breaker_trips(True, 3, 3)
    assert not breaker_trips(True, 2, 3)
    assert not breaker_trips(False, 300, 3)


@given(st.integers(0, 100))
def test_restarts_wait_longer_and_longer_up_to_a_quarter_of_an_hour(failures: int) -> None:
    assert 0 <= restart_delay_s(failures) <= restart_delay_s(failures + 1) <= 900
    assert (restart_delay_s(failures) == 0) == (failures <= 3)


@given(st.lists(st.one_of(st.none(), st.integers(0, 1000)), max_size=8), st.integers(0, 8))
def test_the_rollback_target_is_the_deployment_completed_last(times: list[int | None], failed: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    past = [
        PastDeployment(str(index), f"revision-{index}", None if at is None else start + timedelta(seconds=at))
        for index, at in enumerate(times)
    ]
    found = last_good(past, str(failed))
    candidates = [item for item in past if item.completed_at and item.deployment_id != str(failed)]
    if found is None:
        assert candidates == []
    else:
        assert found in candidates
        assert all(item.completed_at <= found.completed_at for item in candidates)  # type: ignore[operator]
