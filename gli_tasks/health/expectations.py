"""Take the health checks of the settings."""

from __future__ import annotations

from gli_tasks.health.plan import Expectation
from gli_tasks.settings.model import Health


def expectations(health: Health) -> list[Expectation]:
    """Return the checks that the settings name."""
    return [
        Expectation(check.name, check.url, check.status, check.expect, check.latency_limit_ms)
        for check in health.checks
    ]
