"""Send news to a Slack webhook. Whatever happens here comes back as a sentence; nothing is raised."""

from __future__ import annotations

from gli_tasks.console import Secret
from gli_tasks.notify.plan import News, message
from gli_tasks.web import http_client

_TIMEOUT_S = 5.0


def send(webhook: Secret, news: News, channel: str, timeout_s: float = _TIMEOUT_S) -> str:
    """Send the news once and return what came of it, in words that never hold the webhook's address."""
    import httpx

    try:
        with http_client(timeout=timeout_s, trust_env=True) as client:
            response = client.post(webhook.reveal(), json=message(news, channel))
    # Besides httpx's own: a proxy, a certificate file or a SOCKS package that the surroundings name and do not have.
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError) as error:
        return f"Slack was not told ({type(error).__name__}); the release goes on"
    if response.status_code != 200:
        return f"Slack was not told (it answered {response.status_code}); the release goes on"
    return "Slack was told"
