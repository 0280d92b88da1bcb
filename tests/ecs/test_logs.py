"""Lines of tasks: the last ones, the new ones, each once, whoever comes late."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from gli_tasks.ecs.logs import LogLine, LogPlace, LogReader, follow_lines, last_lines, log_places, places_of, seconds_of
from gli_tasks.errors import UsageError
from tests.ecs.stack_parts import GROUP, Stack

PLACE = LogPlace("api", GROUP, "ecs/api/")


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


def now_ms(cloud: Stack) -> int:
    return int(cloud.plane.now().timestamp() * 1_000)


def test_lines_of_several_tasks_come_in_their_order_with_whose_they_are(cloud: Stack) -> None:
    base = now_ms(cloud)
    cloud.say("ecs/api/t1", (base, "a"), (base + 20, "c"))
    cloud.say("ecs/api/t2", (base + 10, "b\n"))
    cloud.say("ecs/web/t3", (base + 15, "another container's"))
    lines = LogReader(cloud.logs, PLACE, base - 1_000).read()
    assert [(line.service, line.task, line.text) for line in lines] == [
        ("api", "t1", "a"),
        ("api", "t2", "b"),
        ("api", "t1", "c"),
    ]


def test_no_line_comes_twice_and_one_that_comes_late_is_not_lost(cloud: Stack) -> None:
    base = now_ms(cloud)
    reader = LogReader(cloud.logs, PLACE, base - 60_000)
    cloud.say("ecs/api/t1", (base, "a"), (base, "a"))
    assert texts(reader.read()) == ["a", "a"]
    assert reader.read() == []
    cloud.say("ecs/api/t2", (base - 10_000, "late"))
    cloud.say("ecs/api/t1", (base + 1, "b"))
    assert texts(reader.read()) == ["late", "b"]
    assert reader.read() == []


def test_what_was_before_the_moment_is_not_told(cloud: Stack) -> None:
    base = now_ms(cloud)
    cloud.say("ecs/api/t1", (base - 90_000, "old"), (base - 1_000, "new"))
    assert texts(LogReader(cloud.logs, PLACE, base - 60_000).read()) == ["new"]


def test_a_pattern_and_a_task_choose(cloud: Stack) -> None:
    base = now_ms(cloud)
    cloud.say("ecs/api/t1", (base, "ERROR one"), (base + 1, "fine"))
    cloud.say("ecs/api/t2", (base + 2, "ERROR two"))
    assert texts(LogReader(cloud.logs, PLACE, 0, pattern="ERROR").read()) == ["ERROR one", "ERROR two"]
    assert texts(LogReader(cloud.logs, PLACE, 0, task="t2").read()) == ["ERROR two"]


def test_the_last_lines_are_of_each_service(cloud: Stack) -> None:
    base = now_ms(cloud)
    cloud.say("ecs/api/t1", *((base + index, f"a{index}") for index in range(5)))
    cloud.say("ecs/web/t2", (base - 5, "w"))
    readers = [LogReader(cloud.logs, place, base - 1_000) for place in (PLACE, LogPlace("web", GROUP, "ecs/web/"))]
    assert texts(last_lines(readers, 2)) == ["w", "a3", "a4"]
    assert last_lines([LogReader(cloud.logs, PLACE, 0)], 0) == []


def test_new_lines_come_as_they_are_said_until_the_end(cloud: Stack) -> None:
    base, seen, stop = now_ms(cloud), list[str](), threading.Event()
    cloud.say("ecs/api/t1", (base, "0"))

    def sleep(_seconds: float) -> None:
        count = len(seen)
        cloud.say("ecs/api/t1", (base + count, str(count)))
        if count == 5:
            stop.set()

    follow_lines(
        [LogReader(cloud.logs, PLACE, base - 1_000)],
        poll_s=1,
        on_line=lambda line: seen.append(line.text),
        stop=stop.is_set,
        sleep=sleep,
    )
    assert seen == ["0", "1", "2", "3", "4"]


def test_a_group_that_is_missing_is_named(cloud: Stack) -> None:
    with pytest.raises(UsageError, match="there is no log group '/none'"):
        LogReader(cloud.logs, LogPlace("api", "/none", "ecs/api/"), 0).read()


def test_places_are_those_of_every_deployment(cloud: Stack) -> None:
    cloud.serve(cloud.register("serve"))
    other: dict[str, Any] = {
        "logDriver": "awslogs",
        "options": {"awslogs-group": GROUP, "awslogs-stream-prefix": "new"},
    }
    other["options"]["awslogs-region"] = "ap-northeast-2"
    definition = cloud.register("serve", "3", logConfiguration=other)
    cloud.ecs.update_service(cluster="shop-cluster", service="shop-api", taskDefinition=definition)
    found = places_of(cloud.ecs, "shop-cluster", {"api": "shop-api"})
    assert found == (LogPlace("api", GROUP, "new/api/"), LogPlace("api", GROUP, "ecs/api/"))


def test_only_awslogs_with_a_prefix_can_be_read() -> None:
    def definition(**logging: Any) -> dict[str, Any]:
        return {"containerDefinitions": [{"name": "api", "logConfiguration": logging}, {"name": "silent"}]}

    options = {"awslogs-group": "/g", "awslogs-stream-prefix": "p"}
    assert log_places("s", definition(logDriver="awslogs", options=options)) == (LogPlace("s", "/g", "p/api/"),)
    assert log_places("s", definition(logDriver="splunk", options=options)) == ()
    assert log_places("s", definition(logDriver="awslogs", options={"awslogs-group": "/g"})) == ()
    assert log_places("s", {}) == ()


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7_200), ("1d", 86_400)])
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-1m", "1.5h", "10 m", "1w", "9999999s"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="30s, 10m, 2h or 1d"):
        seconds_of(text)
