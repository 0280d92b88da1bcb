"""An image's configuration: how its container runs, and which layers it is made of.

Format: https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md, with Docker's additions.
"""

from __future__ import annotations

import platform as machine_platform
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from gli_tasks.rehearsal.registry.names import digest_of

# An image's creation time is part of its digest, so it is the source's, not the clock's (SOURCE_DATE_EPOCH).
EPOCH = "1970-01-01T00:00:00Z"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Healthcheck(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """A health check as images carry it; durations in nanoseconds."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    retries: int = 0


class ContainerConfig(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """How a container of the image runs, unless told otherwise."""

    user: str = ""
    exposed_ports: Mapping[str, Mapping[str, str]] | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: Mapping[str, Mapping[str, str]] | None = None
    working_dir: str = ""
    labels: Mapping[str, str] | None = None
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by name."""
        return {name: value for name, _, value in (pair.partition("=") for pair in self.env or ())}


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of the build."""

    created: str
    created_by: str
    empty_layer: bool = False


class RootFilesystem(msgspec.Struct, frozen=True):
    """The layers, by the digests of their uncompressed tars."""

    type: str = "layers"
    diff_ids: tuple[str, ...] = ()


class ImageConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """The configuration blob; its digest is the image's Id."""

    architecture: str
    os: str
    created: str = EPOCH
    author: str = ""
    config: ContainerConfig | None = None
    rootfs: RootFilesystem = RootFilesystem()
    history: tuple[History, ...] = ()

    @property
    def container(self) -> ContainerConfig:
        """Return how a container runs."""
        return self.config or ContainerConfig()


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on."""

    os: str
    architecture: str


def encode_config(config: ImageConfig) -> bytes:
    """Return the configuration's bytes, the same for equal configurations."""
    return msgspec.json.encode(config, order="deterministic")


def image_id(content: bytes) -> str:
    """Return the Id of the image whose configuration is ``content``."""
    return digest_of(content)


def parse_config(content: bytes) -> ImageConfig:
    """Parse a configuration blob. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(content, type=ImageConfig)


def parse_platform(text: str) -> Platform:
    """Read ``os/architecture[/variant]``; without text, Linux on this machine's processor."""
    operating_system, _, architecture = text.partition("/")
    machine = machine_platform.machine()
    return Platform(
        os=operating_system or "linux",
        architecture=architecture.partition("/")[0] or _ARCHITECTURES.get(machine, machine),
    )
