"""Images: built, pushed, and believed only by the digest that the registry shows."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
import pytest

from gli_tasks.errors import BuildFailed, PushFailed, UsageError
from gli_tasks.image.build import build_image
from gli_tasks.image.plan import labels, progress_line
from gli_tasks.image.push import push_image
from gli_tasks.registry import find_image, list_images
from tests.image.image_parts import BrokenEngine, Registry, write_source

LABELS = labels(
    commit="c" * 40, dirty=True, moment=datetime(2026, 3, 1, 4, 5, 6, tzinfo=UTC), source="api", version="cccccccccccc"
)


def build(source: Path, name: str, timeout_s: float = 30, lines: list[str] | None = None, **options: Any) -> str:
    on_line = (lines if lines is not None else []).append
    return build_image(source, name, labels=LABELS, arguments={}, timeout_s=timeout_s, on_line=on_line, **options)


def push(registry: Registry, repository: str, tag: str, **options: Any) -> str:
    options = {"pause_s": 0.01, "on_line": lambda _: None, **options}
    done = push_image(registry.ecr, registry.host, repository, tag, **options)
    return done.digest


@pytest.fixture(params=["cut", "junk", "silent", "refuse"])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[BrokenEngine]:
    engine = BrokenEngine(request.param)
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    yield engine
    engine.stop()


def test_labels_say_where_an_image_comes_from() -> None:
    assert LABELS["org.opencontainers.image.revision"] == "c" * 40
    assert LABELS["org.opencontainers.image.created"] == "2026-03-01T04:05:06Z"
    assert LABELS["com.glibiz.source-dirty"] == "true"
    assert all(isinstance(value, str) for value in LABELS.values())


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"stream": "Step 1/2 : FROM x\n"}, "Step 1/2 : FROM x"),
        ({"stream": "\n"}, ""),
        ({"status": "Pushing", "id": "abc", "progress": "[=> ]"}, ""),
        ({"status": "Pushed", "id": "abc"}, "abc: Pushed"),
        ({"status": "latest: digest: sha256:1"}, "latest: digest: sha256:1"),
        ({"aux": {"ID": "sha256:1"}}, ""),
        ({}, ""),
    ],
)
def test_an_event_of_the_engine_as_a_line(event: dict[str, object], line: str) -> None:
    assert progress_line(event) == line


def test_a_build_has_its_name_its_labels_and_its_lines(engine: docker.DockerClient, source: Path) -> None:
    lines: list[str] = []
    identity = build(source, "team-api:1", lines=lines)
    image = engine.images.get("team-api:1")
    assert image.id == identity
    assert image.labels == LABELS
    assert any("COPY app.py" in line for line in lines)


def test_a_failed_build_ends_with_its_last_lines(engine: docker.DockerClient, tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "FROM scratch\nCOPY app.py /\nCOPY absent.py /\n")
    with pytest.raises(BuildFailed) as caught:
        build(source, "team-api:1")
    assert "absent.py" in str(caught.value)
    assert "its last lines:\n" in str(caught.value)
    assert engine.images.list() == []


def test_no_dockerfile_is_said_before_an_engine_is_asked(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(UsageError, match=r"there is no Dockerfile\.prod"):
        build(source, "team-api:1", dockerfile="Dockerfile.prod")


def test_no_engine_is_said_with_where_it_was_looked_for(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("DOCKER_HOST", address)
        with pytest.raises(UsageError, match="no Docker engine answers") as caught:
            build(source, "team-api:1")
    assert address in str(caught.value)
    monkeypatch.setenv("DOCKER_HOST", "nonsense://")
    with pytest.raises(UsageError, match="no Docker engine answers"):
        build(source, "team-api:1")


def test_an_engine_that_breaks_off_a_build_is_a_failed_build(broken: BrokenEngine, source: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        build(source, "team-api:1", timeout_s=1)
    words = "no space left on device" if broken.how == "refuse" else "the build was cut off"
    assert words in str(caught.value)


def test_an_engine_that_breaks_off_a_push_is_a_failed_push(broken: BrokenEngine, registry: Registry) -> None:
    with pytest.raises(PushFailed) as caught:
        push(registry, "team-api", "1", timeout_s=1)
    words = "no space left on device" if broken.how == "refuse" else "was cut off"
    assert words in str(caught.value)


def test_what_was_pushed_is_what_the_registry_shows(
    engine: docker.DockerClient, registry: Registry, source: Path
) -> None:
    build(source, f"{registry.host}/team-api:1")
    digest = push(registry, "team-api", "1")
    assert registry.server.store.tags("team-api") == {"1": digest}
    found = find_image(registry.ecr, "team-api", "1")
    assert found is not None
    assert found.reference("r") == f"r/team-api@{digest}"
    assert push(registry, "team-api", "1") == digest
    assert [image.tags for image in list_images(registry.ecr, "team-api")] == [("1",)]


def test_a_push_of_what_was_not_built_fails(engine: docker.DockerClient, registry: Registry) -> None:
    with pytest.raises(PushFailed, match="team-api:none"):
        push(registry, "team-api", "none")


def test_a_push_to_a_repository_that_does_not_exist_fails(
    engine: docker.DockerClient, registry: Registry, source: Path
) -> None:
    build(source, f"{registry.host}/team-absent:1")
    with pytest.raises(PushFailed, match="team-absent:1"):
        push(registry, "team-absent", "1")
    with pytest.raises(UsageError, match="no repository 'team-absent'"):
        find_image(registry.ecr, "team-absent", "1")


def test_a_tag_that_someone_else_took_is_not_believed(
    engine: docker.DockerClient, registry: Registry, tmp_path: Path
) -> None:
    """The push went to one registry, and ECR tells of another image of this tag."""
    other = write_source(tmp_path / "other", "FROM scratch\nCOPY app.py /other.py\n")
    build(other, f"{registry.host}/team-api:1")
    theirs = push(registry, "team-api", "1")
    build(write_source(tmp_path / "mine"), f"{registry.host}/team-web:1")
    mine = push(registry, "team-web", "1")

    def beside(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**params, "repositoryName": "team-api"}

    registry.ecr.meta.events.register("provide-client-params.ecr.DescribeImages", beside)
    with pytest.raises(PushFailed) as caught:
        push(registry, "team-web", "1", read_back_s=0.1)
    assert f"{mine} was pushed to team-web:1, and the registry shows {theirs}" in str(caught.value)
