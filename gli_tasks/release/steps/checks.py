"""The steps at the end: `health.check` and `notify`."""

from __future__ import annotations

from dataclasses import replace

from gli_tasks.health.expectations import expectations
from gli_tasks.health.plan import CheckResult
from gli_tasks.health.probe import wait_healthy
from gli_tasks.release.news import tell
from gli_tasks.release.record import CheckRecord, Outcome
from gli_tasks.release.run import Run
from gli_tasks.release.steps.step import Foreseen


def health_check(run: Run) -> str:
    """Ask all health checks until every one passes. Raises ChecksFailed."""
    health = run.settings.health
    last: dict[str, CheckResult] = {}

    def note(result: CheckResult) -> None:
        last[result.name] = result
        found = "; ".join(result.findings) or f"{result.status} in {result.latency_ms:.0f} ms"
        run.progress.says("health.check", f"{result.name}: {found}")

    try:
        results = wait_healthy(
            expectations(health),
            certificate_days=health.certificate_days,
            connect_to=health.connect_to,
            ca_file=health.ca_file,
            request_timeout_s=health.request_timeout_s,
            timeout_s=health.timeout_s,
            interval_s=health.interval_s,
            on_result=note,
            sleep=run.sleep,
        )
    finally:
        checks = tuple(
            CheckRecord(one.name, one.url, one.status, one.latency_ms, one.certificate_days, one.findings)
            for one in last.values()
        )
        run.update(lambda record: replace(record, checks=checks))
    return f"{len(results)} checks passed"


def health_check_foreseen(run: Run) -> Foreseen:
    """Say what would be asked."""
    return Foreseen(f"asks {', '.join(one.url for one in run.settings.health.checks)}")


def notify(run: Run) -> str:
    """Tell the environment's channel."""
    return tell(run, Outcome.HEALTHY)


def notify_foreseen(run: Run) -> Foreseen:
    """Say who would be told."""
    settings = run.settings.notify
    if not settings.slack_webhook:
        return Foreseen("nobody is told here")
    return Foreseen(would=(f"tell Slack{f' ({settings.channel})' if settings.channel else ''}",))
