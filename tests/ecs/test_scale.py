"""Counts and ranges of tasks, against the twin's ECS and its autoscaling."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from gli_tasks.ecs.scale import Range, changed_range, read_range, require_within, set_count, set_range, wait_scaled
from gli_tasks.errors import Refused, RolloutFailed, UsageError
from tests.ecs.stack_parts import Stack

CLUSTER, SERVICE = "shop-cluster", "shop-api"


def wait(cloud: Stack, low: int, high: int, **changes: Any) -> int:
    options: dict[str, Any] = {"timeout_s": 15, "poll_s": 0.05, "on_change": lambda _said: None, **changes}
    return wait_scaled(cloud.ecs, CLUSTER, SERVICE, Range(low, high), **options)


def test_a_count_is_set_and_waited_for_and_nothing_else_changes(cloud: Stack) -> None:
    cloud.serve(cloud.register("serve"))
    before = cloud.service()
    said: list[str] = []
    set_count(cloud.ecs, CLUSTER, SERVICE, 3)
    assert wait(cloud, 3, 3, on_change=said.append) == 3
    assert said[-1] == "3/3 running"
    after = cloud.service()
    assert (after["runningCount"], after["taskDefinition"]) == (3, before["taskDefinition"])
    assert [one["id"] for one in after["deployments"]] == [one["id"] for one in before["deployments"]]
    set_count(cloud.ecs, CLUSTER, SERVICE, 0)
    assert wait(cloud, 0, 0) == 0


def test_a_range_is_changed_read_back_and_moves_the_count(cloud: Stack) -> None:
    cloud.serve(cloud.register("serve"))
    scaling = cloud.client("application-autoscaling")
    assert read_range(scaling, CLUSTER, SERVICE) is None
    set_range(scaling, CLUSTER, SERVICE, Range(1, 4))
    assert read_range(scaling, CLUSTER, SERVICE) == Range(1, 4)
    set_range(scaling, CLUSTER, SERVICE, Range(2, 4))
    assert wait(cloud, 2, 4) == 2


def test_a_count_outside_of_the_range_is_refused_and_one_within_may_be_moved() -> None:
    assert require_within(9, None) == ""
    assert "may move it again, between 1 and 4" in require_within(4, Range(1, 4))
    for count in (0, 5):
        with pytest.raises(Refused, match="between 1 and 4") as caught:
            require_within(count, Range(1, 4))
        assert "--min and --max" in caught.value.remedy


def test_a_range_is_changed_at_one_end_or_both() -> None:
    assert changed_range(Range(1, 4), None, 6) == Range(1, 6)
    assert changed_range(Range(1, 4), 0, None) == Range(0, 4)
    assert changed_range(Range(1, 4), 5, 9) == Range(5, 9)
    with pytest.raises(UsageError, match="from 5 to 4 is empty"):
        changed_range(Range(1, 4), 5, None)
    with pytest.raises(UsageError, match="nothing scales this service"):
        changed_range(None, 1, 2)


def test_tasks_that_do_not_come_up_end_the_wait_with_their_reasons(cloud: Stack) -> None:
    cloud.serve(cloud.register("serve"))
    cloud.plane.capacity = lambda: False
    set_count(cloud.ecs, CLUSTER, SERVICE, 2)
    with pytest.raises(RolloutFailed, match=r"did not get there within 0\.5 s \(1/2 running") as caught:
        wait(cloud, 2, 2, timeout_s=0.5)
    assert "event: " in str(caught.value)


def test_a_number_that_another_moves_is_no_success(cloud: Stack) -> None:
    cloud.serve(cloud.register("serve"))
    cloud.plane.capacity = lambda: False
    set_count(cloud.ecs, CLUSTER, SERVICE, 2)

    def sleep(_seconds: float) -> None:
        cloud.ecs.update_service(cluster=CLUSTER, service=SERVICE, desiredCount=1)
        threading.Event().wait(0.05)

    with pytest.raises(RolloutFailed, match="is meant to run 1 tasks by now"):
        wait(cloud, 2, 2, sleep=sleep)
