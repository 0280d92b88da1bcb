"""The Engine API beside building: names, listing, pushing, and what is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import docker
import pytest
from docker.errors import APIError, ImageNotFound, NotFound

from gli_tasks.rehearsal.builder.engine import StandInBuilder
from gli_tasks.rehearsal.registry.client import Credentials, RegistryClient
from gli_tasks.rehearsal.registry.server import OciRegistry
from tests.conftest import missing

from .conftest import AUTH, Build, make_context

FILES = {"Dockerfile": "FROM x\nCOPY a /a\nLABEL app=api", "a": "content"}


def push(client: docker.DockerClient, name: str, auth: dict[str, str] | None = AUTH, **options) -> list[dict]:
    return list(client.api.push(name, stream=True, decode=True, auth_config=auth, **options))


def test_it_says_what_it_is(client: docker.DockerClient) -> None:
    assert client.ping()
    assert client.version()["Version"] == "rehearsal-builder"
    assert client.api.api_version == "1.41"
    assert client.info()["OperatingSystem"] == "stand-in builder, not a Docker engine"


def test_a_unix_socket(tmp_path: Path) -> None:
    builder = StandInBuilder(tmp_path / "builder", tmp_path / "b.sock")
    client = docker.DockerClient(base_url=builder.url)
    image, _ = client.images.build(fileobj=make_context(FILES), custom_context=True, tag="a:1")
    assert client.images.get("a:1").id == image.id
    client.close()
    builder.stop()
    assert not (tmp_path / "b.sock").exists()


def test_names(client: docker.DockerClient, build: Build) -> None:
    build(FILES, tag="team/api:v1")
    image = client.images.get("team/api:v1")
    assert image.tag("team/api", "stable")
    assert client.images.get("team/api:stable").id == image.id
    assert client.images.get(image.id).tags == ["team/api:v1", "team/api:stable"]
    assert client.images.get(image.short_id).id == image.id
    build({**FILES, "a": "other"}, tag="team/api:v1")
    assert client.images.get("team/api:v1").id != image.id
    assert client.images.get(image.id).tags == ["team/api:stable"]
    with pytest.raises(ImageNotFound, match="No such image: nope:v1"):
        client.images.get("nope:v1")


def test_listing(client: docker.DockerClient, build: Build) -> None:
    build(FILES, tag="team/api:v1")
    build({**FILES, "a": "2"}, tag="team/web:v1", labels={"app": "web"})
    build({**FILES, "a": "3"})

    def tags(**filters) -> list[list[str]]:
        return sorted(image.tags for image in client.images.list(filters=filters))

    assert tags(label="app=api") == [[], ["team/api:v1"]]
    assert tags(label=["app", "app=web"]) == [["team/web:v1"]]
    assert tags(reference="team/*") == [["team/api:v1"], ["team/web:v1"]]
    assert tags(reference="team/api:v1") == [["team/api:v1"]]
    assert tags(dangling=True) == [[]]
    assert [image.tags for image in client.images.list(name="team/api")] == [["team/api:v1"]]
    with pytest.raises(APIError, match="invalid filter 'before'"):
        client.images.list(filters={"before": "x"})


def test_removing(client: docker.DockerClient, build: Build) -> None:
    build(FILES, tag="team/api:v1")
    image = client.images.get("team/api:v1")
    image.tag("team/api", "v2")
    with pytest.raises(APIError, match="must be forced"):
        client.images.remove(image.id)
    client.images.remove("team/api:v1")
    assert client.images.get(image.id).tags == ["team/api:v2"]
    client.images.remove("team/api:v2")
    assert client.images.list() == []
    with pytest.raises(ImageNotFound):
        client.images.remove(image.id)


def test_pushing(client: docker.DockerClient, build: Build, registry: OciRegistry) -> None:
    name = f"{registry.address}/team/api"
    build(FILES, tag=f"{name}:v1")
    lines = push(client, name, tag="v1")
    aux = lines[-1]["aux"]
    manifest = registry.store.manifest("team/api", "v1")
    assert manifest is not None
    assert aux == {"Tag": "v1", "Digest": manifest.digest, "Size": len(manifest.content)}
    assert lines[-2]["status"] == f"v1: digest: {manifest.digest} size: {len(manifest.content)}"
    assert any(line.get("status") == "Pushed" for line in lines)
    assert any(line.get("status") == "Pushing" and line["progressDetail"]["total"] for line in lines)
    image = client.images.get(f"{name}:v1")
    assert image.attrs["RepoDigests"] == [f"{name}@{manifest.digest}"]
    assert client.images.get(f"{name}@{manifest.digest}").id == image.id
    assert manifest.config is not None
    assert manifest.config.digest == image.id

    again = push(client, name, tag="v1")
    assert any(line.get("status") == "Layer already exists" for line in again)
    image.tag(f"{registry.address}/team/web", "v1")
    mounted = push(client, f"{registry.address}/team/web", tag="v1")
    assert any(line.get("status") == "Mounted from team/api" for line in mounted)
    image.tag(name, "v2")
    assert [line["aux"]["Tag"] for line in push(client, name) if "aux" in line] == ["v1", "v2"]


def test_pushes_that_are_refused(client: docker.DockerClient, build: Build, registry: OciRegistry) -> None:
    name = f"{registry.address}/team/api"
    build(FILES, tag=f"{name}:v1")
    image = client.images.get(f"{name}:v1")
    image.tag(f"{registry.address}/team/unknown", "v1")
    image.tag("registry.example.com/team/api", "v1")

    def error(*arguments, **options) -> str:
        last = push(client, *arguments, **options)[-1]
        assert last["errorDetail"]["message"] == last["error"]
        return last["error"]

    assert error(name, auth={}, tag="v1") == "no basic auth credentials"
    assert (
        error(name, auth={**AUTH, "password": "no"}, tag="v1")
        == "denied: Your authorization token has expired. Reauthenticate and try again."
    )
    assert error(f"{registry.address}/team/unknown", tag="v1").startswith(
        "name unknown: The repository with name 'team/unknown' does not exist"
    )
    assert "An image does not exist locally with the tag" in error(name, tag="v9")
    assert "registries on this machine alone" in error("registry.example.com/team/api", tag="v1")
    registry.stop()
    assert registry.address in error(name, tag="v1")
    with pytest.raises(NotFound, match="does not exist locally"):
        push(client, f"{registry.address}/team/none")


def test_login(client: docker.DockerClient, registry: OciRegistry) -> None:
    assert client.login(**AUTH, registry=registry.address, reauth=True)["Status"] == "Login Succeeded"
    with pytest.raises(APIError):
        client.login(username="AWS", password="no", registry=registry.address, reauth=True)


def test_the_rest_is_refused_with_a_sentence(client: docker.DockerClient) -> None:
    for call in (client.containers.list, client.networks.list, client.volumes.list):
        with pytest.raises(APIError, match="the stand-in builder does not serve") as raised:
            call()
        assert raised.value.response.status_code == 501
    with pytest.raises(APIError, match="is not served here"):
        docker.DockerClient(base_url=client.api.base_url, version="1.99").info()


def test_another_registry_takes_the_same_push(
    client: docker.DockerClient, build: Build, tmp_path: Path, free_port: int
) -> None:
    if shutil.which("docker-registry") is None:
        missing("docker-registry")
    address = f"127.0.0.1:{free_port}"
    config = tmp_path / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {tmp_path / 'peer'}\nhttp:\n  addr: {address}\n"
    )
    with subprocess.Popen(
        ["docker-registry", "serve", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
    ) as server:
        try:
            with RegistryClient(address, None) as registry:
                wait_for(registry)
                build(FILES, tag=f"{address}/team/api:v1")
                digest = push(client, f"{address}/team/api", tag="v1")[-1]["aux"]["Digest"]
                assert registry.resolve("team/api", "v1") == digest
                assert registry.tags("team/api") == ("v1",)
                manifest = registry.manifest("team/api", digest)
                registry.pull_blob("team/api", manifest.layers[0].digest, tmp_path / "layer")
                assert registry.resolve("team/api", "v9") is None
                assert registry.mount_blob("team/web", manifest.layers[0].digest, "team/api")
        finally:
            server.terminate()


def wait_for(registry: RegistryClient) -> None:
    import time

    from gli_tasks.rehearsal.registry.client import RegistryError

    deadline = time.monotonic() + 10
    while True:
        try:
            registry.check()
            return
        except RegistryError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_stopping_ends_every_thread(tmp_path: Path) -> None:
    import threading

    before = set(threading.enumerate())
    builder = StandInBuilder(tmp_path / "builder")
    client = docker.DockerClient(base_url=builder.url)
    client.ping()
    builder.stop()
    client.close()
    assert set(threading.enumerate()) <= before


def test_credentials_are_not_shown() -> None:
    assert "secret" not in repr(Credentials("AWS", "secret"))
