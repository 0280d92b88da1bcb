"""Message heads and bodies on asyncio streams, each wait with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gli_tasks.rehearsal.balancer.message import BodyKind, Framing, MalformedMessage

PIECE = 65536
_TRAILERS_LIMIT = 64


class CutOff(Exception):
    """The other side closed the connection, or fell silent, in the middle of a message."""


class Counting(asyncio.StreamReader):
    """A stream that counts the bytes that came, so that one can see that nothing came while it was idle."""

    received = 0

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        """Take bytes from the transport."""
        self.received += len(data)
        super().feed_data(data)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Read up to and with the empty line; b"" at a clean end. Raises CutOff, MalformedMessage (too large)."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial.strip():
            return b""
        raise CutOff("in the head") from error
    except asyncio.LimitOverrunError as error:
        raise MalformedMessage("head too large") from error
    except OSError as error:
        raise CutOff("in the head") from error


async def read_body(reader: asyncio.StreamReader, framing: Framing, idle_s: float) -> AsyncIterator[bytes]:
    """Yield a body's bytes in pieces; trailers are dropped.

    ``idle_s`` seconds without a byte end it. Raises CutOff, MalformedMessage.
    """
    try:
        if framing.kind is BodyKind.LENGTH:
            async for piece in _exactly(reader, framing.length, idle_s):
                yield piece
        elif framing.kind is BodyKind.UNTIL_CLOSE:
            while piece := await _read(reader, PIECE, idle_s):
                yield piece
        else:
            while size := _chunk_size(await _line(reader, idle_s)):
                async for piece in _exactly(reader, size, idle_s):
                    yield piece
                if await _line(reader, idle_s):
                    raise MalformedMessage("end of chunk")
            for _ in range(_TRAILERS_LIMIT):
                if not await _line(reader, idle_s):
                    return
            raise MalformedMessage("trailers")
    except OSError as error:  # TimeoutError is one
        raise CutOff("in the body") from error


async def _exactly(reader: asyncio.StreamReader, size: int, idle_s: float) -> AsyncIterator[bytes]:
    while size > 0:
        piece = await _read(reader, min(size, PIECE), idle_s)
        if not piece:
            raise CutOff("in the body")
        size -= len(piece)
        yield piece


async def _read(reader: asyncio.StreamReader, size: int, idle_s: float) -> bytes:
    async with asyncio.timeout(idle_s):
        return await reader.read(size)


async def _line(reader: asyncio.StreamReader, idle_s: float) -> bytes:
    try:
        async with asyncio.timeout(idle_s):
            return (await reader.readuntil(b"\r\n"))[:-2]
    except asyncio.IncompleteReadError as error:
        raise CutOff("in the body") from error
    except asyncio.LimitOverrunError as error:
        raise MalformedMessage("chunk") from error


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip(b" \t")
    if not digits or len(digits) > 15 or digits.strip(b"0123456789abcdefABCDEF"):
        raise MalformedMessage("chunk size")
    return int(digits, 16)


def encode(piece: bytes, framing: Framing) -> bytes:
    """Return a piece of a body as it goes over the wire."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if framing.kind is BodyKind.CHUNKED else piece


def end_of(framing: Framing) -> bytes:
    """Return what closes a body."""
    return b"0\r\n\r\n" if framing.kind is BodyKind.CHUNKED else b""


async def flush(writer: asyncio.StreamWriter, idle_s: float) -> None:
    """Wait until the other side has taken enough of what was written. Raises CutOff."""
    try:
        async with asyncio.timeout(idle_s):
            await writer.drain()
    except OSError as error:
        raise CutOff("while sending") from error
