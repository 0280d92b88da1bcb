"""A real Docker engine pushes to the registry, pulls from it, and is refused as by Amazon ECR."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator

import docker
import pytest

from gli_tasks.rehearsal.registry.client import RegistryClient
from gli_tasks.rehearsal.registry.manifest import DOCKER_MANIFEST
from gli_tasks.rehearsal.runtime.sweep import remove_images_of

from .conftest import CREDENTIALS, Registry

pytestmark = pytest.mark.docker
AUTH = {"username": CREDENTIALS.user, "password": CREDENTIALS.password}


@pytest.fixture
def engine(docker_engine: str, registry: Registry) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=docker_engine)
    yield client
    remove_images_of(client, registry.server.address)
    client.close()


@pytest.fixture
def name(engine: docker.DockerClient, registry: Registry) -> str:
    """Build an image of one small layer and one that takes many pieces to send."""
    name = f"{registry.server.address}/team/api"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        files = {
            "Dockerfile": b"FROM scratch\nCOPY small /\nCOPY large /\n",
            "small": b"1",
            "large": os.urandom(5_000_000),
        }
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    archive.seek(0)
    engine.images.build(fileobj=archive, custom_context=True, tag=f"{name}:v1", rm=True)
    return name


def push(engine: docker.DockerClient, name: str, auth: dict[str, str] = AUTH) -> list[dict]:
    return list(engine.api.push(name, tag="v1", stream=True, decode=True, auth_config=auth))


def test_there_and_back(engine: docker.DockerClient, registry: Registry, client: RegistryClient, name: str) -> None:
    image_id = engine.images.get(f"{name}:v1").id
    digest = push(engine, name)[-1]["aux"]["Digest"]
    manifest = client.manifest("team/api", "v1")
    assert (manifest.digest, manifest.media_type) == (digest, DOCKER_MANIFEST)
    assert manifest.config is not None
    assert manifest.config.digest == image_id
    assert registry.pushed == [("team/api", "v1", digest)]
    engine.images.remove(f"{name}:v1")
    pulled = engine.images.pull(f"{name}@{digest}", auth_config=AUTH)
    assert pulled.id == image_id
    assert any(line.get("status") == "Layer already exists" for line in again(engine, pulled, name))


def again(engine: docker.DockerClient, image, name: str) -> list[dict]:
    image.tag(name, "v1")
    return push(engine, name)


def test_a_layer_is_mounted_from_another_repository(
    engine: docker.DockerClient, registry: Registry, client: RegistryClient, name: str
) -> None:
    push(engine, name)
    other = f"{registry.server.address}/team/web"
    engine.images.get(f"{name}:v1").tag(other, "v1")
    lines = push(engine, other)
    assert sum(line.get("status") == "Mounted from team/api" for line in lines) == 2
    assert client.resolve("team/web", "v1") == client.resolve("team/api", "v1")


def test_refusals(engine: docker.DockerClient, registry: Registry, name: str) -> None:
    denied = push(engine, name, {**AUTH, "password": "no"})[-1]["error"]
    assert denied == "denied: Your authorization token has expired. Reauthenticate and try again."
    assert push(engine, name, {})[-1]["error"] == "no basic auth credentials"
    unknown = f"{registry.server.address}/team/unknown"
    engine.images.get(f"{name}:v1").tag(unknown, "v1")
    assert push(engine, unknown)[-1]["error"].startswith(
        "name unknown: The repository with name 'team/unknown' does not exist in the registry with id '123456789012'"
    )
    push(engine, name)
    registry.immutable.add("team/api")
    assert push(engine, name)[-1]["error"].startswith(
        "tag invalid: The image tag 'v1' already exists in the 'team/api'"
    )
