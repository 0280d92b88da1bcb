"""Open-loop HTTP: a request at each tick of a fixed clock, whether or not earlier ones were answered."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gli_tasks.rehearsal.load.answer import Answer, MalformedAnswer
from gli_tasks.rehearsal.load.summary import UNKNOWN_VERSION, Failure, Histogram, Summary

IDLE_LIMIT_S = 20.0  # well below the balancer's 60 s: a connection that it closes is never one that we would use
CONNECTIONS = 256
# A slow moment must not become a storm: if every late request opened a connection, the handshakes would take the very
# time that the answers need. So few are made at once, and a request takes whatever connection is free first.
HANDSHAKES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Destination:
    """Where connections go, and which host they ask for; ``tls`` is None for plain HTTP."""

    address: str
    port: int
    host: str
    tls: ssl.SSLContext | None


class Request:
    """One request in flight."""

    __slots__ = ("_connection", "_done", "due", "intended_s", "timeout")

    def __init__(
        self, intended_s: float, due: float, done: Callable[[Request, Answer | None, str | None], None]
    ) -> None:
        """Remember when it was to be sent, on the loop's clock and as epoch seconds."""
        self.intended_s, self.due, self._done = intended_s, due, done
        self.timeout: asyncio.TimerHandle | None = None
        self._connection: Connection | None = None

    @property
    def pending(self) -> bool:
        """Return whether it has not ended yet."""
        return self.timeout is not None

    def on(self, connection: Connection) -> None:
        """Note the connection that carries it."""
        self._connection = connection

    def finish(self, answer: Answer | None, error: str | None) -> None:
        """End it, once."""
        if self.timeout is None:  # it has ended before
            return
        self.timeout.cancel()
        self.timeout = None
        self._done(self, answer, error)

    def expire(self) -> None:
        """End it because it took too long."""
        connection = self._connection
        self.finish(None, "timeout")
        if connection is not None:
            connection.abort()


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one request at a time."""

    def __init__(self, rest: Callable[[Connection], None], lost: Callable[[Connection], None]) -> None:
        """``rest`` is called when the connection is free again, ``lost`` when it has ended."""
        self._rest, self._lost = rest, lost
        self._transport: asyncio.Transport | None = None
        self._request: Request | None = None
        self._answer = Answer()
        self.idle_since_s = 0.0

    @property
    def usable(self) -> bool:
        """Return whether a request could be sent."""
        return self._transport is not None and not self._transport.is_closing() and self._request is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, request: Request, data: bytes) -> None:
        """Send a request."""
        assert self._transport is not None
        self._request, self._answer = request, Answer()
        request.on(self)
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Take a piece of the answer."""
        request, answer = self._request, self._answer
        if request is None:
            self.abort()
            return
        try:
            if not answer.feed(data):
                return
        except MalformedAnswer as error:
            self._request = None
            request.finish(None, f"malformed answer: {error}")
            self.abort()
            return
        self._request = None
        request.finish(answer, None)
        if answer.keep_alive:
            self._rest(self)
        else:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request in flight."""
        self._transport = None
        request, self._request = self._request, None
        self._lost(self)
        if request is None:
            return
        if self._answer.until_close and exc is None:
            request.finish(self._answer, None)
        else:
            request.finish(None, "connection closed" if exc is None else f"connection lost: {type(exc).__name__}")

    def close(self) -> None:
        """Close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


class Requests:
    """Sends GET requests at a constant rate and counts what becomes of them."""

    def __init__(self, destination: Destination, path: str, rate: float, timeout_s: float, summary: Summary) -> None:
        """Take ``rate`` requests a second; each fails after ``timeout_s`` seconds."""
        self._destination, self._rate, self._timeout_s, self._summary = destination, rate, timeout_s, summary
        self._data = (
            f"GET {path} HTTP/1.1\r\nHost: {destination.host}\r\nUser-Agent: rehearsal-load\r\nAccept: */*\r\n\r\n"
        ).encode("ascii")
        self._latency = Histogram()
        self._idle: list[Connection] = []
        self._waiting: deque[Request] = deque()
        self._open: set[Connection] = set()
        self._closing = False
        self._connecting: set[asyncio.Task[None]] = set()
        self._in_flight = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Send until ``stop`` is set, then wait for the answers that are still due."""
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        offset = time.time() - began
        while not stop.is_set():
            due = began + sent / self._rate
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
                continue
            sent += 1
            self._start(loop, due, offset)
        limit = loop.time() + self._timeout_s + 0.5
        while self._in_flight and loop.time() < limit:
            await asyncio.sleep(0.02)
        self._closing = True
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in tuple(self._open):
            connection.close()
        await asyncio.sleep(0)

    def latencies(self) -> tuple[float | None, float | None, float | None]:
        """Return p50, p95 and p99 in ms, from the intended time of sending, of all answers and timeouts."""
        p50, p95, p99 = (self._latency.percentile_ms(percent) for percent in (50, 95, 99))
        return p50, p95, p99

    def _start(self, loop: asyncio.AbstractEventLoop, due: float, offset: float) -> None:
        request = Request(due + offset, due, self._finished)
        request.timeout = loop.call_at(due + self._timeout_s, request.expire)
        self._summary.requested += 1
        self._in_flight += 1
        self._waiting.append(request)
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        """Give the waiting requests to idle connections; open more where these do not suffice."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_LIMIT_S
        while self._waiting:
            if not self._waiting[0].pending:
                self._waiting.popleft()
            elif not self._idle:
                break
            elif (connection := self._idle.pop()).usable and connection.idle_since_s > oldest:
                connection.send(self._waiting.popleft(), self._data)
            else:
                connection.close()
        wanted = min(len(self._waiting), HANDSHAKES_AT_ONCE, CONNECTIONS - len(self._open))
        for _ in range(wanted - len(self._connecting)):
            task = loop.create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    async def _connect(self) -> None:
        """Open a connection; the request that has waited longest gets it, or hears why there is none."""
        to, error = self._destination, ""
        try:
            async with asyncio.timeout(self._timeout_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self._rest, self._lost),
                    to.address,
                    to.port,
                    ssl=to.tls,
                    server_hostname=to.host if to.tls else None,
                )
        except TimeoutError:
            error = "timeout"
        except ssl.SSLError as failure:
            error = f"TLS: {failure.reason}"
        except OSError as failure:
            error = f"connection failed: {type(failure).__name__}"
        else:
            self._open.add(connection)
            self._rest(connection)
        if error:
            while self._waiting:
                request = self._waiting.popleft()
                if request.pending:
                    request.finish(None, error)
                    break

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if not self._closing:
            self._serve_waiting()

    def _rest(self, connection: Connection) -> None:
        connection.idle_since_s = asyncio.get_running_loop().time()
        self._idle.append(connection)
        self._serve_waiting()

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _finished(self, request: Request, answer: Answer | None, error: str | None) -> None:
        self._in_flight -= 1
        if answer is not None or error == "timeout":
            self._latency.add(asyncio.get_running_loop().time() - request.due)
        status = answer.status if answer else None
        version = (answer.version if answer else None) or UNKNOWN_VERSION
        if status is None or status >= 500:
            self._summary.fail(Failure(round(request.intended_s, 3), status, error, version))
        else:
            self._summary.serve(version)
