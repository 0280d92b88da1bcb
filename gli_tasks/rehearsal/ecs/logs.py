"""Ships containers' output to the log sink: in order for each stream, in batches, off the containers' threads."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from gli_tasks.rehearsal.ecs.ports import Clock, LogLine, LogSink

_BATCH = 1000
_LINGER_S = 10.0
_log = logging.getLogger(__name__)


class LogStream:
    """One container's stream. ``write`` may be called from any thread."""

    def __init__(self, group: str, name: str, clock: Clock) -> None:
        self.group, self.name = group, name
        self.closed_at: float | None = None
        self._clock = clock
        self._lines: deque[LogLine] = deque()
        self._shipping = threading.Lock()

    def write(self, line: str) -> None:
        """Take one line."""
        self._lines.append(LogLine(self._clock(), line.rstrip("\r\n")))

    def ship(self, sink: LogSink) -> None:
        """Deliver what was taken so far."""
        with self._shipping:
            while self._lines:
                batch = [self._lines.popleft() for _ in range(min(len(self._lines), _BATCH))]
                try:
                    sink.put(self.group, self.name, batch)
                except Exception:  # noqa: BLE001 - a thread's top: a sink that fails must not end the shipping of others
                    _log.exception("%d lines of %s are lost", len(batch), self.name)


class LogShipper:
    """Delivers all streams at a steady pace, from one thread."""

    def __init__(self, sink: LogSink, clock: Clock, pace_s: float = 0.1) -> None:
        self._sink, self._clock, self._pace_s = sink, clock, pace_s
        self._streams: dict[tuple[str, str], LogStream] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ecs-logs", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Deliver what is left, and end."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._ship_all()

    def open(self, group: str, name: str, create_group: bool) -> LogStream:
        """Create a stream at the sink. Raises LogGroupMissing."""
        self._sink.open_stream(group, name, create_group)
        stream = LogStream(group, name, self._clock)
        with self._lock:
            self._streams[group, name] = stream
        return stream

    def close(self, stream: LogStream) -> None:
        """Deliver what is left of one stream, and forget it a little later: last lines may still be on their way."""
        stream.ship(self._sink)
        stream.closed_at = time.monotonic()

    def flush(self, stream: LogStream) -> None:
        """Deliver what one stream holds."""
        stream.ship(self._sink)

    def _run(self) -> None:
        while not self._stopped.wait(self._pace_s):
            self._ship_all()

    def _ship_all(self) -> None:
        with self._lock:
            streams = list(self._streams.values())
        for stream in streams:
            stream.ship(self._sink)
            if stream.closed_at is not None and time.monotonic() - stream.closed_at > _LINGER_S:
                with self._lock:
                    self._streams.pop((stream.group, stream.name), None)
