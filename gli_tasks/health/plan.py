"""Decide whether an answer is healthy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a healthy answer is: the status, the value at each ``.path`` of its JSON, and how long it may take."""

    name: str
    url: str
    status: int
    expect: Mapping[str, str]
    latency_limit_ms: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``body`` is the parsed JSON or None; ``certificate_days`` is None without TLS; ``error`` says why
    nothing came."""

    status: int
    body: Any
    latency_ms: float
    certificate_days: float | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check that was asked: its findings, none where it passed."""

    name: str
    url: str
    status: int
    latency_ms: float
    certificate_days: float | None
    findings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Tell whether the check passed."""
        return not self.findings


def value_at(body: Any, path: str) -> Any:
    """Return the value at a path such as ``.database`` or ``.checks.redis``; None where there is none."""
    value = body
    for key in path.strip(".").split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def judge(expectation: Expectation, answer: Answer, certificate_days: int) -> CheckResult:
    """Hold an answer against what was expected; ``certificate_days`` is the least that a certificate must have left."""
    found: list[str] = []
    if answer.error:
        found.append(answer.error)
    else:
        if answer.status != expectation.status:
            found.append(f"answered {answer.status}, not {expectation.status}")
        for path, wanted in expectation.expect.items():
            value = value_at(answer.body, path)
            shown = "true" if value is True else "false" if value is False else value
            if shown is None or str(shown) != wanted:
                found.append(f"{path} is {shown!r}, not {wanted!r}" if shown is not None else f"has no {path}")
        if answer.latency_ms > expectation.latency_limit_ms:
            found.append(f"took {answer.latency_ms:.0f} ms, over {expectation.latency_limit_ms:g} ms")
        if answer.certificate_days is not None and answer.certificate_days < certificate_days:
            found.append(f"its certificate ends in {answer.certificate_days:.1f} days, under {certificate_days}")
    return CheckResult(
        expectation.name, expectation.url, answer.status, answer.latency_ms, answer.certificate_days, tuple(found)
    )
