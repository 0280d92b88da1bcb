"""HTTP/1.1 message heads: parse, judge, rewrite (RFC 9110, RFC 9112). No I/O.

Parsing is strict, because a proxy that guesses at message borders lets requests be smuggled: bare line feeds, folded
lines, spaces before a colon, and a length given twice or beside a transfer coding are all refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus

Headers = tuple[tuple[bytes, bytes], ...]

HEAD_LIMIT = 65536
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"))
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([^\x00\r\n]*))?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)([^#]*)", re.IGNORECASE)


class MalformedMessage(Exception):
    """The bytes are no HTTP/1.x message that could be passed on safely."""


class BodyKind(Enum):
    """How the end of a body is known."""

    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


@dataclass(frozen=True, slots=True)
class Framing:
    """The border of a body; ``length`` counts bytes where the kind is LENGTH."""

    kind: BodyKind
    length: int = 0

    @property
    def empty(self) -> bool:
        """Return whether there is no body at all."""
        return self.kind is BodyKind.LENGTH and self.length == 0


NO_BODY = Framing(BodyKind.LENGTH)
CHUNKED = Framing(BodyKind.CHUNKED)
UNTIL_CLOSE = Framing(BodyKind.UNTIL_CLOSE)


def values_of(headers: Headers, name: bytes) -> list[bytes]:
    """Return all values of a field; ``name`` in lower case."""
    return [value for key, value in headers if key.lower() == name]


def tokens_of(headers: Headers, name: bytes) -> set[bytes]:
    """Return the lower-case members of a list-valued field."""
    return {token.strip().lower() for value in values_of(headers, name) for token in value.split(b",")} - {b""}


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Request line and fields; ``target`` is in origin form (``/path?query``) or ``*``."""

    method: bytes
    target: bytes
    minor_version: int
    headers: Headers
    host: str

    @property
    def path(self) -> str:
        """Return the target without its query."""
        return self.target.partition(b"?")[0].decode("latin-1")

    @property
    def query(self) -> str:
        """Return what follows the question mark."""
        return self.target.partition(b"?")[2].decode("latin-1")

    @property
    def keep_alive(self) -> bool:
        """Return whether the client wants to send more requests on this connection."""
        return wants_keep_alive(self.headers, self.minor_version)

    @property
    def upgrades_to_websocket(self) -> bool:
        """Return whether this asks for RFC 6455's upgrade."""
        return (
            self.method == b"GET"
            and b"upgrade" in tokens_of(self.headers, b"connection")
            and b"websocket" in tokens_of(self.headers, b"upgrade")
        )

    def framing(self) -> Framing:
        """Return the border of the request's body. Raises MalformedMessage."""
        framing = _declared_framing(self.headers, self.minor_version)
        return framing or NO_BODY


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status line and fields."""

    status: int
    reason: bytes
    minor_version: int
    headers: Headers

    @property
    def keep_alive(self) -> bool:
        """Return whether the server leaves this connection open."""
        return wants_keep_alive(self.headers, self.minor_version)

    def framing(self, method: bytes) -> Framing:
        """Return the border of the body of this answer to ``method``. Raises MalformedMessage."""
        if method == b"HEAD" or self.status < 200 or self.status in (204, 304):
            return NO_BODY
        return _declared_framing(self.headers, self.minor_version) or UNTIL_CLOSE


def wants_keep_alive(headers: Headers, minor_version: int) -> bool:
    """Return whether a connection stays open after this message (RFC 9112, 9.3)."""
    tokens = tokens_of(headers, b"connection")
    return b"close" not in tokens and (minor_version == 1 or b"keep-alive" in tokens)


def _declared_framing(headers: Headers, minor_version: int) -> Framing | None:
    lengths = values_of(headers, b"content-length")
    codings = values_of(headers, b"transfer-encoding")
    if codings:
        if lengths or minor_version == 0 or [coding.lower() for coding in codings] != [b"chunked"]:
            raise MalformedMessage("transfer coding")
        return CHUNKED
    if not lengths:
        return None
    if len(set(lengths)) != 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
        raise MalformedMessage("content length")
    return Framing(BodyKind.LENGTH, int(lengths[0]))


def _fields(lines: Sequence[bytes]) -> Headers:
    found = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise MalformedMessage("header field")
        found.append((field[1], field[2]))
    return tuple(found)


def parse_request(raw: bytes) -> RequestHead:
    """Parse a request head that ends with an empty line. Raises MalformedMessage."""
    lines = raw.lstrip(b"\r\n")[:-4].split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(lines[0])
    if line is None:
        raise MalformedMessage("request line")
    headers = _fields(lines[1:])
    hosts = values_of(headers, b"host")
    target, minor = line[2], int(line[3])
    if len(hosts) > 1 or (minor == 1 and not hosts):
        raise MalformedMessage("host")
    if absolute := _ABSOLUTE.fullmatch(target):
        hosts = [absolute[1]]
        target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
        headers = (*((key, value) for key, value in headers if key.lower() != b"host"), (b"Host", hosts[0]))
    elif not target.startswith(b"/") and target != b"*":
        raise MalformedMessage("request target")
    return RequestHead(line[1], target, minor, headers, hosts[0].decode("latin-1") if hosts else "")


def parse_response(raw: bytes) -> ResponseHead:
    """Parse a response head that ends with an empty line. Raises MalformedMessage."""
    lines = raw[:-4].split(b"\r\n")
    line = _STATUS_LINE.fullmatch(lines[0])
    if line is None:
        raise MalformedMessage("status line")
    return ResponseHead(int(line[2]), line[3] or b"", int(line[1]), _fields(lines[1:]))


def end_to_end(headers: Headers, drop: Iterable[bytes] = ()) -> list[tuple[bytes, bytes]]:
    """Return the fields that a proxy passes on, in their order; ``drop`` names more to leave out, in lower case."""
    dropped = _HOP_BY_HOP | _FRAMING | tokens_of(headers, b"connection") | frozenset(drop)
    return [(key, value) for key, value in headers if key.lower() not in dropped]


def framing_fields(framing: Framing) -> list[tuple[bytes, bytes]]:
    """Return the field that announces a body of this framing."""
    if framing.kind is BodyKind.CHUNKED:
        return [(b"Transfer-Encoding", b"chunked")]
    if framing.kind is BodyKind.LENGTH:
        return [(b"Content-Length", str(framing.length).encode())]
    return []


def render(start_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the bytes of a message head."""
    return b"\r\n".join((start_line, *(key + b": " + value for key, value in headers), b"", b""))


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What the balancer tells a target of the client."""

    address: str
    protocol: str
    port: int
    trace_id: str


def request_for_target(head: RequestHead, framing: Framing, forwarded: Forwarded) -> bytes:
    """Return the head to send to a target, with the ``X-Forwarded-*`` fields of an Application Load Balancer."""
    theirs = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-port", b"x-amzn-trace-id")
    headers = end_to_end(head.headers, theirs)
    hops = [*values_of(head.headers, b"x-forwarded-for"), forwarded.address.encode()]
    traces = values_of(head.headers, b"x-amzn-trace-id")
    trace = f"Self={forwarded.trace_id};".encode() + traces[0] if traces else f"Root={forwarded.trace_id}".encode()
    headers += (
        (b"X-Forwarded-For", b", ".join(hops)),
        (b"X-Forwarded-Proto", forwarded.protocol.lower().encode()),
        (b"X-Forwarded-Port", str(forwarded.port).encode()),
        (b"X-Amzn-Trace-Id", trace),
    )
    if head.upgrades_to_websocket:
        headers += ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    if not framing.empty or values_of(head.headers, b"content-length"):
        headers += framing_fields(framing)
    return render(b"%b %b HTTP/1.1" % (head.method, head.target), headers)


def response_for_client(
    head: ResponseHead, method: bytes, framing: Framing, *, keep_alive: bool, more: Iterable[tuple[bytes, bytes]] = ()
) -> bytes:
    """Return the head to send to the client; ``framing`` is that of the body as it will be sent."""
    headers = [*end_to_end(head.headers), *more]
    if method == b"HEAD" or head.status == 304:
        # the length is that of the body which a GET would have had
        headers += [(b"Content-Length", value) for value in values_of(head.headers, b"content-length")[:1]]
    elif head.status >= 200 and head.status != 204:
        headers += framing_fields(framing)
    headers.append((b"Connection", b"keep-alive" if keep_alive else b"close"))
    return render(b"HTTP/1.1 %d %b" % (head.status, head.reason), headers)


def own_response(
    status: int,
    body: bytes,
    *,
    date: str,
    keep_alive: bool,
    content_type: str = "text/html",
    more: Iterable[tuple[bytes, bytes]] = (),
    with_body: bool = True,
) -> bytes:
    """Return a whole response of the balancer itself."""
    reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    headers = [
        (b"Server", b"awselb/2.0"),
        (b"Date", date.encode()),
        (b"Content-Type", content_type.encode("latin-1", "replace")),
        *((key, value) for key, value in more if not {10, 13} & {*value}),
        (b"Content-Length", str(len(body)).encode()),
        (b"Connection", b"keep-alive" if keep_alive else b"close"),
    ]
    return render(b"HTTP/1.1 %d %b" % (status, reason.encode()), headers) + (body if with_body else b"")


def error_page(status: int) -> bytes:
    """Return the page that an Application Load Balancer shows for a status."""
    title = f"{status} {HTTPStatus(status).phrase}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "</body>\r\n</html>\r\n"
    ).encode()
