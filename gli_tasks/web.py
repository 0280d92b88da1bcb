"""HTTP requests: one client, which asks the guard before each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gli_tasks import guard

if TYPE_CHECKING:
    import httpx


def http_client(**options: Any) -> httpx.Client:
    """Return an HTTP client; ``options`` are httpx's own. A process that only reads sends GET, HEAD and OPTIONS."""
    import httpx

    def ask(request: httpx.Request) -> None:
        guard.require_http(request.method, request.url.host)

    return httpx.Client(event_hooks={"request": [ask]}, **options)
