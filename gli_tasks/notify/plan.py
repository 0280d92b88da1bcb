"""Say in a few words how a release went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class News:
    """What is told of a release. ``versions`` maps a service to the commit that serves now."""

    project: str
    environment: str
    release: str
    outcome: str
    who: str
    seconds: float
    versions: Mapping[str, str]
    reason: str = ""


def message(news: News, channel: str) -> dict[str, str]:
    """Return the body of a Slack incoming webhook (``text``, and ``channel`` where one is named)."""
    mark = {"healthy": ":white_check_mark:", "failed": ":x:"}.get(news.outcome, ":information_source:")
    versions = ", ".join(f"{name} {commit[:12]}" for name, commit in news.versions.items())
    text = (
        f"{mark} {news.project} {news.environment}: release {news.release} by {news.who} is {news.outcome}"
        f" after {news.seconds:.0f} s. Serving: {versions or 'unchanged'}."
    )
    if news.reason:
        text += f"\n{news.reason}"
    # Slack reads <...> and & as its own marks: a reason that quotes them must not call anybody.
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": text, "channel": channel} if channel else {"text": text}
