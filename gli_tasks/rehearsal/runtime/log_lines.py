"""Cut a stream of bytes into log lines."""

from __future__ import annotations

import logging
from collections.abc import Callable

LOG = logging.getLogger(__name__)

MAXIMUM_LINE_BYTES = 256 * 1024  # an event of CloudWatch Logs


class LogLines:
    """Collects output and hands over each whole line, in order, without its end."""

    def __init__(self, write_log: Callable[[str], None]) -> None:
        """Hand lines to ``write_log``."""
        self._write_log = write_log
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take more output."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._write(line)
        while len(self._rest) > MAXIMUM_LINE_BYTES:
            self._write(self._rest[:MAXIMUM_LINE_BYTES])
            self._rest = self._rest[MAXIMUM_LINE_BYTES:]

    def end(self) -> None:
        """Hand over a last line that has no end."""
        if self._rest:
            self._write(self._rest)
        self._rest = b""

    def _write(self, line: bytes) -> None:
        try:
            self._write_log(line.removesuffix(b"\r").decode("utf-8", "replace"))
        except Exception:  # the outermost edge: a log that fails must not stop the reading, which would stop the task
            LOG.exception("a log line could not be delivered")
