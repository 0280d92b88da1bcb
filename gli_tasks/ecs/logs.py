"""Read what tasks say, from CloudWatch Logs: the last lines, and new ones as they come, each once."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gli_tasks.ecs.definition import current
from gli_tasks.ecs.services import read_services
from gli_tasks.errors import UsageError

# Lines reach CloudWatch Logs late, and those of several tasks out of order: each look goes back so far.
_LATE_MS = 30_000


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where a container's lines go: the group, and what its streams' names begin with, before the task's id."""

    service: str
    group: str
    stream_prefix: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: milliseconds since 1970 in UTC, whose it is, and what it says."""

    at_ms: int
    service: str
    task: str
    text: str
    event: str


def log_places(service: str, definition: Mapping[str, Any]) -> tuple[LogPlace, ...]:
    """Return where the containers of a task definition write to by the awslogs driver.

    Streams are named prefix/container/task (Amazon ECS Developer Guide, "Send Amazon ECS logs to CloudWatch"); without
    a prefix, which Fargate does not allow, a stream cannot be known for its task's.
    """
    places = []
    for container in definition.get("containerDefinitions", ()):
        logging = container.get("logConfiguration") or {}
        options = logging.get("options") or {}
        group, prefix = options.get("awslogs-group", ""), options.get("awslogs-stream-prefix", "")
        if logging.get("logDriver") == "awslogs" and group and prefix:
            places.append(LogPlace(service, str(group), f"{prefix}/{container['name']}/"))
    return tuple(places)


class LogReader:
    """Reads the lines of one place from a moment on; each ``read`` returns what has come since, and no line twice.

    ``pattern`` is CloudWatch Logs' filter pattern, empty for all; ``task`` an id, empty for all tasks. A line that
    reaches CloudWatch Logs more than half a minute after later ones may be missed.
    """

    def __init__(self, logs: Any, place: LogPlace, since_ms: int, *, pattern: str = "", task: str = "") -> None:
        self._logs, self._place, self._pattern = logs, place, pattern
        self._streams = place.stream_prefix + task
        self._since_ms = self._newest_ms = since_ms
        self._seen: dict[str, int] = {}

    def read(self) -> list[LogLine]:
        """Return the new lines, the oldest first. Raises UsageError where the group is missing."""
        start_ms = max(self._since_ms, self._newest_ms - _LATE_MS)
        self._seen = {event: at_ms for event, at_ms in self._seen.items() if at_ms >= start_ms}
        asked: dict[str, Any] = {"filterPattern": self._pattern} if self._pattern else {}
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=self._place.group,
            logStreamNamePrefix=self._streams,
            startTime=start_ms,
            **asked,
        )
        lines = []
        try:
            for page in pages:
                lines += [line for one in page["events"] if (line := self._new(one)) is not None]
        except self._logs.exceptions.ResourceNotFoundException:
            raise UsageError(
                f"there is no log group {self._place.group!r}", remedy="create it, or check the task definition"
            ) from None
        return sorted(lines, key=lambda line: line.at_ms)

    def _new(self, event: Mapping[str, Any]) -> LogLine | None:
        stream, identity, at_ms = str(event["logStreamName"]), str(event["eventId"]), int(event["timestamp"])
        if not stream.startswith(self._streams) or identity in self._seen:
            return None
        self._seen[identity] = at_ms
        self._newest_ms = max(self._newest_ms, at_ms)
        text = str(event["message"]).rstrip("\r\n")
        return LogLine(at_ms, self._place.service, stream.removeprefix(self._place.stream_prefix), text, identity)


def seconds_of(text: str) -> float:
    """Return how many seconds ``30s``, ``10m``, ``2h`` or ``1d`` are. Raises UsageError."""
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    if not re.fullmatch(r"[0-9]{1,6}[smhd]", text):
        raise UsageError(f"--since takes a length of time such as 30s, 10m, 2h or 1d, not {text!r}")
    return float(text[:-1]) * units[text[-1]]


def places_of(ecs: Any, cluster: str, services: Mapping[str, str]) -> tuple[LogPlace, ...]:
    """Return where the tasks of services write to, by all task definitions that their deployments are of.

    ``services`` are ECS's names by the settings' names. Raises UsageError where nothing writes to CloudWatch Logs.
    """
    facts = read_services(ecs, cluster, list(services.values()))
    found: dict[LogPlace, None] = {}
    for name, service in services.items():
        arns = [facts[service].task_definition, *(one.task_definition for one in facts[service].deployments)]
        for arn in dict.fromkeys(arns):
            found |= dict.fromkeys(log_places(name, current(ecs, arn) or {}))
    if not found:
        raise UsageError(
            f"no container of {', '.join(services)} writes to CloudWatch Logs",
            remedy="give it the awslogs driver with a stream prefix in its task definition",
        )
    return tuple(found)


def last_lines(readers: Sequence[LogReader], count: int) -> list[LogLine]:
    """Return the last lines of each service, ``count`` of each, the oldest first."""
    by_service: dict[str, deque[LogLine]] = {}
    for line in read_all(readers):
        by_service.setdefault(line.service, deque(maxlen=count)).append(line)
    return sorted((line for lines in by_service.values() for line in lines), key=lambda line: line.at_ms)


def read_all(readers: Sequence[LogReader]) -> list[LogLine]:
    """Return the new lines of several places, the oldest first."""
    return sorted((line for reader in readers for line in reader.read()), key=lambda line: line.at_ms)


def follow_lines(
    readers: Sequence[LogReader],
    *,
    poll_s: float,
    on_line: Callable[[LogLine], None],
    stop: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Hand over new lines as they come, one look every ``poll_s`` seconds, until ``stop`` says so."""
    while not stop():
        for line in read_all(readers):
            on_line(line)
        sleep(poll_s)
