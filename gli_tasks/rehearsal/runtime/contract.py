"""What the twin's ECS asks of a runtime: start a container, watch it, stop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class CannotPullContainer(Exception):
    """The image cannot be had; the text is the reason in ECS's words (``CannotPullContainerError: ...``)."""


class CannotStartContainer(Exception):
    """The container cannot be started; the text is the reason in ECS's words."""


class ContainerHealth(StrEnum):
    """ECS's container health states."""

    UNKNOWN = "UNKNOWN"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A container health check; durations are already scaled to the twin's time."""

    command: tuple[str, ...]
    interval_s: float
    timeout_s: float
    retries: int
    start_period_s: float


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container of a task, with everything that it needs to run."""

    task_id: str
    name: str
    image: str
    entry_point: tuple[str, ...] | None
    command: tuple[str, ...] | None
    environment: Mapping[str, str]
    working_directory: str | None
    user: str | None
    address: str
    ports: tuple[int, ...]
    health_check: HealthCheck | None
    memory_bytes: int | None
    stop_timeout_s: float


@dataclass(frozen=True, slots=True)
class ContainerExit:
    """How a container ended."""

    code: int
    out_of_memory: bool


class RunningContainer(Protocol):
    """A container that was started."""

    @property
    def runtime_id(self) -> str:
        """Return the runtime's own name for it."""

    @property
    def image_digest(self) -> str:
        """Return the ``sha256:...`` of the manifest that was pulled."""

    def exited(self) -> ContainerExit | None:
        """Return how it ended, or None while it runs."""

    def health(self) -> ContainerHealth:
        """Return its health; UNKNOWN without a check, or before the check has decided."""

    def stop(self, timeout_s: float) -> ContainerExit:
        """Send SIGTERM, wait up to ``timeout_s`` seconds, then SIGKILL."""

    def kill(self) -> None:
        """Send SIGKILL."""


class Runtime(Protocol):
    """Starts containers and removes all that it started."""

    @property
    def name(self) -> str:
        """Return ``docker`` or ``process``."""

    def start(self, spec: ContainerSpec, write_log: Callable[[str], None]) -> RunningContainer:
        """Pull the image and start the container.

        ``write_log`` gets each line of output, from any thread.
        Raises CannotPullContainer or CannotStartContainer.
        """

    def close(self) -> None:
        """Stop and remove everything that this runtime started."""
