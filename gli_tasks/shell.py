"""The only place that starts programs: argv in, redacted lines out, a typed failure."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gli_tasks import guard
from gli_tasks.errors import CommandFailed, Interrupted, UsageError

_TAIL = 15
# The groups of the programs that run now, so that none outlives a process that must end at once.
_groups: set[int] = set()
_lock = threading.Lock()
_LOOK_S = 0.1
# How long what a program started may still hold its output open once the program itself has ended.
_LINGER_S = 1.0


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended: its exit status, what it printed, and how long it took.

    ``output`` is both streams in order, and ``errors`` empty, unless standard error was kept apart.
    """

    argv: tuple[str, ...]
    returncode: int
    output: str
    seconds: float
    errors: str = ""


class _Lines:
    """Turns what a program prints into lines; bytes that are not UTF-8 become U+FFFD."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._on_line = on_line
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        self._begun = ""
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """Return all that came."""
        return "".join(self._parts)

    def take(self, data: bytes) -> None:
        """Take what was read; no bytes mean that no more will come."""
        text = self._decoder.decode(data, final=not data)
        self._parts.append(text)
        *whole, self._begun = (self._begun + text).split("\n")
        if not data and self._begun:
            whole.append(self._begun)
            self._begun = ""
        if self._on_line:
            for line in whole:
                self._on_line(line)


def run(
    argv: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str | None] | None = None,
    timeout_s: float = 600,
    on_line: Callable[[str], None] | None = None,
    check: bool = True,
    errors_apart: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Completed:
    """Run a program and return what it did. Its standard input is empty.

    ``environment`` is added to this process's own; None takes a variable away. ``stop`` is asked ten times a second
    whether a person wants the program stopped. ``on_line`` gets each line of output as it comes. What the program
    started and left behind, holding its output open, is stopped with it.
    Raises Interrupted when ``stop`` said so, CommandFailed for an exit status other than 0 (unless ``check`` is off)
    and when ``timeout_s`` is over, UsageError when the program is not installed or the folder is not there,
    PlanWouldWrite where this process only reads and the program may do more.
    """
    guard.require_program(argv)
    if folder is not None and not folder.is_dir():
        raise UsageError("there is no such folder", where=str(folder), remedy="check the path in the settings")
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=folder,
            env=_with(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if errors_apart else subprocess.STDOUT,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise UsageError(
            f"the program {argv[0]!r} is not installed", remedy=f"install {argv[0]}, or put it on PATH"
        ) from None
    except PermissionError:
        raise UsageError(f"the program {argv[0]!r} may not be run", remedy="check its permissions") from None
    except OSError as error:
        raise UsageError(
            f"the program {argv[0]!r} cannot be started ({error.strerror})",
            remedy="check that it is a program for this machine, or a script that names its interpreter",
        ) from None
    output, errors = _Lines(on_line), _Lines(on_line)
    with _lock:
        _groups.add(process.pid)
    streams = {stream: lines for stream, lines in ((process.stdout, output), (process.stderr, errors)) if stream}
    try:
        in_time = _follow(process, streams, started + timeout_s, stop)
    except BaseException:
        _stop_group(process)
        raise
    finally:
        for stream in streams:
            stream.close()
        with _lock:
            _groups.discard(process.pid)
    returncode = -signal.SIGKILL if process.returncode is None else process.returncode
    done = Completed(tuple(argv), returncode, output.text, time.monotonic() - started, errors.text)
    if not in_time:
        raise CommandFailed(
            f"{shlex.join(argv)} did not end within {timeout_s:g} s and was stopped{_tail(done)}",
            returncode=returncode,
            where=str(folder or ""),
        )
    if check and returncode != 0:
        how = f"was killed by {_signal_name(-returncode)}" if returncode < 0 else f"ended with status {returncode}"
        raise CommandFailed(f"{shlex.join(argv)} {how}{_tail(done)}", returncode=returncode, where=str(folder or ""))
    return done


def attach(argv: Sequence[str], environment: Mapping[str, str | None] | None = None) -> int:
    """Run a program on this terminal until it ends, and return its exit status: for a session that a person holds.

    It reads and writes what this process does, so nothing of it is redacted. The terminal's signals are the program's:
    Ctrl-C there does not end this process.
    Raises UsageError when the program is not installed, PlanWouldWrite where this process only reads.
    """
    guard.require_program(argv)
    # A handler of our own, where ignoring would be inherited by the program.
    handlers = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)
    }
    try:
        return subprocess.run(list(argv), env=_with(environment or {}), check=False).returncode
    except FileNotFoundError:
        raise UsageError(
            f"the program {argv[0]!r} is not installed", remedy=f"install {argv[0]}, or put it on PATH"
        ) from None
    except PermissionError:
        raise UsageError(f"the program {argv[0]!r} may not be run", remedy="check its permissions") from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _with(changes: Mapping[str, str | None]) -> dict[str, str]:
    changed: dict[str, str | None] = {**os.environ, **changes}
    return {name: value for name, value in changed.items() if value is not None}


def kill_all() -> None:
    """Kill every program that runs now, with all that it started: for the moment before this process ends itself."""
    with _lock:
        groups = list(_groups)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _follow(
    process: subprocess.Popen[bytes], streams: Mapping[IO[bytes], _Lines], deadline: float, stop: Callable[[], bool]
) -> bool:
    """Read what a program prints until it ends; return whether it ended before the deadline. What is left is stopped.

    Its output's end is no proof of its own, nor the other way round: what it started may hold the output open.
    """
    until = deadline
    with selectors.DefaultSelector() as selector:
        for stream, lines in streams.items():
            selector.register(stream, selectors.EVENT_READ, lines)
        while selector.get_map() and (left := until - time.monotonic()) > 0:
            if stop():
                raise Interrupted("stopped by Ctrl-C")
            for key, _ in selector.select(min(left, _LOOK_S)):
                data = os.read(key.fd, 65_536)
                if not data:
                    selector.unregister(key.fileobj)
                key.data.take(data)
            if until == deadline and process.poll() is not None:
                until = min(deadline, time.monotonic() + _LINGER_S)
        held_open = [(key.fd, key.data) for key in selector.get_map().values()]
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
        in_time = True
    except subprocess.TimeoutExpired:
        in_time = False
    if held_open or not in_time:
        _stop_group(process)
    for descriptor, lines in held_open:
        # The last words of what was just stopped. Who left the group may still write: one look, and no more.
        os.set_blocking(descriptor, False)
        with contextlib.suppress(BlockingIOError):
            if data := os.read(descriptor, 1_048_576):
                lines.take(data)
        lines.take(b"")
    return in_time


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tail(done: Completed) -> str:
    printed = f"{done.output}\n{done.errors}"
    lines = deque((line for line in printed.splitlines() if line.strip()), maxlen=_TAIL)
    return "; its last lines:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""


def _stop_group(process: subprocess.Popen[bytes]) -> None:
    """Stop a program with all that it started: politely, then not."""
    for number, patience_s in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        # The leader is gone, its children may not be: whoever is left of the group gets the last word at once.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        return
