"""HTTP requests and answers as values, apart from any server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
WsgiApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, read whole. Header names are in lower case; ``path`` is percent-encoded as it came."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes

    def query_value(self, name: str) -> str | None:
        """Return the first value of a query parameter, or None."""
        return next((value for key, value in self.query if key == name), None)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer, whole."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: object, status: int = 200) -> HttpAnswer:
        """Make an answer of JSON."""
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    @classmethod
    def text(cls, value: str, status: int = 200) -> HttpAnswer:
        """Make an answer of plain text."""
        return cls(status, value.encode(), {"Content-Type": "text/plain; charset=utf-8"})


Page: TypeAlias = Callable[[HttpRequest], HttpAnswer]


def read_headers(environ: Environ) -> dict[str, str]:
    """Return the request's headers, names in lower case."""
    headers = {key[5:].replace("_", "-").lower(): str(value) for key, value in environ.items() if key[:5] == "HTTP_"}
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            headers[key.replace("_", "-").lower()] = str(environ[key])
    return headers


def read_path(environ: Environ) -> str:
    """Return the path as the client sent it; the WSGI one has lost the difference between ``/`` and ``%2F``."""
    raw = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or "")
    if "://" in raw:
        raw = "/" + raw.split("://", 1)[1].partition("/")[2]
    return raw.split("?", 1)[0] or str(environ.get("PATH_INFO") or "/")


def read_body(environ: Environ) -> bytes:
    """Read the whole body: as many bytes as announced, or to the end of a chunked one."""
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        return bytes(stream.read())
    length = environ.get("CONTENT_LENGTH")
    return bytes(stream.read(int(length))) if length else b""


def read_request(environ: Environ, body: bytes) -> HttpRequest:
    """Make a request out of a WSGI environment and the body that was read from it."""
    return HttpRequest(
        method=str(environ["REQUEST_METHOD"]),
        path=read_path(environ),
        query=tuple(parse_qsl(str(environ.get("QUERY_STRING") or ""), keep_blank_values=True)),
        headers=read_headers(environ),
        body=body,
    )
