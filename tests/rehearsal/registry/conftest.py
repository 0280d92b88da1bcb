"""A registry on loopback with two repositories, and images to put into it."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gli_tasks.rehearsal.registry.client import Credentials, RegistryClient
from gli_tasks.rehearsal.registry.manifest import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, Manifest, parse_manifest
from gli_tasks.rehearsal.registry.names import digest_of
from gli_tasks.rehearsal.registry.server import OciRegistry

ACCOUNT = "123456789012"
CREDENTIALS = Credentials("AWS", "a-password")


@dataclass
class Registry:
    """The server and the facts that it asks for."""

    server: OciRegistry
    pushed: list[tuple[str, str, str]]
    repositories: set[str]
    immutable: set[str] = field(default_factory=set)
    used: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class SampleImage:
    """An image of one layer, ready to push."""

    manifest: Manifest
    blobs: dict[str, bytes]

    def push(self, client: RegistryClient, repository: str, reference: str, folder: Path) -> None:
        for digest, content in self.blobs.items():
            path = folder / digest.removeprefix("sha256:")
            path.write_bytes(content)
            client.push_blob(repository, digest, path)
        client.put_manifest(repository, reference, self.manifest)


def make_image(files: dict[str, bytes]) -> SampleImage:
    """Make an image that holds ``files``."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    layer = gzip.compress(raw.getvalue(), mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/nothing"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(raw.getvalue())]},
        }
    ).encode()
    content = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "size": len(config), "digest": digest_of(config)},
            "layers": [{"mediaType": DOCKER_LAYER, "size": len(layer), "digest": digest_of(layer)}],
        }
    ).encode()
    return SampleImage(parse_manifest(content), {digest_of(config): config, digest_of(layer): layer})


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    pushed: list[tuple[str, str, str]] = []
    repositories = {"team/api", "team/web"}
    immutable: set[str] = set()
    used: list[tuple[str, str, str]] = []
    server = OciRegistry(
        tmp_path / "registry",
        authenticate=lambda user, password: (user, password) == (CREDENTIALS.user, CREDENTIALS.password),
        repository_exists=repositories.__contains__,
        tag_is_immutable=lambda repository, _tag: repository in immutable,
        on_push=lambda repository, reference, manifest: pushed.append((repository, reference, manifest.digest)),
        on_use=lambda password, repository, actions: used.extend((password, repository, one) for one in actions),
        account=ACCOUNT,
    )
    yield Registry(server, pushed, repositories, immutable, used)
    server.stop()


@pytest.fixture
def client(registry: Registry) -> Iterator[RegistryClient]:
    with RegistryClient(registry.server.address, CREDENTIALS) as client:
        yield client
