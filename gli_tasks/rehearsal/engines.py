"""Choose what builds images and runs tasks: a Docker engine where one answers, else the twin's own stand-ins."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException

from gli_tasks.errors import RehearsalFailed, UsageError
from gli_tasks.rehearsal.builder.engine import StandInBuilder
from gli_tasks.rehearsal.registry.client import Credentials
from gli_tasks.rehearsal.runtime.base_image import ensure_base_image
from gli_tasks.rehearsal.runtime.container import ContainerRuntime
from gli_tasks.rehearsal.runtime.contract import Runtime
from gli_tasks.rehearsal.runtime.process import ProcessRuntime
from gli_tasks.rehearsal.runtime.sweep import sweep

DOCKER_LABEL = "gli-rehearsal"
_LOOPBACK = "127.0.0.1"
_DEFAULT_SOCKET = "unix:///var/run/docker.sock"
_ASK_S = 5


def engine_address() -> str | None:
    """Return the address of the Docker engine that answers (DOCKER_HOST, else the default socket), or None."""
    address = os.environ.get("DOCKER_HOST") or _DEFAULT_SOCKET
    try:
        client = docker.DockerClient(base_url=address, timeout=_ASK_S)
    except DockerException:
        return None
    try:
        client.ping()
    except (DockerException, OSError):
        return None
    else:
        return address
    finally:
        client.close()


def choose_engine(wanted: str) -> tuple[str, str]:
    """Return ``docker`` or ``process``, and why. Raises UsageError for an unknown word or an engine that is not
    there."""
    if wanted not in ("auto", "docker", "process"):
        raise UsageError(f"there is no engine {wanted!r}", remedy="say auto, docker or process")
    if wanted == "process":
        return "process", "asked for; a stand-in builds the images and runs no RUN instruction"
    address = engine_address()
    if address is not None:
        return "docker", f"a Docker engine answers at {address}"
    if wanted == "docker":
        raise UsageError("no Docker engine answers", remedy="start Docker, or say --engine process")
    return "process", "no Docker engine answers; a stand-in builds the images and runs no RUN instruction"


@dataclass(frozen=True, slots=True)
class Engines:
    """What builds and runs. ``addresses`` are those to listen on for tasks; ``tasks_reach`` is the one tasks use."""

    runtime: Runtime
    docker_host: str
    base_image: str
    addresses: tuple[str, ...]
    tasks_reach: str
    close: Callable[[], None]


def start_engines(
    engine: str, folder: Path, registry: str, credentials: Callable[[], Credentials], label: str
) -> Engines:
    """Start the chosen engine's parts. Raises RehearsalFailed where the Docker engine has gone."""
    if engine == "process":
        builder = StandInBuilder(folder / "builder")
        processes = ProcessRuntime(folder / "runtime", registry=registry, credentials=credentials)

        def close() -> None:
            processes.close()
            builder.stop()

        return Engines(processes, builder.url, "this-machine", (_LOOPBACK,), _LOOPBACK, close)
    address = engine_address()
    if address is None:
        raise RehearsalFailed("the Docker engine no longer answers", remedy="start Docker, or say --engine process")
    sweep(address, DOCKER_LABEL)
    base_image = ensure_base_image(address)
    containers = ContainerRuntime(address, label=DOCKER_LABEL, run=label, registry=registry, credentials=credentials)
    gateway = containers.gateway
    return Engines(containers, address, base_image, (_LOOPBACK, gateway), gateway, containers.close)
