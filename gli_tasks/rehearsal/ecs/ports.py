"""What the control plane asks of the parts around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

Clock: TypeAlias = Callable[[], datetime]
Capacity: TypeAlias = Callable[[], bool]
"""Says whether a task may be placed now."""
RegistryLookup: TypeAlias = Callable[[str], str | None]
"""Gives the manifest digest of an image that is named by tag, or None where it is not known."""


@dataclass(frozen=True, slots=True)
class TargetState:
    """A target's health in ELBv2's words: initial, healthy, unhealthy, draining, unused, or ``gone``."""

    state: str
    reason: str = ""
    description: str = ""


class TargetRegistrar(Protocol):
    """Target groups, as ECS uses them. Calls come from several threads."""

    def register(self, target_group_arn: str, address: str, port: int) -> None:
        """Register a target."""

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        """Begin to drain a target."""

    def state(self, target_group_arn: str, address: str, port: int) -> TargetState:
        """Return a target's health; ``gone`` when it is drained."""


class LogGroupMissing(Exception):
    """The log group does not exist."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of output and when it was read."""

    at: datetime
    text: str


class LogSink(Protocol):
    """CloudWatch Logs, as the awslogs driver uses it. Calls for one stream never overlap."""

    def open_stream(self, group: str, stream: str, create_group: bool) -> None:
        """Create a stream. Raises LogGroupMissing where the group is absent and may not be created."""

    def put(self, group: str, stream: str, lines: Sequence[LogLine]) -> None:
        """Append lines in order."""


class SecretUnavailable(Exception):
    """A secret cannot be had; the text is the service's error, ``Code: message``, without any value."""


class SecretResolver(Protocol):
    """Secrets Manager and Parameter Store, as the ECS agent uses them."""

    def secret(self, secret_id: str, version_stage: str | None, version_id: str | None) -> str:
        """Return a secret's string. Raises SecretUnavailable."""

    def parameter(self, name: str) -> str:
        """Return a parameter's decrypted value, by name or ARN. Raises SecretUnavailable."""
