"""WebSocket frames and the handshake's answer (RFC 6455). No I/O but reading from a stream."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from dataclasses import dataclass

ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
LARGEST_MESSAGE = 1 << 20
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, GOING_AWAY, PROTOCOL_ERROR, NOT_UTF8, TOO_BIG = 1000, 1001, 1002, 1007, 1009


class ProtocolError(Exception):
    """The client broke the protocol; ``code`` is the close code that says how."""

    def __init__(self, code: int) -> None:
        """Hold the close code."""
        super().__init__(f"close {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, unmasked."""

    final: bool
    opcode: int
    payload: bytes


def accept_key(key: str) -> str:
    """Return the ``Sec-WebSocket-Accept`` for a ``Sec-WebSocket-Key``."""
    digest = hashlib.sha1((key + ACCEPT_GUID).encode("latin-1")).digest()  # noqa: S324 - RFC 6455's choice
    return base64.b64encode(digest).decode()


def encode(opcode: int, payload: bytes) -> bytes:
    """Return a server's frame: whole and unmasked."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
    return head + payload


def encode_close(code: int) -> bytes:
    """Return a close frame."""
    return encode(CLOSE, struct.pack("!H", code))


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """Read a client's frame. Raises ProtocolError, asyncio.IncompleteReadError, OSError."""
    first, second = await reader.readexactly(2)
    opcode, size = first & 0x0F, second & 0x7F
    control = opcode >= CLOSE
    known = opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
    if first & 0x70 or not known or not second & 0x80 or (control and (size > 125 or not first & 0x80)):
        raise ProtocolError(PROTOCOL_ERROR)
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", await reader.readexactly(8))
    if size > LARGEST_MESSAGE:
        raise ProtocolError(TOO_BIG)
    mask = await reader.readexactly(4)
    return Frame(bool(first & 0x80), opcode, unmask(mask, await reader.readexactly(size)))


def unmask(mask: bytes, payload: bytes) -> bytes:
    """Undo the mask; one XOR of two long numbers is far quicker than one for each byte."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
