"""What the load generator has seen, as it is written to its output file. No I/O."""

from __future__ import annotations

import math
from collections import Counter

import msgspec

FAILURES_KEPT = 100
UNKNOWN_VERSION = "unknown"
_STEPS_A_DOUBLING = 64  # each bucket is 1.1 % wide


class Histogram:
    """Latencies in buckets of equal ratio: constant memory, percentiles within 1.1 %."""

    def __init__(self) -> None:
        """Start empty."""
        self._counts: Counter[int] = Counter()
        self._total = 0

    def add(self, seconds: float) -> None:
        """Count a latency."""
        microseconds = max(seconds * 1e6, 1.0)
        self._counts[int(math.log2(microseconds) * _STEPS_A_DOUBLING)] += 1
        self._total += 1

    def percentile_ms(self, percent: float) -> float | None:
        """Return the latency that ``percent`` of 100 do not exceed, in ms; None while nothing was counted."""
        wanted = math.ceil(self._total * percent / 100)
        for bucket in sorted(self._counts):
            wanted -= self._counts[bucket]
            if wanted <= 0:
                return round(float(2 ** ((bucket + 0.5) / _STEPS_A_DOUBLING)) / 1000, 3)
        return None


class VersionCount(msgspec.Struct):
    """Answers of one version of the service."""

    served: int = 0
    failed: int = 0


class Failure(msgspec.Struct, frozen=True):
    """One failed request; ``at`` is the epoch second at which it was to be sent."""

    at: float
    status: int | None
    error: str | None
    version: str


class WebSocketSummary(msgspec.Struct):
    """What happened to the WebSocket connections.

    ``closed_by_server`` ended with a close frame, as a good release does it; ``dropped`` ended without one.
    ``unanswered`` messages were sent on a connection that ended before their echo.
    """

    wanted: int
    open: int = 0
    opened: int = 0
    failed_to_open: int = 0
    closed_by_server: int = 0
    dropped: int = 0
    sent: int = 0
    echoed: int = 0
    unanswered: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    by_version: dict[str, int] = {}
    failures: list[Failure] = []

    def fail(self, failure: Failure) -> None:
        """Keep the first failures."""
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(failure)


class Summary(msgspec.Struct):
    """The whole; requests that are still in flight are ``requested`` and neither served nor failed."""

    started: float
    ended: float | None = None
    requested: int = 0
    served: int = 0
    failed: int = 0
    by_version: dict[str, VersionCount] = {}
    failures: list[Failure] = []
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    websocket: WebSocketSummary | None = None

    def serve(self, version: str) -> None:
        """Count an answer below 500."""
        self.served += 1
        self.by_version.setdefault(version, VersionCount()).served += 1

    def fail(self, failure: Failure) -> None:
        """Count a failure; the first ones are kept whole."""
        self.failed += 1
        self.by_version.setdefault(failure.version, VersionCount()).failed += 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(failure)
