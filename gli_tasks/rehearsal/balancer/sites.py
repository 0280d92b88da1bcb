"""Static sites out of S3, as CloudFront would serve them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import quote, unquote

from gli_tasks.rehearsal.balancer.message import MalformedMessage, values_of
from gli_tasks.rehearsal.balancer.stream import CutOff
from gli_tasks.rehearsal.balancer.topology import Site
from gli_tasks.rehearsal.balancer.upstream import ConnectRefused, ConnectTimeout, fetch

CACHE_S = 1.0
CACHED_OBJECT_LIMIT = 1 << 20
CACHED_OBJECTS = 512
_PASSED_ON = (b"content-type", b"etag", b"last-modified", b"cache-control", b"content-encoding")


@dataclass(frozen=True, slots=True)
class Page:
    """An answer of a site."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Sites:
    """Reads objects through the control process's S3, path-style and unsigned."""

    def __init__(self, address: str, port: int) -> None:
        """Name the S3 endpoint."""
        self._address, self._port = address, port
        self._cache: dict[str, tuple[float, Page]] = {}

    async def get(self, site: Site, path: str) -> Page:
        """Return the object for a path; what is missing is the fallback with 200, or 403 without one."""
        key = unquote(path).lstrip("/") or "index.html"
        page = await self._object(site.bucket, key)
        if page.status in (403, 404):
            missing = Page(403, ((b"Content-Type", b"application/xml"),), b"<Error><Code>AccessDenied</Code></Error>")
            page = await self._object(site.bucket, site.fallback) if site.fallback else missing
            if page.status in (403, 404):
                page = missing
        return page

    async def _object(self, bucket: str, key: str) -> Page:
        now = asyncio.get_running_loop().time()
        target = f"/{quote(bucket)}/{quote(key)}"
        cached = self._cache.get(target)
        if cached and now - cached[0] < CACHE_S:
            return cached[1]
        try:
            answer = await fetch(self._address, self._port, "GET", target)
        except (ConnectRefused, CutOff, MalformedMessage):
            return Page(502, (), b"")
        except (ConnectTimeout, TimeoutError):
            return Page(504, (), b"")
        headers = tuple((name, value) for name in _PASSED_ON for value in values_of(answer.head.headers, name)[:1])
        page = Page(answer.head.status, headers, answer.body)
        if len(page.body) <= CACHED_OBJECT_LIMIT and page.status in (200, 403, 404):
            if len(self._cache) >= CACHED_OBJECTS:
                self._cache.clear()
            self._cache[target] = now, page
        return page
