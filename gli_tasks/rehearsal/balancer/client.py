"""The client's side of a connection: what is read from it and written to it, and when it went away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gli_tasks.rehearsal.balancer.message import HEAD_LIMIT
from gli_tasks.rehearsal.balancer.stream import CutOff, flush

LINGER_S = 1.0
LINGER_BYTES = 1 << 20


class ClientGone(Exception):
    """The client closed its connection, or does not take what we send."""


class ClientProtocol(asyncio.StreamReaderProtocol):
    """asyncio's stream protocol, that also says when the connection is lost while nobody reads."""

    on_lost: Callable[[], None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the exchange in progress."""
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()


def client_protocol(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> ClientProtocol:
    """Return the protocol for one accepted connection."""
    return ClientProtocol(asyncio.StreamReader(limit=HEAD_LIMIT), handle)


class Client:
    """A connected client."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: str, idle_s: float
    ) -> None:
        """Wrap an accepted connection; ``protocol`` is ``HTTP`` or ``HTTPS``."""
        self.reader, self.writer, self.protocol, self.idle_s = reader, writer, protocol, idle_s
        peer = writer.get_extra_info("peername")
        self.address: str = peer[0] if peer else "unknown"
        protocol_of_stream = writer.transport.get_protocol()  # a TLS transport forgets it once it is closed
        assert isinstance(protocol_of_stream, ClientProtocol)
        self._protocol = protocol_of_stream

    @property
    def gone(self) -> bool:
        """Return whether the connection is lost."""
        return self.writer.is_closing()

    def when_lost(self, act: Callable[[], None] | None) -> None:
        """Call ``act`` when the connection is lost, instead of what was to be called before."""
        self._protocol.on_lost = act

    async def send(self, data: bytes) -> None:
        """Write. Raises ClientGone, also after ``idle_s`` seconds in which the client took nothing."""
        if self.writer.is_closing():
            raise ClientGone
        self.writer.write(data)
        try:
            await flush(self.writer, self.idle_s)
        except CutOff as error:
            raise ClientGone from error

    async def linger(self) -> None:
        """Take what the client still sends for a moment: closing on unread bytes would reset the answer away."""
        taken = 0
        try:
            async with asyncio.timeout(LINGER_S):
                if self.writer.can_write_eof():
                    self.writer.write_eof()
                while taken < LINGER_BYTES and (piece := await self.reader.read(65536)):
                    taken += len(piece)
        except OSError:
            return

    def abort(self) -> None:
        """Close at once, so that the client sees that its answer is cut off."""
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close after what was written has left."""
        self.writer.close()
        try:
            async with asyncio.timeout(LINGER_S):
                await self.writer.wait_closed()
        except OSError:
            self.abort()
