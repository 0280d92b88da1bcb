"""The twin's engine and registry, and an ECR that describes what the registry really holds."""

from __future__ import annotations

import base64
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import docker
import pytest
from botocore.config import Config
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from gli_tasks.rehearsal.builder.engine import StandInBuilder
from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from gli_tasks.rehearsal.ecs.service import EcsService
from gli_tasks.rehearsal.registry.ecr import EcrImages
from gli_tasks.rehearsal.registry.server import OciRegistry
from gli_tasks.rehearsal.runtime.sweep import remove_images_of
from gli_tasks.rehearsal.wire import AwsService, Gateway
from tests.conftest import missing
from tests.ecs.rollout_parts import BareRuntime, Cluster, Meddler, NoLogs, NoSecrets, NoTargets, digest
from tests.image.image_parts import Checkout, Cloud, RealRegistry, Registry, write_source

ACCOUNT = "123456789012"
REPOSITORIES = ("team-api", "team-web")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[docker.DockerClient]:
    builder = StandInBuilder(tmp_path / "builder")
    monkeypatch.setenv("DOCKER_HOST", builder.url)
    client = docker.DockerClient(base_url=builder.url)
    yield client
    client.close()
    builder.stop()


@pytest.fixture(params=["stand-in", pytest.param("docker", marks=pytest.mark.docker)])
def each_engine(request: pytest.FixtureRequest) -> Iterator[docker.DockerClient]:
    """The stand-in, and a real Docker engine, from which goes what the registry's tests built."""
    if request.param == "stand-in":
        yield request.getfixturevalue("engine")
        return
    host = request.getfixturevalue("docker_engine")
    address = request.getfixturevalue("registry").host
    client = docker.DockerClient(base_url=host)
    yield client
    remove_images_of(client, address)
    client.close()


@contextmanager
def registry_with(root: Path, *services: AwsService) -> Iterator[Registry]:
    password: list[str] = []
    immutable: set[str] = set()
    server = OciRegistry(
        root,
        authenticate=lambda user, given: user == "AWS" and [given] == password,
        repository_exists=REPOSITORIES.__contains__,
        tag_is_immutable=lambda repository, _tag: repository in immutable,
        account=ACCOUNT,
    )
    images = EcrImages(
        server.store,
        repository_exists=REPOSITORIES.__contains__,
        tag_is_immutable=lambda repository, _tag: repository in immutable,
        account=ACCOUNT,
    )
    gateway = Gateway(DomainDispatcherApplication(create_backend_app), [images, *services])
    asked: list[str] = []

    def noting(environ: dict[str, Any], start_response: Any) -> Any:
        target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        asked.append(target or f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        return gateway(environ, start_response)

    web = make_server("127.0.0.1", 0, noting, threaded=True)
    thread = threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{web.server_port}"
    ecr = client("ecr", url)
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    password.append(base64.b64decode(token).decode().partition(":")[2])
    yield Registry(ecr, server.address, server, immutable, url, asked)
    ecr.close()
    web.shutdown()
    web.server_close()
    thread.join(5)
    server.stop()


def client(service: str, url: str) -> Any:
    return boto3.client(
        service,
        region_name="ap-northeast-2",
        endpoint_url=url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with registry_with(tmp_path / "registry") as made:
        yield made


def _nobody_meddles(_environ: dict[str, Any], _start_response: Any) -> list[bytes]:
    raise AssertionError("these tests meddle with answers on the client's side")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """The registry with the twin's ECS beside it, whose containers are bare processes, and moto for the rest."""
    runtime = BareRuntime()
    plane = EcsControlPlane(
        runtime, digest, NoTargets(), NoLogs(), NoSecrets(), time_scale=0.004, provisioning_delay_s=2, pace_s=0.01
    )
    plane.start()
    with registry_with(tmp_path / "registry", EcsService(plane)) as made:
        ecs, s3 = client("ecs", made.url), client("s3", made.url)
        ecs.create_cluster(clusterName="main")
        yield Cloud(made, Cluster(ecs, tmp_path, Meddler(_nobody_meddles)), s3)
        ecs.close()
        s3.close()
    plane.stop()
    runtime.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "source")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "checkout")
    made.git("init", "--quiet", "--initial-branch=main")
    write_source(made.folder)
    made.commit("begin")
    return made


@pytest.fixture
def real_registry(tmp_path: Path) -> Iterator[RealRegistry]:
    if shutil.which("docker-registry") is None:
        missing("docker-registry")
    registry = RealRegistry(tmp_path)
    yield registry
    registry.kill()
