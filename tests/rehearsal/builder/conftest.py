"""The stand-in builder, a registry to push to, and build contexts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import docker
import pytest

from gli_tasks.rehearsal.builder.engine import StandInBuilder
from gli_tasks.rehearsal.registry.server import OciRegistry

AUTH = {"username": "AWS", "password": "a-password"}


def make_context(
    files: Mapping[str, str | bytes], *, mode: int = 0o644, modified: int = 0, links: Mapping[str, str] | None = None
) -> io.BytesIO:
    """Return a tar of ``files`` as a client sends it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), mode, modified
            tar.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    archive.seek(0)
    return archive


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[StandInBuilder]:
    builder = StandInBuilder(tmp_path / "builder")
    yield builder
    builder.stop()


@pytest.fixture
def client(builder: StandInBuilder) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=builder.url)
    yield client
    client.close()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[OciRegistry]:
    server = OciRegistry(
        tmp_path / "registry",
        authenticate=lambda user, password: {"username": user, "password": password} == AUTH,
        repository_exists={"team/api", "team/web"}.__contains__,
    )
    yield server
    server.stop()


Build = Callable[..., list[dict]]


@pytest.fixture
def build(client: docker.DockerClient) -> Build:
    """Build a context and return the lines of the answer."""

    def run(files: Mapping[str, str | bytes], **options) -> list[dict]:
        context = options.pop("context", None) or make_context(files)
        return list(client.api.build(fileobj=context, custom_context=True, decode=True, **options))

    return run
