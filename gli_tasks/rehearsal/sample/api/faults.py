"""Faults on demand, so that a rehearsal can meet the releases that go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Faults:
    """What shall go wrong; by default nothing does."""

    crash_at_start: int | None = None
    crash_after_s: float | None = None
    start_delay_s: float = 0.0
    health_fails: bool = False
    unhealthy_after_s: float | None = None
    requests_fail_after_s: float | None = None
    error_rate: float = 0.0
    latency_ms: float = 0.0


def read_faults(path: Path, environment: Mapping[str, str]) -> Faults:
    """Read KEY=VALUE lines from ``path`` if it is there; an environment variable of the same name wins.

    Raises ValueError for a value that is no number.
    """
    found: dict[str, str] = {}
    if path.is_file():
        lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
        pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
        found = {key.strip(): value.strip() for key, _, value in pairs}
    values = {**found, **environment}

    def number(key: str) -> float | None:
        return float(values[key]) if values.get(key) else None

    crash = number("CRASH_AT_START")
    return Faults(
        crash_at_start=None if crash is None else int(crash),
        crash_after_s=number("CRASH_AFTER_S"),
        start_delay_s=number("START_DELAY_S") or 0.0,
        health_fails=bool(number("HEALTH_FAILS")),
        unhealthy_after_s=number("UNHEALTHY_AFTER_S"),
        requests_fail_after_s=number("REQUESTS_FAIL_AFTER_S"),
        error_rate=number("ERROR_RATE") or 0.0,
        latency_ms=number("LATENCY_MS") or 0.0,
    )
