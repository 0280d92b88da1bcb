"""Containers on a real Docker engine, from the same registry and with the same manners as processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import docker
import pytest

from gli_tasks.rehearsal.registry.server import OciRegistry
from gli_tasks.rehearsal.runtime.base_image import base_image_name, ensure_base_image
from gli_tasks.rehearsal.runtime.container import ContainerRuntime
from gli_tasks.rehearsal.runtime.contract import (
    CannotPullContainer,
    CannotStartContainer,
    ContainerExit,
    ContainerHealth,
)
from gli_tasks.rehearsal.runtime.sweep import owner_of, remove_images_of, sweep

from .conftest import CREDENTIALS, FILES, Images, eventually, make_check, make_spec

pytestmark = pytest.mark.docker
LABEL = "gli.rehearsal.test"


@pytest.fixture
def engine(docker_engine: str) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=docker_engine)
    yield client
    client.close()


@pytest.fixture
def run() -> str:
    return uuid.uuid4().hex[:12]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OciRegistry]:
    """One registry for all: the base layer takes seconds to pack and push."""
    server = OciRegistry(
        tmp_path_factory.mktemp("registry"),
        authenticate=lambda user, password: (user, password) == (CREDENTIALS.user, CREDENTIALS.password),
        repository_exists={"team/api"}.__contains__,
    )
    yield server
    server.stop()


@pytest.fixture
def images(engine: docker.DockerClient, docker_engine: str, registry: OciRegistry) -> Iterator[Images]:
    ensure_base_image(docker_engine)
    yield Images(engine, registry.address)
    remove_images_of(engine, registry.address)


@pytest.fixture
def image(images: Images) -> str:
    return images.push("v1", buildargs={"BASE_IMAGE": base_image_name()})


@pytest.fixture
def runtime(docker_engine: str, engine: docker.DockerClient, registry: OciRegistry, run: str, images: Images):
    """Start a runtime that ends before the images go: an image in use cannot be removed whole."""
    runtime = ContainerRuntime(
        docker_engine, label=LABEL, run=run, registry=registry.address, credentials=lambda: CREDENTIALS
    )
    yield runtime
    runtime.close()
    assert left_over(engine, run) == ([], [])


def left_over(engine: docker.DockerClient, run: str) -> tuple[list, list]:
    wanted = {"label": f"{LABEL}={run}"}
    return engine.api.containers(all=True, filters=wanted), engine.api.networks(filters=wanted)


def images_of(engine: docker.DockerClient, registry: OciRegistry) -> list[str]:
    names = [name for image in engine.api.images() for name in image["RepoTags"] or ()]
    return [name for name in names if name.startswith(f"{registry.address}/")]


def ask(address: str) -> dict[str, str]:
    with build_opener(ProxyHandler({})).open(f"http://{address}:8000/", timeout=5) as answer:
        return json.load(answer)


def test_a_service_runs_on_its_own_address(
    runtime: ContainerRuntime, engine: docker.DockerClient, registry: OciRegistry, image: str
) -> None:
    remove_images_of(engine, registry.address)  # so that the engine has to pull it
    lines: list[str] = []
    first, second = (make_spec(image, environment={"GIVEN": "1"}, user="app") for _ in range(2))
    containers = [runtime.start(spec, lines.append) for spec in (first, second)]
    eventually(lambda: lines.count("listening") == 2)
    environment = ask(first.address)
    assert environment["GIVEN"] == "1"
    assert not {"BIND_ADDRESS", "TASK_ADDRESS"} & set(environment)
    assert ask(second.address)["HOSTNAME"] != environment["HOSTNAME"]
    assert containers[0].image_digest == image.partition("@")[2]
    attributes = engine.api.inspect_container(containers[0].runtime_id)
    assert attributes["Config"]["Labels"][f"{LABEL}.owner"] == owner_of(os.getpid())
    assert attributes["Config"]["User"] == "app"


def test_the_network_reaches_this_machine(runtime: ContainerRuntime, image: str) -> None:
    with socket.create_server((runtime.gateway, 0)) as server:
        server.settimeout(10)
        script = f"import socket; socket.create_connection(('{runtime.gateway}', {server.getsockname()[1]}), 5)"
        container = runtime.start(make_spec(image, command=("python3", "-c", script), ports=()), print)
        server.accept()[0].close()
    assert eventually(container.exited).code == 0


def test_an_image_by_tag(runtime: ContainerRuntime, image: str) -> None:
    tagged = f"{image.partition('@')[0]}:v1"
    container = runtime.start(make_spec(tagged, environment={"FAULT": "exit", "CODE": "0"}), print)
    assert container.image_digest == image.partition("@")[2]


def test_exit_codes_and_every_line(runtime: ContainerRuntime, image: str) -> None:
    lines: list[str] = []
    container = runtime.start(make_spec(image, environment={"FAULT": "exit", "CODE": "3"}), lines.append)
    assert eventually(container.exited) == ContainerExit(code=3, out_of_memory=False)
    assert sorted(lines) == ["last words without an end", "no way", "starting /app"]
    more: list[str] = []
    container = runtime.start(make_spec(image, environment={"FAULT": "lines", "COUNT": "5000"}), more.append)
    eventually(container.exited)
    assert more[1:] == [f"line {number}" for number in range(5000)]


@pytest.mark.parametrize(("fault", "code"), [("", 0), ("stubborn", 137)])
def test_stopping(runtime: ContainerRuntime, image: str, fault: str, code: int) -> None:
    lines: list[str] = []
    container = runtime.start(make_spec(image, environment={"FAULT": fault}), lines.append)
    eventually(lambda: "listening" in lines)
    assert container.stop(0.5 if fault else 10).code == code
    assert container.exited() == container.stop(1)


def test_out_of_memory(runtime: ContainerRuntime, image: str) -> None:
    limited = make_spec(image, environment={"FAULT": "memory"}, memory_bytes=64 * 1024 * 1024)
    container = runtime.start(limited, print)
    assert eventually(container.exited) == ContainerExit(code=137, out_of_memory=True)


def test_health(runtime: ContainerRuntime, engine: docker.DockerClient, image: str) -> None:
    container = runtime.start(make_spec(image, health_check=make_check()), print)
    assert container.health() is ContainerHealth.UNKNOWN
    eventually(lambda: container.health() is ContainerHealth.HEALTHY)
    engine.containers.get(container.runtime_id).exec_run(["python3", "-c", "open('broken', 'w')"])
    eventually(lambda: container.health() is ContainerHealth.UNHEALTHY)


def test_what_cannot_be_pulled(runtime: ContainerRuntime, registry: OciRegistry) -> None:
    def reason(name: str) -> str:
        with pytest.raises(CannotPullContainer) as raised:
            runtime.start(make_spec(name), print)
        return str(raised.value)

    own = f"{registry.address}/team/api"
    prefix = "CannotPullContainerError: Error response from daemon: "
    assert reason(f"{own}:v9") == (
        f"{prefix}manifest for {own}:v9 not found: manifest unknown: Requested image not found"
    )
    missing = f"{own}@sha256:{'0' * 64}"
    assert reason(missing).startswith(f"{prefix}manifest for {missing} not found")
    assert "does not exist" in reason(f"{registry.address}/team/no:v1")
    assert "its own registry alone" in reason("redis:7")


def test_what_cannot_be_started(runtime: ContainerRuntime, engine: docker.DockerClient, image: str, run: str) -> None:
    def reason(spec) -> str:
        with pytest.raises(CannotStartContainer) as raised:
            runtime.start(spec, print)
        return str(raised.value)

    assert 'exec: "nope": executable file not found in $PATH' in reason(make_spec(image, command=("nope",)))
    spec = make_spec(image)
    with socket.create_server((spec.address, 8000)):
        assert "address already in use" in reason(spec)
    assert left_over(engine, run)[0] == []


def test_a_program_of_another_format_ends_at_once(runtime: ContainerRuntime, images: Images) -> None:
    image = images.push("bad", {**FILES, "junk": "\x7fno program"}, buildargs={"BASE_IMAGE": base_image_name()})
    lines: list[str] = []
    container = runtime.start(make_spec(image, command=("/app/junk",)), lines.append)
    assert eventually(container.exited).code in (1, 255)  # the code depends on the engine's age
    assert lines == ["exec /app/junk: exec format error"]


def test_the_registry_has_what_the_engine_pushed(images: Images, image: str, registry: OciRegistry) -> None:
    digest = image.partition("@")[2]
    manifest = registry.store.manifest("team/api", "v1")
    assert manifest is not None
    assert manifest.digest == digest
    assert all(registry.store.blob("team/api", blob) for blob in manifest.blobs)


def test_closing_leaves_nothing(
    docker_engine: str, engine: docker.DockerClient, registry: OciRegistry, image: str, run: str
) -> None:
    before = set(threading.enumerate())
    runtime = ContainerRuntime(
        docker_engine, label=LABEL, run=run, registry=registry.address, credentials=lambda: CREDENTIALS
    )
    container = runtime.start(make_spec(image, health_check=make_check()), print)
    runtime.close()
    assert container.exited() is not None
    assert left_over(engine, run) == ([], [])
    assert images_of(engine, registry) == []
    eventually(lambda: {each for each in threading.enumerate() if each.name.startswith("rehearsal ")} <= before)


PARENT = """\
import sys, time
from gli_tasks.rehearsal.registry.client import Credentials
from gli_tasks.rehearsal.runtime.container import ContainerRuntime
from tests.rehearsal.runtime.conftest import make_spec

host, label, run, registry, image = sys.argv[1:6]
runtime = ContainerRuntime(
    host, label=label, run=run, registry=registry, credentials=lambda: Credentials("AWS", "a-password")
)
runtime.start(make_spec(image), lambda line: print(line, flush=True))
time.sleep(600)
"""


def test_a_dead_run_is_swept(
    docker_engine: str, engine: docker.DockerClient, registry: OciRegistry, image: str, run: str
) -> None:
    top = Path(__file__).parents[3]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, docker_engine, LABEL, run, registry.address, image],
        stdout=subprocess.PIPE,
        text=True,
        cwd=top,
        env={**os.environ, "PYTHONPATH": str(top)},
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith("starting")
        assert sweep(docker_engine, LABEL).containers == 0  # it lives: not left over
        containers, networks = left_over(engine, run)
        assert (len(containers), len(networks)) == (1, 1)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    eventually(lambda: left_over(engine, run) == ([], []))
    eventually(lambda: images_of(engine, registry) == [])


def test_a_sweep_without_a_warden(docker_engine: str, engine: docker.DockerClient, image: str, run: str) -> None:
    labels = {LABEL: run, f"{LABEL}.owner": "999999999:1"}
    engine.containers.create(image, labels=labels)
    engine.networks.create(f"sweep-{run}", labels=labels)
    swept = sweep(docker_engine, LABEL)
    assert (swept.containers, swept.networks) == (1, 1)
    assert left_over(engine, run) == ([], [])


def test_the_base_image(docker_engine: str, engine: docker.DockerClient) -> None:
    name = ensure_base_image(docker_engine)
    assert name == base_image_name() == ensure_base_image(docker_engine)
    script = "import asyncio, ctypes, hashlib, json, sqlite3, ssl, sys, zlib; print(sys.version)"
    output = engine.containers.run(name, ["python3", "-c", script], user="app", remove=True, network_mode="none")
    assert output.decode().strip() == sys.version
    shell = engine.containers.run(name, ["/bin/sh", "-c", "python -c 'print(1)'; : > /tmp/x && echo ok"], remove=True)
    assert shell == b"1\nok\n"
