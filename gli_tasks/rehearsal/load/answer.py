"""Read HTTP/1.1 answers out of a stream of bytes, only as far as a load generator cares. No I/O."""

from __future__ import annotations

import re

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n")
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close[ \t]*\r\n")
_VERSION = re.compile(rb"\r\nx-app-version:[ \t]*([^\r\n]*?)[ \t]*\r\n", re.IGNORECASE)
HEAD_LIMIT = 65536


class MalformedAnswer(Exception):
    """The bytes are no HTTP/1.1 answer."""


class Answer:
    """One answer, fed piece by piece."""

    def __init__(self) -> None:
        """Wait for a head."""
        self.status: int | None = None
        self.version: str | None = None
        self.keep_alive = True
        self.until_close = False
        self._data = bytearray()
        self._left = 0
        self._chunked = False

    def feed(self, data: bytes) -> bool:
        """Take bytes; return whether the answer is complete. Raises MalformedAnswer."""
        if self.status is None or self._chunked:
            self._data += data
            if self.status is None and not self._read_head():
                return False
        else:
            self._left -= len(data)
        if self._chunked:
            return self._read_chunks()
        if self._left < 0 and not self.until_close:
            raise MalformedAnswer("bytes after the answer")
        return self._left == 0 and not self.until_close

    def _read_head(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > HEAD_LIMIT:
                raise MalformedAnswer("head too large")
            return False
        head = bytes(self._data[: end + 2])
        status = _STATUS.match(head)
        if status is None:
            raise MalformedAnswer("status line")
        del self._data[: end + 4]
        self.status = int(status[1])
        lower = head.lower()
        self.keep_alive = _CLOSE.search(lower) is None
        version = _VERSION.search(head)
        self.version = version[1].decode("latin-1") if version else None
        if length := _LENGTH.search(lower):
            self._left = int(length[1]) - len(self._data)
        elif _CHUNKED.search(lower):
            self._chunked = True
        elif self.status not in (204, 304):
            self.until_close = True
        return True

    def _read_chunks(self) -> bool:
        """Drop whole chunks; ``_left`` is what is missing of the chunk that has begun, with its line end."""
        while True:
            taken = min(self._left, len(self._data))
            del self._data[:taken]
            self._left -= taken
            if self._left:
                return False
            end = self._data.find(b"\r\n")
            if end < 0:
                return False
            digits = bytes(self._data[:end]).partition(b";")[0].strip()
            if not digits or len(digits) > 15 or digits.strip(b"0123456789abcdefABCDEF"):
                raise MalformedAnswer("chunk size")
            size = int(digits, 16)
            if size == 0:  # trailers are not expected from the balancer, which drops them
                return len(self._data) >= end + 4
            del self._data[: end + 2]
            self._left = size + 2
