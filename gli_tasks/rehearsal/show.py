"""Show a verdict to the operator."""

from __future__ import annotations

from gli_tasks.console import Console
from gli_tasks.rehearsal.verdict import Verdict


def show_verdict(console: Console, verdict: Verdict) -> None:
    """Print the verdict: versions, requests, the time of each step, and where the record is."""
    traffic = verdict.traffic
    rows = [
        ("engine", verdict.engine),
        ("fault", verdict.fault or "none"),
        ("release", f"exit code {verdict.release_exit_code}, {verdict.outcome}, {verdict.release_seconds:.1f} s"),
        ("version before → after", f"{verdict.version_before} → {verdict.version_after}"),
        ("requests served", f"{verdict.requests_served} at {traffic.rate:g} a second"),
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
