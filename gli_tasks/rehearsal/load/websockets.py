"""WebSocket connections that are held open through a release, with a message now and then (RFC 6455)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import struct
import time

from gli_tasks.rehearsal.load.requests import Destination
from gli_tasks.rehearsal.load.summary import UNKNOWN_VERSION, Failure, Histogram, WebSocketSummary

ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
RECONNECT_PACE_S = 0.2
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_LARGEST_FRAME = 1 << 20


class _Ended(Exception):
    """The connection ended; ``by_close`` when the server said so with a close frame."""

    def __init__(self, by_close: bool, text: str) -> None:
        super().__init__(text)
        self.by_close = by_close


class _NotOpened(Exception):
    """The handshake failed."""

    def __init__(self, status: int | None, text: str) -> None:
        super().__init__(text)
        self.status = status


class WebSockets:
    """Keeps a number of connections open, and opens each again when it ends."""

    def __init__(
        self, destination: Destination, path: str, interval_s: float, timeout_s: float, summary: WebSocketSummary
    ) -> None:
        """Send a message each ``interval_s`` on each connection; its echo is due within ``timeout_s``."""
        self._to, self._path, self._interval_s, self._timeout_s = destination, path, interval_s, timeout_s
        self._summary = summary
        self._latency = Histogram()

    async def run(self, stop: asyncio.Event) -> None:
        """Hold the connections until ``stop`` is set."""
        tasks = [asyncio.create_task(self._hold()) for _ in range(self._summary.wanted)]
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def refresh(self) -> None:
        """Write the latencies to the summary."""
        self._summary.p50_ms, self._summary.p95_ms, self._summary.p99_ms = (
            self._latency.percentile_ms(percent) for percent in (50, 95, 99)
        )

    async def _hold(self) -> None:
        summary = self._summary
        while True:
            began = time.time()
            try:
                reader, writer, version = await self._open()
            except _NotOpened as error:
                summary.failed_to_open += 1
                summary.fail(Failure(round(began, 3), error.status, str(error), UNKNOWN_VERSION))
                await asyncio.sleep(RECONNECT_PACE_S)
                continue
            summary.opened += 1
            summary.open += 1
            summary.by_version[version] = summary.by_version.get(version, 0) + 1
            try:
                await self._talk(reader, writer)
            except _Ended as error:
                if error.by_close:
                    summary.closed_by_server += 1
                else:
                    summary.dropped += 1
                    summary.fail(Failure(round(time.time(), 3), None, str(error), version))
            finally:
                summary.open -= 1
                writer.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        to = self._to
        key = base64.b64encode(os.urandom(16))
        writer = None
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await asyncio.open_connection(
                    to.address, to.port, ssl=to.tls, server_hostname=to.host if to.tls else None
                )
                writer.write(
                    f"GET {self._path} HTTP/1.1\r\nHost: {to.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n".encode("ascii")
                )
                head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            if writer is not None:
                writer.close()
            raise _NotOpened(None, f"not opened: {type(error).__name__}") from error
        status = int(head[9:12]) if head[9:12].isdigit() else None
        accept = base64.b64encode(hashlib.sha1(key + ACCEPT_GUID).digest())  # noqa: S324 - RFC 6455's choice
        if status != 101 or accept not in head:
            writer.close()
            raise _NotOpened(status, "handshake refused")
        version = re.search(rb"\r\nx-app-version:[ \t]*([^\r\n]*)\r\n", head, re.IGNORECASE)
        return reader, writer, version[1].decode("latin-1") if version else UNKNOWN_VERSION

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send and expect echoes until the connection ends. Raises _Ended."""
        loop = asyncio.get_running_loop()
        echoes: asyncio.Queue[bytes] = asyncio.Queue()
        listening = asyncio.create_task(_listen(reader, writer, echoes))
        number = 0
        try:
            while True:
                number += 1
                message = f"message {number}".encode()
                sent = loop.time()
                writer.write(_frame(_TEXT, message))
                self._summary.sent += 1
                if not await self._echoed(message, echoes, listening):
                    self._summary.unanswered += 1
                    if listening.done():
                        listening.result()  # raises _Ended
                    raise _Ended(False, "no echo in time")
                self._summary.echoed += 1
                self._latency.add(loop.time() - sent)
                await asyncio.wait({listening}, timeout=self._interval_s)
                if listening.done():
                    listening.result()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _echoed(self, message: bytes, echoes: asyncio.Queue[bytes], listening: asyncio.Task[None]) -> bool:
        """Return whether the message came back before the connection ended or the time was over."""
        getting = asyncio.create_task(_until(message, echoes))
        try:
            await asyncio.wait({getting, listening}, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            return getting.done()
        finally:
            getting.cancel()


async def _until(message: bytes, echoes: asyncio.Queue[bytes]) -> None:
    while await echoes.get() != message:
        pass


async def _listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, echoes: asyncio.Queue[bytes]) -> None:
    """Take what the server sends; pings and the close frame are answered. Raises _Ended."""
    try:
        while True:
            opcode, payload = await _read_frame(reader)
            if opcode == _TEXT:
                echoes.put_nowait(payload)
            elif opcode == _PING:
                writer.write(_frame(_PONG, payload))
            elif opcode == _CLOSE:
                writer.write(_frame(_CLOSE, payload[:2]))
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise _Ended(True, f"closed with {code}")
    except (OSError, asyncio.IncompleteReadError) as error:
        raise _Ended(False, "connection lost") from error


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", await reader.readexactly(8))
    if size > _LARGEST_FRAME or second & 0x80:
        raise _Ended(False, "frame too large or masked")
    return first & 0x0F, await reader.readexactly(size)


def _frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame: masked, and short by design."""
    assert len(payload) < 126
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes((0x80 | opcode, 0x80 | len(payload))) + mask + masked
