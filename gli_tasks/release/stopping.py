"""Let a person stop a release: Ctrl-C once at a safe point, twice at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from gli_tasks import shell
from gli_tasks.errors import Interrupted

_STDERR = 2


@contextlib.contextmanager
def stoppable(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` at the first Ctrl-C (or SIGTERM, as a CI job's cancel sends it); end the process at the second."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            _end_at_once()
        stop.set()
        _say_at_once("\nstopping at the next safe point; once more stops at once\n")

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once() -> None:
    """End this process now, with every program that it runs."""
    shell.kill_all()
    # The live table hides the cursor, and has no time left to show it again.
    shown = "\x1b[?25h" if os.isatty(_STDERR) else ""
    _say_at_once(
        f"{shown}\nstopped at once: a rollout may go on; see `invoke release.status`, then `invoke release.resume` or"
        " `invoke release.abort`\n"
    )
    os._exit(Interrupted.exit_code)


def _say_at_once(text: str) -> None:
    """Write to standard error past all that may hold it: a live table, or the very write that a signal cut in on."""
    with contextlib.suppress(OSError):
        os.write(_STDERR, text.encode())
