"""The only place that starts programs: argv in, redacted lines out, a typed failure."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gli_tasks.errors import CommandFailed, UsageError

_TAIL = 15


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended: its exit status, what it printed (both streams, in order), and how long it took."""

    argv: tuple[str, ...]
    returncode: int
    output: str
    seconds: float


def run(
    argv: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 600,
    on_line: Callable[[str], None] | None = None,
    check: bool = True,
) -> Completed:
    """Run a program and return what it did. Its standard input is empty.

    ``environment`` is added to this process's own. ``on_line`` gets each line of output as it comes.
    Raises CommandFailed for an exit status other than 0 (unless ``check`` is off) and when ``timeout_s`` is over,
    UsageError when the program is not installed or the folder is not there.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError("there is no such folder", where=str(folder), remedy="check the path in the settings")
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=folder,
            env=dict(os.environ) | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError:
        raise UsageError(
            f"the program {argv[0]!r} is not installed", remedy=f"install {argv[0]}, or put it on PATH"
        ) from None
    except PermissionError:
        raise UsageError(f"the program {argv[0]!r} may not be run", remedy="check its permissions") from None
    timed_out = threading.Event()

    def stop() -> None:
        timed_out.set()
        _stop_group(process)

    deadline = threading.Timer(timeout_s, stop)
    deadline.start()
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if on_line:
                on_line(line.rstrip("\n"))
        returncode = process.wait()
    except BaseException:
        _stop_group(process)
        raise
    finally:
        deadline.cancel()
        if process.stdout:
            process.stdout.close()
    done = Completed(tuple(argv), returncode, "".join(lines), time.monotonic() - started)
    if timed_out.is_set():
        raise CommandFailed(
            f"{shlex.join(argv)} did not end within {timeout_s:g} s and was stopped{_tail(done.output)}",
            returncode=returncode,
            where=str(folder or ""),
        )
    if check and returncode != 0:
        how = (
            f"was killed by {signal.Signals(-returncode).name}" if returncode < 0 else f"ended with status {returncode}"
        )
        raise CommandFailed(
            f"{shlex.join(argv)} {how}{_tail(done.output)}", returncode=returncode, where=str(folder or "")
        )
    return done


def _tail(output: str) -> str:
    lines = deque((line for line in output.splitlines() if line.strip()), maxlen=_TAIL)
    return "; its last lines:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""


def _stop_group(process: subprocess.Popen[str]) -> None:
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
