"""Writes the output of tasks to moto's CloudWatch Logs, in process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from moto.logs.models import logs_backends

from gli_tasks.rehearsal.ecs.ports import LogGroupMissing, LogLine

EVENT_LIMIT_BYTES = 256 * 1024 - 26
"""The longest message of one event; longer lines are split, as the awslogs driver does."""


MISSING = "ResourceNotFoundException: The specified log group does not exist."


class LogSink:
    """Log streams of one account and region; safe to use from any thread.

    ``clock`` returns epoch seconds. Events of a stream keep the order in which they were written: a clock that runs
    backwards repeats the last timestamp.
    """

    def __init__(self, account: str, region: str, *, clock: Callable[[], float] = time.time) -> None:
        self._account = account
        self._region = region
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], int] = {}

    def has_group(self, group: str) -> bool:
        """Tell whether a log group exists."""
        return group in self._backend().groups

    def open_stream(self, group: str, stream: str, create_group: bool) -> None:
        """Create a stream where it is missing, and its group if so told. Raises LogGroupMissing."""
        with self._lock:
            if create_group and not self.has_group(group):
                self._backend().create_log_group(group, {})
            self._stream(group, stream)

    def put(self, group: str, stream: str, lines: Sequence[LogLine]) -> None:
        """Append lines in order; empty ones are dropped, as by the awslogs driver. Raises LogGroupMissing."""
        with self._lock:
            self._stream(group, stream)
            events: list[dict[str, Any]] = []
            for line in lines:
                moment = max(round(line.at.timestamp() * 1000), self._last.get((group, stream), 0))
                self._last[group, stream] = moment
                events.extend({"timestamp": moment, "message": part} for part in _split(line.text))
            if events:
                self._backend().put_log_events(group, stream, events)

    def write(self, group: str, stream: str, text: str) -> None:
        """Append one line as of now, the stream being created where it is missing. Raises LogGroupMissing."""
        self.put(group, stream, [LogLine(datetime.fromtimestamp(self._clock(), UTC), text)])

    def _stream(self, group: str, stream: str) -> None:
        found = self._backend().groups.get(group)
        if found is None:
            raise LogGroupMissing(MISSING)
        if stream not in found.streams:
            found.create_log_stream(stream)

    def _backend(self) -> Any:
        return logs_backends[self._account][self._region]


def _split(message: str) -> Iterator[str]:
    data = message.encode("utf-8", "replace")
    while data:
        yield data[:EVENT_LIMIT_BYTES].decode("utf-8", "ignore")
        kept = len(data[:EVENT_LIMIT_BYTES].decode("utf-8", "ignore").encode())
        data = data[kept:]
