"""What a rehearsal came to: the promise, held against what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StepTime:
    """A step of the release: its name, the seconds it took and how it ended."""

    name: str
    seconds: float
    outcome: str


@dataclass(frozen=True, slots=True)
class WebSocketTraffic:
    """What the generator's WebSocket connections saw. ``cut`` ended without a close frame, as a balancer ends
    those that are
    still open when a target's deregistration delay is over; a client then connects again."""

    opened: int
    failed_to_open: int
    closed_in_order: int
    cut: int
    echoed: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the load generator saw. Times in milliseconds, from the moment a request was due."""

    served: int
    failed: int
    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    by_version: Mapping[str, int]
    failures: tuple[str, ...] = ()
    websocket: WebSocketTraffic | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a rehearsal ended. ``broken`` holds a sentence for each promise that was not kept; none is the good end."""

    project: str
    environment: str
    engine: str
    fault: str
    release_exit_code: int
    version_before: str
    version_after: str
    requests_served: int
    requests_failed: int
    steps: tuple[StepTime, ...]
    record: str
    outcome: str
    cause: str
    seconds: float
    release_seconds: float
    traffic: Traffic
    broken: tuple[str, ...] = field(default=())

    @property
    def kept(self) -> bool:
        """Tell whether everything ended as promised."""
        return not self.broken


@dataclass(frozen=True, slots=True)
class Promise:
    """What must be true in the end: the release's exit code, the version that serves, and what its cause must speak
    of."""

    exit_code: int
    version: str
    outcome: str
    cause: str = ""


def broken_promises(promise: Promise, verdict: Verdict, left_over: tuple[str, ...]) -> tuple[str, ...]:
    """Return a sentence for each promise that was not kept."""
    found = []
    if verdict.release_exit_code != promise.exit_code:
        found.append(f"the release ended with exit code {verdict.release_exit_code}, not {promise.exit_code}")
    if verdict.outcome != promise.outcome:
        found.append(f"the record says {verdict.outcome or 'nothing'}, not {promise.outcome}")
    if verdict.version_after != promise.version:
        found.append(f"version {verdict.version_after or 'none'} serves, not {promise.version}")
    if promise.cause and promise.cause.lower() not in verdict.cause.lower():
        found.append(f"the cause does not speak of {promise.cause!r}: {verdict.cause or 'none was named'}")
    if verdict.requests_failed:
        asked = verdict.requests_served + verdict.requests_failed
        found.append(f"{verdict.requests_failed} of {asked} requests failed")
    if not verdict.requests_served:
        found.append("no request was served, so nothing was proven")
    websocket = verdict.traffic.websocket
    if websocket is not None and websocket.failed_to_open:
        found.append(f"{websocket.failed_to_open} WebSocket connections could not be opened")
    if websocket is not None and not websocket.echoed:
        found.append("no WebSocket message was echoed, so nothing was proven")
    found.extend(f"left behind: {one}" for one in left_over)
    return tuple(found)
