"""Run containers on a Docker engine, each published on its task's own address."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.types import LogConfig
from docker.types.daemon import CancellableStream

from gli_tasks.rehearsal.registry.client import Credentials
from gli_tasks.rehearsal.runtime.contract import (
    CannotPullContainer,
    CannotStartContainer,
    ContainerExit,
    ContainerHealth,
    ContainerSpec,
    HealthCheck,
    RunningContainer,
)
from gli_tasks.rehearsal.runtime.images import own_reference
from gli_tasks.rehearsal.runtime.log_lines import LogLines
from gli_tasks.rehearsal.runtime.sweep import OWNER, REGISTRY, owner_of, remove_images_of

LOG = logging.getLogger(__name__)

# Scaled durations do not make an engine's exec faster.
SHORTEST_CHECK_TIMEOUT_S = 5.0
SHORTEST_CHECK_INTERVAL_S = 0.5
ENGINE_TIMEOUT_S = 60
KILL_TIMEOUT_S = 20.0
EVENTS_RETRY_S = 0.5
UNKNOWN_EXIT_CODE = 255
_DIGEST_STATUS = "Digest: "
_HEALTH_ACTION = "health_status: "
_HEALTH = {"healthy": ContainerHealth.HEALTHY, "unhealthy": ContainerHealth.UNHEALTHY}
_DAEMON = "Error response from daemon: "


class EngineContainer:
    """A container on the engine."""

    def __init__(
        self,
        client: docker.DockerClient,
        container_id: str,
        *,
        output: CancellableStream,
        image_digest: str,
        stop_signal: str,
        write_log: Callable[[str], None],
    ) -> None:
        """Follow a container by its ``output``, and remove it when it has ended."""
        self.runtime_id = container_id
        self.image_digest = image_digest
        self._api = client.api
        self._stop_signal = stop_signal
        self._output = output
        # Standard output and error are cut into lines apart, as the engine's log drivers do.
        self._lines = (LogLines(write_log), LogLines(write_log))
        self._health = ContainerHealth.UNKNOWN
        self._exit: ContainerExit | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"rehearsal {container_id[:12]}", daemon=True)
        self._thread.start()

    def exited(self) -> ContainerExit | None:
        """Return how it ended, or None while it runs; by then every log line has been delivered."""
        return self._exit

    def health(self) -> ContainerHealth:
        """Return its health, as the engine last reported."""
        return self._health

    def take_health(self, status: str) -> None:
        """Take the engine's word for the health: ``starting``, ``healthy`` or ``unhealthy``."""
        self._health = _HEALTH.get(status, ContainerHealth.UNKNOWN)

    def stop(self, timeout_s: float) -> ContainerExit:
        """Send the image's stop signal, wait up to ``timeout_s`` seconds, then kill."""
        self._signal(self._stop_signal)
        if not self._ended.wait(timeout_s):
            self.kill()
        if not self._ended.wait(KILL_TIMEOUT_S) or self._exit is None:
            raise TimeoutError(f"container {self.runtime_id[:12]} does not end, {KILL_TIMEOUT_S:g} s after SIGKILL")
        return self._exit

    def kill(self) -> None:
        """Send SIGKILL."""
        self._signal("SIGKILL")

    def _signal(self, name: str) -> None:
        # The engine's own stop counts whole seconds, and refuses what has ended; this does neither.
        with contextlib.suppress(APIError):
            self._api.kill(self.runtime_id, name)

    def _follow(self) -> None:
        try:
            for pieces in self._output:
                for lines, data in zip(self._lines, pieces, strict=True):
                    lines.feed(data or b"")
        except (DockerException, OSError):
            LOG.warning("the log of container %s broke off", self.runtime_id[:12], exc_info=True)
        finally:
            self._output.close()
        for lines in self._lines:
            lines.end()
        try:
            code = int(self._api.wait(self.runtime_id, timeout=None)["StatusCode"])
            state = self._api.inspect_container(self.runtime_id)["State"]
            ended = ContainerExit(code=code, out_of_memory=bool(state.get("OOMKilled")))
        except (DockerException, OSError):
            LOG.warning("container %s is out of sight", self.runtime_id[:12], exc_info=True)
            ended = ContainerExit(code=UNKNOWN_EXIT_CODE, out_of_memory=False)
        with contextlib.suppress(DockerException, OSError):
            self._api.remove_container(self.runtime_id, force=True, v=True)
        self._exit = ended
        self._ended.set()


class ContainerRuntime:
    """Runs the images of one registry on a Docker engine of this machine, on a network of its own."""

    def __init__(
        self, docker_host: str, *, label: str, run: str, registry: str, credentials: Callable[[], Credentials]
    ) -> None:
        """Make the network; everything made carries ``label`` with the value ``run``.

        ``registry`` is the twin's (``host:port``); ``credentials`` are asked for at each pull. Raises
        docker.errors.DockerException where the engine does not answer.
        """
        self._label = label
        self._run = run
        self._registry = registry
        self._credentials = credentials
        self._labels = {label: run, f"{label}.{OWNER}": owner_of(os.getpid()), f"{label}.{REGISTRY}": registry}
        self._containers: dict[str, EngineContainer] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._events: Any = None
        self._client = docker.DockerClient(base_url=docker_host, timeout=ENGINE_TIMEOUT_S)
        self._warden = _start_warden(docker_host, label, run)
        try:
            name = f"{_plain(label)}-{_plain(run)}"
            self._network = self._client.networks.create(name, driver="bridge", labels=self._labels)
            self._network.reload()
            self.gateway: str = self._network.attrs["IPAM"]["Config"][0]["Gateway"].partition("/")[0]
        except BaseException:
            self._end_warden()
            self._client.close()
            raise
        self._watcher = threading.Thread(target=self._watch_health, name="rehearsal container health", daemon=True)
        self._watcher.start()

    @property
    def name(self) -> str:
        """Return ``docker``."""
        return "docker"

    def start(self, spec: ContainerSpec, write_log: Callable[[str], None]) -> RunningContainer:
        """Pull the image and start a container. Raises CannotPullContainer or CannotStartContainer."""
        image, digest = self._pull(spec.image)
        container_id, output = "", None
        try:
            config = self._client.api.inspect_image(image)["Config"]
            container_id = self._create(spec, image)
            # Attached before the start: following the engine's log file would miss a last line without an end.
            output = self._client.api.attach(container_id, stdout=True, stderr=True, stream=True, demux=True)
            self._client.api.start(container_id)
        except (DockerException, OSError) as error:
            if output is not None:
                output.close()
            if container_id:
                with contextlib.suppress(DockerException):
                    self._client.api.remove_container(container_id, force=True, v=True)
            raise CannotStartContainer(f"CannotStartContainerError: {_DAEMON}{_explanation(error)}") from error
        container = EngineContainer(
            self._client,
            container_id,
            output=output,
            image_digest=digest,
            stop_signal=config.get("StopSignal") or "SIGTERM",
            write_log=write_log,
        )
        with self._lock:
            self._containers = {each: kept for each, kept in self._containers.items() if kept.exited() is None}
            self._containers[container_id] = container
        self._take_health(container)  # what the engine reported before the container was known here
        if self._closed.is_set():
            container.kill()
            raise CannotStartContainer("CannotStartContainerError: the runtime is closing")
        return container

    def close(self) -> None:
        """Remove every container, the network and the registry's images, and end all threads."""
        self._closed.set()
        with self._lock:
            containers = list(self._containers.values())
            events = self._events
        for container in containers:
            container.kill()
        for container in containers:
            try:
                container.stop(0)
            except TimeoutError:
                LOG.error("container %s does not end; the sweep removes it", container.runtime_id[:12], exc_info=True)
        if events is not None:
            events.close()
        self._watcher.join(KILL_TIMEOUT_S)
        with contextlib.suppress(DockerException):
            self._network.remove()
        with contextlib.suppress(DockerException):
            remove_images_of(self._client, self._registry)
        self._client.close()
        self._end_warden()

    # Starting

    def _pull(self, image: str) -> tuple[str, str]:
        """Return the reference by digest, and the digest."""
        reference = own_reference(image, self._registry)
        # Asked for each time, as by Fargate, which keeps no images: what the registry lost must not start from a cache.
        credentials = self._credentials()
        auth = {"username": credentials.user, "password": credentials.password}
        digest = reference.digest or ""
        try:
            for line in self._client.api.pull(
                reference.name, tag=reference.target, auth_config=auth, stream=True, decode=True
            ):
                if "error" in line:
                    raise CannotPullContainer(f"CannotPullContainerError: {_DAEMON}{line['error']}")
                status = str(line.get("status", ""))
                if status.startswith(_DIGEST_STATUS):
                    digest = status.removeprefix(_DIGEST_STATUS)
        except (DockerException, OSError) as error:
            raise CannotPullContainer(f"CannotPullContainerError: {_DAEMON}{_explanation(error)}") from error
        return f"{reference.name}@{digest}", digest

    def _create(self, spec: ContainerSpec, image: str) -> str:
        api = self._client.api
        host = api.create_host_config(
            network_mode=self._network.id,
            port_bindings={f"{port}/tcp": (spec.address, port) for port in spec.ports},
            mem_limit=spec.memory_bytes,
            memswap_limit=spec.memory_bytes,
            log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "1"}),
        )
        created = api.create_container(
            image,
            name=_plain(f"{self._run}-{spec.task_id}-{spec.name}"),
            entrypoint=list(spec.entry_point) if spec.entry_point else None,
            command=list(spec.command) if spec.command else None,
            environment=dict(spec.environment),
            working_dir=spec.working_directory,
            user=spec.user,
            ports=[(port, "tcp") for port in spec.ports],
            labels={**self._labels, f"{self._label}.task": spec.task_id, f"{self._label}.container": spec.name},
            healthcheck=_engine_check(spec.health_check),
            host_config=host,
        )
        return str(created["Id"])

    # Health

    def _watch_health(self) -> None:
        filters = {"type": "container", "label": f"{self._label}={self._run}"}
        while not self._closed.is_set():
            try:
                events = self._client.events(decode=True, filters=filters)
                with self._lock:
                    self._events = events
                    containers = list(self._containers.values())
                if self._closed.is_set():
                    events.close()
                    return
                for container in containers:
                    self._take_health(container)
                for event in events:
                    action = str(event.get("Action", ""))
                    container_found = self._containers.get(str(event.get("id", "")))
                    if action.startswith(_HEALTH_ACTION) and container_found is not None:
                        container_found.take_health(action.removeprefix(_HEALTH_ACTION))
            except (DockerException, OSError, ValueError):
                if not self._closed.is_set():
                    LOG.warning("the engine's events broke off; asking again", exc_info=True)
            self._closed.wait(EVENTS_RETRY_S)

    def _take_health(self, container: EngineContainer) -> None:
        with contextlib.suppress(NotFound):
            state = self._client.api.inspect_container(container.runtime_id)["State"]
            container.take_health(str(state.get("Health", {}).get("Status", "")))

    def _end_warden(self) -> None:
        assert self._warden.stdin is not None
        self._warden.stdin.close()
        try:
            self._warden.wait(KILL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            self._warden.wait()


def _start_warden(docker_host: str, label: str, run: str) -> subprocess.Popen[bytes]:
    """Start the process that removes everything of this run when this process is gone, however it ended."""
    return subprocess.Popen(
        [sys.executable, "-m", "gli_tasks.rehearsal.runtime.sweep", docker_host, label, run],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def _engine_check(check: HealthCheck | None) -> dict[str, Any]:
    """Return the check as the engine wants it; ECS does not look at an image's own check, so none means none."""
    if check is None or not check.command or check.command[0] == "NONE":
        return {"test": ["NONE"]}
    command = list(check.command)
    if command[0] not in ("CMD", "CMD-SHELL"):
        command.insert(0, "CMD")
    return {
        "test": command,
        "interval": _nanoseconds(max(check.interval_s, SHORTEST_CHECK_INTERVAL_S)),
        "timeout": _nanoseconds(max(check.timeout_s, SHORTEST_CHECK_TIMEOUT_S)),
        "start_period": _nanoseconds(check.start_period_s),
        "retries": check.retries,
    }


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000_000)


def _explanation(error: Exception) -> str:
    text = error.explanation if isinstance(error, APIError) and error.explanation else error
    return str(text)


def _plain(text: str) -> str:
    """Return ``text`` as a name that the engine takes."""
    return re.sub(r"[^a-zA-Z0-9_.-]", "-", text)
