"""What moto's CloudFront lacks: invalidations that complete, and distributions read as the balancer's static sites."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from moto.cloudfront.models import cloudfront_backends

from gli_tasks.rehearsal.wire.messages import Environ, StartResponse, WsgiApp

INVALIDATION_S = 60.0
"""About how long AWS takes to invalidate."""
_CREATE = re.compile(r"/[^/]+/distribution/[^/]+/invalidation/?")
_BUCKET = re.compile(r"(?P<bucket>.+?)\.s3(?:-website)?(?:[.-][a-z0-9-]+)?\.amazonaws\.com")


@dataclass(frozen=True, slots=True)
class Site:
    """A host that serves a bucket; ``fallback`` is the key that answers for what is missing."""

    host: str
    bucket: str
    fallback: str | None


class CompletingInvalidations:
    """Wraps moto's WSGI application: an invalidation is InProgress for ``delay_s`` x ``time_scale``, then Completed.

    moto gives every invalidation the status COMPLETED, which is none of CloudFront's, so waiters never end. The
    status of moto's own objects is set before each CloudFront request is answered; ``clock`` is monotonic.
    """

    def __init__(
        self,
        application: WsgiApp,
        account: str,
        *,
        delay_s: float = INVALIDATION_S,
        time_scale: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._application = application
        self._account = account
        self._delay_s = delay_s * time_scale
        self._clock = clock
        self._lock = threading.Lock()
        self._first_seen: dict[str, float] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if "/cloudfront/aws4_request" not in str(environ.get("HTTP_AUTHORIZATION", "")):
            return self._application(environ, start_response)
        self.settle()
        if environ["REQUEST_METHOD"] == "POST" and _CREATE.fullmatch(str(environ.get("PATH_INFO", ""))):
            return self._create(environ, start_response)
        return self._application(environ, start_response)

    def settle(self) -> None:
        """Give every invalidation the status that its age calls for."""
        now = self._clock()
        backend = cloudfront_backends[self._account]["aws"]
        with self._lock:
            for distribution_id, invalidations in list(backend.invalidations.items()):
                running = 0
                for invalidation in list(invalidations):
                    started = self._first_seen.setdefault(invalidation.id, now)
                    is_over = now - started >= self._delay_s
                    invalidation.status = "Completed" if is_over else "InProgress"
                    running += not is_over
                distribution = backend.distributions.get(distribution_id)
                if distribution is not None:
                    distribution.in_progress_invalidation_batches = running

    def _create(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Let moto create an invalidation, and answer with the status that CloudFront gives a new one."""
        head: list[tuple[str, list[tuple[str, str]]]] = []

        def keep_head(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:  # noqa: ARG001
            head.append((status, headers))

        answer = self._application(environ, keep_head)
        try:
            body = b"".join(answer)
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()
        self.settle()
        body = body.replace(b"<Status>COMPLETED</Status>", b"<Status>InProgress</Status>", 1)
        status, headers = head[-1]
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start_response(status, [*kept, ("Content-Length", str(len(body)))])
        return [body]


def distribution_sites(account: str) -> tuple[Site, ...]:
    """Read moto's enabled CloudFront distributions: each alias is a site on the bucket of its default origin.

    The fallback is the page of a custom error response that turns 403 or 404 into 200, as single-page sites have.
    """
    found: list[Site] = []
    for distribution in list(cloudfront_backends[account]["aws"].distributions.values()):
        config = distribution.distribution_config
        bucket = _origin_bucket(config)
        if bucket is None or str(config.Enabled).lower() == "false":
            continue
        fallback = _fallback(config)
        found.extend(Site(host, bucket, fallback) for host in _items(config.Aliases))
    return tuple(sorted(found, key=lambda site: site.host))


def _items(listing: dict[str, Any] | None) -> list[Any]:
    return list((listing or {}).get("Items") or [])


def _origin_bucket(config: Any) -> str | None:
    wanted = config.DefaultCacheBehavior.target_origin_id
    for origin in _items(config.Origins):
        match = _BUCKET.fullmatch(origin.domain_name)
        if origin.id == wanted and match:
            return match["bucket"]
    return None


def _fallback(config: Any) -> str | None:
    for response in _items(config.CustomErrorResponses):
        if str(response.get("ErrorCode")) in ("403", "404") and str(response.get("ResponseCode")) == "200":
            page = str(response.get("ResponsePagePath") or "").lstrip("/")
            return page or None
    return None
