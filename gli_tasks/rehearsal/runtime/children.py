"""Start programs that end with this process, however it ends.

Three nets: each child leads a group of its own, so that its descendants can be killed with it; the kernel kills the
child when the thread that forked it dies (Linux; hence one long-lived thread forks them all); and a warden process
kills the groups when this process is gone, also by SIGKILL.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, TypeVar

LAUNCHER = Path(__file__).with_name("launcher.py")
WARDEN = Path(__file__).with_name("warden.py")
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
_FIRST_PACE_S = 0.005
_LONGEST_PACE_S = 0.05
_CAN_LOOK = hasattr(os, "waitid")  # to wait without reaping; not on macOS before Python 3.13

_Result = TypeVar("_Result")


class CannotExecute(Exception):
    """The program cannot be started; ``number`` is the errno."""

    def __init__(self, number: int) -> None:
        """Keep the errno."""
        super().__init__(os.strerror(number))
        self.number = number


class Child:
    """A process that leads a group; one thread waits for it, any thread may signal it."""

    def __init__(self, process: subprocess.Popen[bytes], children: Children) -> None:
        """Take over ``process``, which nobody else waits for."""
        self.pid = process.pid
        self._process = process
        self._children = children
        self._lock = threading.Lock()
        self._reaped = False

    @property
    def output(self) -> IO[bytes]:
        """Return its standard output and error, where they are captured."""
        assert self._process.stdout is not None
        return self._process.stdout

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        with self._lock:
            if not self._reaped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)

    def kill_group(self) -> None:
        """Send SIGKILL to the process and its descendants."""
        with self._lock:
            if not self._reaped:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait until it ends, kill what it left running, and return its code as a shell counts (128 + signal)."""
        if _CAN_LOOK:
            # Not yet reaped, the process keeps its number from being given to another while its group is killed.
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self.kill_group()
        code = self._process.wait()
        with self._lock:
            self._reaped = True
        if not _CAN_LOOK:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self._children.forget(self.pid)
        return 128 - code if code < 0 else code

    def wait_at_most(self, timeout_s: float) -> int | None:
        """Wait like ``wait``, but kill the group after ``timeout_s`` seconds and return None."""
        deadline = time.monotonic() + timeout_s
        pace_s = _FIRST_PACE_S
        while not self._has_ended():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self.kill_group()
                self.wait()
                return None
            time.sleep(min(pace_s, left_s))
            pace_s = min(pace_s * 2, _LONGEST_PACE_S)
        return self.wait()

    def _has_ended(self) -> bool:
        if _CAN_LOOK:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        return self._process.poll() is not None


class Children:
    """Starts children, and kills all that are left when it is closed or this process dies."""

    def __init__(self) -> None:
        """Start the forking thread and the warden."""
        self._lock = threading.Lock()
        self._requests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._fork_forever, name="rehearsal children", daemon=True)
        self._thread.start()
        self._warden: subprocess.Popen[bytes] = self._on_thread(_start_warden)

    def start(
        self,
        program: str,
        argv: Sequence[str],
        *,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
    ) -> Child:
        """Start ``program``, called ``name``, in ``folder``, its output captured. Raises CannotExecute."""
        reading, writing = os.pipe()
        try:
            launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(writing), str(os.getpid()), str(folder), name]
            child = self._on_thread(lambda: self._fork([*launch, program, *argv], environment, (writing,)))
        finally:
            os.close(writing)
        with open(reading, "rb", buffering=0) as report:
            # The pipe ends when the launcher has become the program, or has ended.
            ready, _, _ = select.select([report], [], [], START_TIMEOUT_S)
            failure = report.read(16) if ready else str(errno.ETIMEDOUT).encode()
        if failure:
            child.kill_group()
            child.output.close()
            child.wait()
            raise CannotExecute(int(failure))
        return child

    def start_directly(self, argv: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> Child:
        """Start a short-lived program without the launcher, its output dropped. Raises CannotExecute.

        It dies with this process by the warden alone, which is enough for what ends within seconds anyway.
        """
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise CannotExecute(error.errno or errno.EIO) from error
        return self.adopt(process)

    def forget(self, pid: int) -> None:
        """Take a group off the warden's list."""
        self._tell_warden(f"-{pid}\n")

    def close(self) -> None:
        """Kill what still runs, end the warden and the thread."""
        with self._lock:
            assert self._warden.stdin is not None
            with contextlib.suppress(OSError):
                self._warden.stdin.close()
        try:
            self._warden.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            self._warden.wait(STOP_TIMEOUT_S)
        self._requests.put(None)
        self._thread.join(STOP_TIMEOUT_S)

    def _fork(self, argv: Sequence[str], environment: Mapping[str, str], fds: tuple[int, ...]) -> Child:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            pass_fds=fds,
            bufsize=0,
        )
        return self.adopt(process)

    def adopt(self, process: subprocess.Popen[bytes]) -> Child:
        """Take over a process that leads a group of its own: it dies with this process."""
        self._tell_warden(f"+{process.pid}\n")
        return Child(process, self)

    def _tell_warden(self, line: str) -> None:
        with self._lock:
            assert self._warden.stdin is not None
            with contextlib.suppress(OSError, ValueError):  # closed: the warden has done its work
                self._warden.stdin.write(line.encode())

    def _on_thread(self, work: Callable[[], _Result]) -> _Result:
        future: Future[_Result] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                future.set_exception(error)

        self._requests.put(run)
        return future.result(START_TIMEOUT_S)

    def _fork_forever(self) -> None:
        while (request := self._requests.get()) is not None:
            request()


def _start_warden() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(WARDEN)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        bufsize=0,
    )
