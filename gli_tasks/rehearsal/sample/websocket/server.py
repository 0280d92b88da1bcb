"""A small WebSocket server that behaves as a service on ECS should.

``/`` returns each message to its sender; ``/?room=NAME`` sends it to all who are in the room. ``/health`` answers
health checks. On SIGTERM it tells its clients to go elsewhere (close code 1001) after a grace, and exits 0.
Settings come from the environment: BIND_ADDRESS, PORT, APP_VERSION, CLOSE_GRACE_S.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import defaultdict
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import frames

IDLE_LIMIT_S = 75.0  # longer than the load balancer's 60 s, so that the balancer is the one to close
CLOSE_ANSWER_S = 2.0
SOURCE = Path(__file__).resolve().parent


class Peer:
    """A connected client."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        """Wrap the connection."""
        self._writer = writer
        self._close_sent = False

    async def send(self, opcode: int, payload: bytes) -> None:
        """Send a message, or nothing once the connection is closing."""
        if not self._close_sent and not self._writer.is_closing():
            self._writer.write(frames.encode(opcode, payload))
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()

    def close(self, code: int) -> None:
        """Send the close frame, once."""
        if not self._close_sent and not self._writer.is_closing():
            self._writer.write(frames.encode_close(code))
        self._close_sent = True


class WebSocketServer:
    """All connections and rooms."""

    def __init__(self, version: str) -> None:
        """Start with nobody connected."""
        self._version = version
        self._rooms: defaultdict[str, set[Peer]] = defaultdict(set)
        self._peers: set[Peer] = set()
        self._stopping = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until it ends."""
        try:
            while await self._serve_request(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away, or is too slow; TimeoutError is an OSError
        finally:
            writer.close()

    async def stop(self, grace_s: float) -> None:
        """After ``grace_s`` seconds tell all clients to go elsewhere, and wait a moment for them to do so."""
        self._stopping = True
        if self._peers:
            await asyncio.sleep(grace_s)
        for peer in self._peers:
            peer.close(frames.GOING_AWAY)
        limit = asyncio.get_running_loop().time() + CLOSE_ANSWER_S
        while self._peers and asyncio.get_running_loop().time() < limit:
            await asyncio.sleep(0.02)

    async def _serve_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one HTTP request; return whether another may follow."""
        async with asyncio.timeout(IDLE_LIMIT_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.split("\r\n")
        words = request_line.split(" ")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        keep_alive = words[-1] == "HTTP/1.1" and fields.get("connection", "").lower() != "close"
        if len(words) != 3 or fields.get("content-length", "0") != "0" or "transfer-encoding" in fields:
            self._answer(writer, "400 Bad Request", {"error": "bad request"}, keep_alive=False)
            return False
        url = urlsplit(words[1])
        if url.path.rstrip("/") == "/health":
            self._answer(writer, "200 OK", {"status": "ok", "connections": len(self._peers)}, keep_alive)
        elif url.path != "/":
            self._answer(writer, "404 Not Found", {"error": "not found"}, keep_alive)
        elif fields.get("upgrade", "").lower() != "websocket" or "sec-websocket-key" not in fields:
            self._answer(writer, "426 Upgrade Required", {"error": "this is a WebSocket"}, keep_alive)
        elif self._stopping:
            self._answer(writer, "503 Service Unavailable", {"error": "stopping"}, keep_alive=False)
            return False
        else:
            accept = frames.accept_key(fields["sec-websocket-key"])
            writer.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\nX-App-Version: {self._version}\r\n\r\n".encode("latin-1")
            )
            await self._talk(reader, writer, parse_qs(url.query).get("room", [None])[-1])
            return False
        await writer.drain()
        return keep_alive

    def _answer(self, writer: asyncio.StreamWriter, status: str, answer: dict[str, object], keep_alive: bool) -> None:
        body = json.dumps({**answer, "version": self._version}).encode()
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"X-App-Version: {self._version}\r\nConnection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n".encode()
            + body
        )

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, room: str | None) -> None:
        peer = Peer(writer)
        self._peers.add(peer)
        if room is not None:
            self._rooms[room].add(peer)
        try:
            while message := await self._message(reader, peer):
                for receiver in tuple(self._rooms[room]) if room is not None else (peer,):
                    await receiver.send(*message)
        except frames.ProtocolError as error:
            peer.close(error.code)
        finally:
            self._peers.discard(peer)
            if room is not None:
                self._rooms[room].discard(peer)
                if not self._rooms[room]:
                    del self._rooms[room]

    async def _message(self, reader: asyncio.StreamReader, peer: Peer) -> tuple[int, bytes] | None:
        """Return opcode and payload of the next whole message, or None at the end. Raises frames.ProtocolError."""
        opcode, payload = 0, b""
        while True:
            frame = await frames.read_frame(reader)
            if frame.opcode == frames.CLOSE:
                peer.close(frames.NORMAL)
                return None
            if frame.opcode == frames.PING:
                await peer.send(frames.PONG, frame.payload)
            elif frame.opcode != frames.PONG:
                if (frame.opcode == frames.CONTINUATION) != bool(opcode):
                    raise frames.ProtocolError(frames.PROTOCOL_ERROR)
                opcode = opcode or frame.opcode
                payload += frame.payload
                if len(payload) > frames.LARGEST_MESSAGE:
                    raise frames.ProtocolError(frames.TOO_BIG)
                if frame.final:
                    if opcode == frames.TEXT and not _is_utf8(payload):
                        raise frames.ProtocolError(frames.NOT_UTF8)
                    return opcode, payload


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


async def main() -> int:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    version_file = SOURCE / "VERSION"
    version = version_file.read_text(encoding="utf-8").strip() if version_file.is_file() else ""
    version = version or os.environ.get("APP_VERSION", "unknown")
    address, port = os.environ.get("BIND_ADDRESS") or "0.0.0.0", int(os.environ.get("PORT") or 8080)
    application = WebSocketServer(version)
    server = await asyncio.start_server(application.serve, address, port)
    print(f"version {version} listens on {address}:{server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()
    await application.stop(float(os.environ.get("CLOSE_GRACE_S") or 1.0))
    print("stopped", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
