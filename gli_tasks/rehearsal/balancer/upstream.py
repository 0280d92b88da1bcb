"""Connections to targets: opened, kept while idle, and never trusted for what must not be sent twice."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from gli_tasks.rehearsal.balancer.message import (
    HEAD_LIMIT,
    Framing,
    MalformedMessage,
    ResponseHead,
    parse_response,
    render,
)
from gli_tasks.rehearsal.balancer.stream import Counting, CutOff, read_body, read_head

# shorter than the keep-alive of any common server (gunicorn 2 s is the shortest), so that a target is rarely the one
# that closes: the race between its close and our next request is then rare, and the retry covers the rest
IDLE_LIMIT_S = 1.5
IDLE_CONNECTIONS = 32


class ConnectTimeout(Exception):
    """The target did not take the connection in time."""


class ConnectRefused(Exception):
    """The target, or the network, refused the connection."""


class Connection:
    """One connection to a target."""

    def __init__(self, reader: Counting, writer: asyncio.StreamWriter) -> None:
        """Wrap a stream."""
        self.reader, self.writer = reader, writer
        self.reused = False
        self.idle_since_s = 0.0
        self._received_when_idle = 0

    def rest(self, now_s: float) -> None:
        """Note that the last exchange is over."""
        self.idle_since_s = now_s
        self._received_when_idle = self.reader.received
        self.reused = True

    def usable(self, now_s: float) -> bool:
        """Return whether, as far as can be seen from here, the target still listens on it and has said nothing."""
        return (
            now_s - self.idle_since_s < IDLE_LIMIT_S
            and self.reader.received == self._received_when_idle
            and not self.reader.at_eof()
            and not self.writer.is_closing()
        )

    def abort(self) -> None:
        """Close at once."""
        self.writer.transport.abort()


async def connect(address: str, port: int, timeout_s: float) -> Connection:
    """Open a connection. Raises ConnectRefused, ConnectTimeout."""
    loop = asyncio.get_running_loop()
    reader = Counting(limit=HEAD_LIMIT)
    try:
        async with asyncio.timeout(timeout_s):
            transport, protocol = await loop.create_connection(
                lambda: asyncio.StreamReaderProtocol(reader), address, port
            )
    except TimeoutError as error:
        raise ConnectTimeout(f"{address}:{port}") from error
    except OSError as error:
        raise ConnectRefused(f"{address}:{port}") from error
    return Connection(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


class Pool:
    """Idle connections by address."""

    def __init__(self) -> None:
        """Start empty."""
        self._idle: defaultdict[tuple[str, int], list[Connection]] = defaultdict(list)

    def take(self, address: str, port: int, now_s: float) -> Connection | None:
        """Return the most recently used idle connection, or None; those that went stale are closed."""
        idle = self._idle.get((address, port), [])
        while idle:
            connection = idle.pop()
            if connection.usable(now_s):
                return connection
            connection.abort()
        return None

    def give(self, address: str, port: int, connection: Connection, now_s: float) -> None:
        """Keep a connection whose exchange is complete."""
        idle = self._idle[address, port]
        if len(idle) >= IDLE_CONNECTIONS:
            connection.abort()
            return
        connection.rest(now_s)
        idle.append(connection)

    def forget(self, address: str, port: int) -> None:
        """Close the idle connections to an address."""
        for connection in self._idle.pop((address, port), []):
            connection.abort()

    def sweep(self, now_s: float) -> None:
        """Close what has been idle for too long."""
        for key, idle in list(self._idle.items()):
            self._idle[key] = [connection for connection in idle if connection.usable(now_s)]
            for connection in idle:
                if not connection.usable(now_s):
                    connection.abort()
            if not self._idle[key]:
                del self._idle[key]

    def close(self) -> None:
        """Close all."""
        for address, port in list(self._idle):
            self.forget(address, port)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    head: ResponseHead
    body: bytes


async def fetch(
    address: str,
    port: int,
    method: str,
    target: str,
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
    *,
    connect_timeout_s: float = 2.0,
    idle_s: float = 10.0,
    limit: int = 64 << 20,
) -> Answer:
    """Make one request on a connection of its own and read the whole answer, up to ``limit`` bytes.

    Raises ConnectRefused, ConnectTimeout, CutOff, MalformedMessage, TimeoutError (no answer for ``idle_s`` seconds).
    """
    connection = await connect(address, port, connect_timeout_s)
    try:
        fields = [(b"Host", f"{address}:{port}".encode()), (b"Connection", b"close")]
        fields += [(key.encode(), value.encode()) for key, value in headers]
        if body:
            fields.append((b"Content-Length", str(len(body)).encode()))
        connection.writer.write(render(f"{method} {target} HTTP/1.1".encode("ascii"), fields) + body)
        head = await read_response(connection, idle_s)
        framing: Framing = head.framing(method.encode())
        pieces: list[bytes] = []
        async for piece in read_body(connection.reader, framing, idle_s):
            pieces.append(piece)
            limit -= len(piece)
            if limit < 0:
                raise MalformedMessage("body too large")
        return Answer(head, b"".join(pieces))
    finally:
        connection.abort()


async def read_response(connection: Connection, idle_s: float) -> ResponseHead:
    """Read a response's head, whatever its status. Raises CutOff, MalformedMessage, TimeoutError."""
    async with asyncio.timeout(idle_s):
        raw = await read_head(connection.reader)
    if not raw:
        raise CutOff("before the head")
    return parse_response(raw)
