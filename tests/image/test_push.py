"""Pushes that are cut off: tried again, ended with the cause, and never half a tag."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import docker
import httpx
import pytest

from gli_tasks.errors import PushFailed
from gli_tasks.image.build import build_image
from gli_tasks.image.plan import CONTENT_KEY
from gli_tasks.image.push import push_image
from gli_tasks.rehearsal.registry.server import OciRegistry
from gli_tasks.rehearsal.runtime.sweep import remove_images_of
from tests.image.image_parts import RealRegistry, Registry, write_source

KEY = "a1" * 32
CONTENT_TAG = f"source-{'a1' * 20}"


def build_large(folder: Path, name: str, size: int) -> None:
    source = write_source(folder, "FROM scratch\nCOPY app.py /\nCOPY large /\n")
    (source / "large").write_bytes(os.urandom(size))
    build_image(source, name, labels={CONTENT_KEY: KEY}, arguments={}, on_line=lambda _: None)


def once(holds: Callable[[], bool], then: Callable[[], None]) -> threading.Thread:
    """Do something, in a thread, as soon as something holds."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def arriving(root: Path) -> bool:
    """Tell whether docker-registry has part of a large layer."""
    uploads = (root / "peer").glob("docker/registry/v2/repositories/*/_uploads/*/data")
    return any(path.stat().st_size > 1_000_000 for path in uploads if path.exists())


def end_of_a_push_whose_registry_is_killed(registry: Registry, peer: RealRegistry, root: Path) -> tuple[str, list[str]]:
    """Kill docker-registry while a large layer arrives; return the error, and what its operator was told."""
    build_large(root / "source", f"{peer.host}/team-api:c", 40_000_000)
    killer = once(lambda: arriving(root), peer.kill)
    lines: list[str] = []
    with pytest.raises(PushFailed) as caught:
        push_image(registry.ecr, peer.host, "team-api", "c", pause_s=0.2, on_line=lines.append)
    killer.join(60)
    peer.start()
    # Nothing is tagged: the repository is not even known by name.
    assert httpx.get(f"http://{peer.host}/v2/team-api/tags/list").status_code == 404
    assert httpx.get(f"http://{peer.host}/v2/team-api/manifests/{CONTENT_TAG}").status_code == 404
    return str(caught.value), lines


def test_a_registry_that_dies_is_the_cause(
    engine: docker.DockerClient, registry: Registry, real_registry: RealRegistry, tmp_path: Path
) -> None:
    error, lines = end_of_a_push_whose_registry_is_killed(registry, real_registry, tmp_path)
    assert f"the push of {real_registry.host}/team-api:c failed, 3 of 3 times" in error
    assert "next: see whether the registry answers, then start again" in error
    assert [line for line in lines if "the push was cut off" in line and line.endswith("again in 0.2 s")]


@pytest.mark.docker
def test_a_registry_that_dies_is_the_cause_with_a_real_engine(
    docker_engine: str, registry: Registry, real_registry: RealRegistry, tmp_path: Path
) -> None:
    """Some 50 s: the engine itself tries a layer five times before it gives up."""
    client = docker.DockerClient(base_url=docker_engine)
    try:
        error, lines = end_of_a_push_whose_registry_is_killed(registry, real_registry, tmp_path)
    finally:
        remove_images_of(client, real_registry.host)
        client.close()
    assert "failed, 3 of 3 times" in error
    assert "connection refused" in error
    assert len([line for line in lines if "the push was cut off" in line]) == 2


def test_a_registry_that_comes_back_gets_the_image(
    each_engine: docker.DockerClient, registry: Registry, tmp_path: Path
) -> None:
    build_large(tmp_path / "source", f"{registry.host}/team-api:c", 1_000_000)
    registry.server.stop()
    root, (host, _, port) = tmp_path / "registry", registry.host.partition(":")
    revived: list[OciRegistry] = []

    def revive(line: str) -> None:
        if "the push was cut off" in line:
            revived.append(
                OciRegistry(
                    root,
                    authenticate=lambda _user, _password: True,
                    repository_exists=lambda _: True,
                    host=host,
                    port=int(port),
                )
            )

    try:
        done = push_image(registry.ecr, registry.host, "team-api", "c", pause_s=0.2, on_line=revive)
    finally:
        for server in revived:
            server.stop()
    assert len(revived) == 1
    assert set(done.tags) == {"c", CONTENT_TAG}


def test_a_push_that_cannot_work_is_not_tried_again(
    engine: docker.DockerClient, registry: Registry, tmp_path: Path
) -> None:
    lines: list[str] = []
    with pytest.raises(PushFailed, match=r"build it first: `invoke image\.build`"):
        push_image(registry.ecr, registry.host, "team-api", "none", on_line=lines.append)
    build_large(tmp_path / "source", f"{registry.host}/team-absent:c", 1)
    with pytest.raises(PushFailed, match="ECR has no repository 'team-absent'"):
        push_image(registry.ecr, registry.host, "team-absent", "c", on_line=lines.append)
    assert not [line for line in lines if "again in" in line]


def test_tries_end_with_the_time(engine: docker.DockerClient, registry: Registry, tmp_path: Path) -> None:
    build_large(tmp_path / "source", f"{registry.host}/team-api:c", 1)
    registry.server.stop()
    started = time.monotonic()
    with pytest.raises(PushFailed, match="failed, 1 of 3 times"):
        push_image(registry.ecr, registry.host, "team-api", "c", timeout_s=1, pause_s=30, on_line=lambda _: None)
    assert time.monotonic() - started < 10
