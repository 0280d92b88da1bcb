"""Show a verdict to the operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gli_tasks.console import Console
from gli_tasks.rehearsal.faults import Fault
from gli_tasks.rehearsal.verdict import Verdict


def show_verdict(console: Console, verdict: Verdict) -> None:
    """Print the verdict: versions, requests, the time of each step, and where the record is."""
    traffic = verdict.traffic
    rows = [
        ("engine", verdict.engine),
        ("fault", verdict.fault or "none"),
        ("promise", verdict.promise),
        ("release", f"exit code {verdict.release_exit_code}, {verdict.outcome}, {verdict.release_seconds:.1f} s"),
        ("version before → after", f"{verdict.version_before} → {verdict.version_after}"),
        ("requests served", f"{verdict.requests_served} at {traffic.rate:g} a second"),
        ("running", ", ".join(f"{name}: {runs}" for name, runs in verdict.serving.items())),
        ("requests failed", str(verdict.requests_failed)),
        ("latency", f"P50 {traffic.p50_ms:.1f}, P95 {traffic.p95_ms:.1f}, P99 {traffic.p99_ms:.1f} ms"),
        ("by version", ", ".join(f"{name}: {count}" for name, count in traffic.by_version.items())),
        ("record", verdict.record or "none"),
        ("whole rehearsal", f"{verdict.seconds:.1f} s"),
    ]
    websocket = traffic.websocket
    if websocket is not None:
        text = (
            f"{websocket.echoed} messages echoed on {websocket.opened} connections, {websocket.failed_to_open} refused;"
            f" ended by the release: {websocket.closed_in_order} in order, {websocket.cut} by the end of draining"
        )
        rows.append(("WebSocket", text))
    if traffic.failures:
        rows.append(("failures", "; ".join(traffic.failures)))
    title = f"{verdict.project} {verdict.environment}: {'as promised' if verdict.kept else 'NOT as promised'}"
    console.table(("", ""), rows, title)
    console.table(
        ("step", "seconds", "outcome"), [(step.name, f"{step.seconds:.2f}", step.outcome) for step in verdict.steps]
    )
    if verdict.cause:
        console.answer(f"cause: {verdict.cause}")


def answer(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON holds it; all that the release said was shown while it said it."""
    facts = {**dataclasses.asdict(verdict), "kept": verdict.kept}
    del facts["said"]
    return facts


def show_matrix(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print one line for each fault that was rehearsed."""
    rows = [
        (
            one.fault or "none",
            str(one.release_exit_code),
            one.version_after,
            str(one.requests_failed),
            f"{one.seconds:.1f}",
            "as promised" if one.kept else "; ".join(one.broken),
        )
        for one in verdicts
    ]
    console.table(("fault", "exit code", "serves", "failed requests", "seconds", "ended"), rows)


def show_faults(console: Console, faults: Sequence[Fault], as_json: bool) -> None:
    """Print each fault with what it is and what a release under it promises."""
    if as_json:
        listed = [
            {"name": one.name, "description": one.description, "promise": one.promise.sentence()} for one in faults
        ]
        console.answer_json({"faults": listed})
        return
    console.table(
        ("fault", "what it is", "how the release must end"),
        [(one.name, one.description, one.promise.sentence()) for one in faults],
    )
