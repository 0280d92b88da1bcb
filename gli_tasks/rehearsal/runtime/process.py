"""Run containers as processes of this machine, where no Docker engine answers.

Each container has its own copy of the image's files and its own process group; it shares the machine's network (it
listens on its task's address, ``BIND_ADDRESS``), user and kernel. Memory is not limited: a limit on address space, the
only one at hand, would kill programs that no container limit kills.
"""

from __future__ import annotations

import logging
import os
import selectors
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from gli_tasks.rehearsal.registry.client import Credentials
from gli_tasks.rehearsal.runtime.children import CannotExecute, Child, Children
from gli_tasks.rehearsal.runtime.contract import (
    CannotStartContainer,
    ContainerExit,
    ContainerHealth,
    ContainerSpec,
    HealthCheck,
    RunningContainer,
)
from gli_tasks.rehearsal.runtime.health_checks import HealthChecks, WatchedHealth
from gli_tasks.rehearsal.runtime.images import ImageCache
from gli_tasks.rehearsal.runtime.log_lines import LogLines
from gli_tasks.rehearsal.runtime.placement import (
    Placement,
    find_program,
    make_interpreter_links,
    map_path,
    place,
    start_failure,
)

LOG = logging.getLogger(__name__)

# A check's timeout is scaled with all other durations, but the program that checks does not run faster for it.
SHORTEST_CHECK_TIMEOUT_S = 2.0
KILL_TIMEOUT_S = 10.0
READ_BYTES = 64 * 1024
# Output is complete when the pipe ends; a process that left its group may hold it open for ever.
OUTPUT_TIMEOUT_S = 2.0


class ProcessContainer:
    """A container that is a process."""

    def __init__(
        self,
        child: Child,
        *,
        image_digest: str,
        root: Path,
        stop_signal: signal.Signals,
        write_log: Callable[[str], None],
    ) -> None:
        """Watch ``child``; remove its files in ``root`` when it has ended."""
        self.runtime_id = uuid.uuid4().hex
        self.image_digest = image_digest
        self.pid = child.pid
        self._child = child
        self._root = root
        self._stop_signal = stop_signal
        self._watched: WatchedHealth | None = None
        self._exit: ContainerExit | None = None
        self._ended = threading.Event()
        self._abandoned = threading.Event()
        self._lines = LogLines(write_log)
        name = f"rehearsal container {child.pid}"
        self._reader = threading.Thread(target=self._read, name=f"{name} output", daemon=True)
        self._waiter = threading.Thread(target=self._wait, name=f"{name} exit", daemon=True)
        self._reader.start()
        self._waiter.start()

    def watch(self, watched: WatchedHealth) -> None:
        """Take the health from ``watched``."""
        self._watched = watched
        if self._ended.is_set():
            watched.end()

    def exited(self) -> ContainerExit | None:
        """Return how it ended, or None while it runs; by then every log line has been delivered."""
        return self._exit

    def health(self) -> ContainerHealth:
        """Return its health."""
        return self._watched.health if self._watched else ContainerHealth.UNKNOWN

    def stop(self, timeout_s: float) -> ContainerExit:
        """Send the stop signal to the main process, wait up to ``timeout_s`` seconds, then kill the whole group."""
        self._child.signal(self._stop_signal)
        if not self._ended.wait(timeout_s):
            self._child.kill_group()
        return self._await_exit()

    def kill(self) -> None:
        """Kill the whole group."""
        self._child.kill_group()

    def _await_exit(self) -> ContainerExit:
        if not self._ended.wait(KILL_TIMEOUT_S) or self._exit is None:
            raise TimeoutError(f"process {self.pid} does not end, {KILL_TIMEOUT_S:g} s after SIGKILL")
        return self._exit

    def _read(self) -> None:
        with self._child.output as output, selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while not self._abandoned.is_set():
                if selector.select(0.5):
                    data = os.read(output.fileno(), READ_BYTES)
                    if not data:
                        break
                    self._lines.feed(data)
        self._lines.end()

    def _wait(self) -> None:
        code = self._child.wait()
        self._reader.join(OUTPUT_TIMEOUT_S)
        self._abandoned.set()
        self._reader.join(OUTPUT_TIMEOUT_S)
        if self._watched is not None:
            self._watched.end()
        shutil.rmtree(self._root, ignore_errors=True)
        self._exit = ContainerExit(code=code, out_of_memory=False)
        self._ended.set()


class ProcessRuntime:
    """Runs the images of one registry as processes of this machine."""

    def __init__(
        self, root: Path, *, registry: str, credentials: Callable[[], Credentials], health_threads: int = 4
    ) -> None:
        """Keep images and containers' files below ``root``, which is removed at the end.

        ``registry`` is the twin's (``host:port``); ``credentials`` are asked for at each pull.
        """
        self._root = root
        self._containers_root = root / "containers"
        self._containers_root.mkdir(parents=True, exist_ok=True)
        self._interpreters = root / "interpreters"
        if not self._interpreters.exists():
            make_interpreter_links(self._interpreters)
        self._images = ImageCache(root / "images", registry, credentials)
        self._children = Children()
        self._checks = HealthChecks(health_threads)
        self._containers: list[ProcessContainer] = []
        self._lock = threading.Lock()
        self._closed = False

    @property
    def name(self) -> str:
        """Return ``process``."""
        return "process"

    def start(self, spec: ContainerSpec, write_log: Callable[[str], None]) -> RunningContainer:
        """Pull the image, copy its files and start its program. Raises CannotPullContainer or CannotStartContainer."""
        image = self._images.pull(spec.image)
        root = self._containers_root / uuid.uuid4().hex
        try:
            shutil.copytree(image.root, root, symlinks=True)
            placement = place(spec, image.config.container, root, self._interpreters)
            child = self._launch(placement)
        except BaseException as error:
            shutil.rmtree(root, ignore_errors=True)
            if isinstance(error, OSError):
                raise CannotStartContainer(f"CannotStartContainerError: {error}") from error
            raise
        container = ProcessContainer(
            child,
            image_digest=image.digest,
            root=root,
            stop_signal=_signal(image.config.container.stop_signal),
            write_log=write_log,
        )
        self._keep(container)
        check = spec.health_check
        if check is not None and check.command and check.command[0] != "NONE":
            watched = WatchedHealth(check, lambda: self._check(check, placement, root), time.monotonic())
            container.watch(watched)
            self._checks.watch(watched)
        return container

    def close(self) -> None:
        """Kill every container, end all threads and remove the files."""
        with self._lock:
            self._closed = True
            containers, self._containers = self._containers, []
        for container in containers:
            container.kill()
        for container in containers:
            try:
                container.stop(0)
            except TimeoutError:
                LOG.error("process %d does not end", container.pid, exc_info=True)
        self._checks.close()
        self._children.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def _launch(self, placement: Placement) -> Child:
        try:
            return self._children.start(
                placement.program,
                placement.argv,
                name=placement.name,
                folder=placement.folder,
                environment=placement.environment,
            )
        except CannotExecute as error:
            raise CannotStartContainer(start_failure(placement.name, str(error).lower())) from error

    def _keep(self, container: ProcessContainer) -> None:
        with self._lock:
            self._containers = [each for each in self._containers if each.exited() is None]
            if not self._closed:
                self._containers.append(container)
                return
        container.kill()
        container.stop(0)
        raise CannotStartContainer("CannotStartContainerError: the runtime is closing")

    def _check(self, check: HealthCheck, placement: Placement, root: Path) -> bool:
        kind, *words = check.command
        if kind == "CMD-SHELL":
            argv = ["/bin/sh", "-c", *words]
        else:
            words = words if kind == "CMD" else list(check.command)
            argv = [map_path(word, root) for word in words]
            path = placement.environment["PATH"]
            try:
                argv[0] = find_program(words[0], root, placement.folder, path, self._interpreters)
            except CannotStartContainer:
                return False
        try:
            child = self._children.start_directly(argv, folder=placement.folder, environment=placement.environment)
        except CannotExecute:
            return False
        return child.wait_at_most(max(check.timeout_s, SHORTEST_CHECK_TIMEOUT_S)) == 0


def _signal(name: str) -> signal.Signals:
    """Read STOPSIGNAL: a name with or without SIG, or a number; SIGTERM where it says nothing known."""
    try:
        if name.isdecimal():
            return signal.Signals(int(name))
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except (KeyError, ValueError):
        return signal.SIGTERM
