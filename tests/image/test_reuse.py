"""An equal image is neither built nor pushed again."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
import pytest

from gli_tasks.errors import AwsCallFailed, BuildFailed, PushFailed
from gli_tasks.image.build import build_image
from gli_tasks.image.content import Base, Content
from gli_tasks.image.plan import CONTENT_KEY, content_tags, second_tag
from gli_tasks.image.reuse import adopt, find_reusable
from gli_tasks.image.service import Provided, build_service, provide_image, service_content
from gli_tasks.registry import find_digest, find_image
from gli_tasks.rehearsal.runtime.sweep import remove_images_of
from gli_tasks.settings.model import EcsService
from gli_tasks.source import read_source
from tests.image.image_parts import Checkout, RealRegistry, Registry, write_source

SERVICE = EcsService(
    kind="ecs",
    source=Path(),
    repository="team-api",
    service="api",
    task_definition="api.json",
    container="api",
    port=80,
    target_group="api",
    host="api.example.com",
)


def provide(registry: Registry, checkout: Checkout, **arguments: str) -> tuple[Provided, list[str]]:
    lines: list[str] = []
    service = dataclasses.replace(SERVICE, source=checkout.folder, build_arguments=arguments)
    return provide_image(registry.ecr, service, registry.host, on_line=lines.append), lines


def writes(registry: Registry) -> list[str]:
    """Return, as they come, the operations of ECR that are asked for."""
    seen: list[str] = []
    registry.ecr.meta.events.register("before-call.ecr", lambda model, **_: seen.append(model.name))
    return seen


def test_what_was_built_is_pushed_under_its_content_and_its_commit(
    each_engine: docker.DockerClient, registry: Registry, checkout: Checkout
) -> None:
    done, _ = provide(registry, checkout)
    commit = checkout.git("rev-parse", "HEAD")
    assert done.built
    assert registry.server.store.tags("team-api") == {
        commit: done.image.digest,
        done.content.tag: done.image.digest,
    }
    assert set(done.image.tags) == {commit, done.content.tag}
    labels = each_engine.images.get(f"{registry.host}/team-api:{commit}").labels
    assert labels[CONTENT_KEY] == done.content.key
    made = datetime.fromtimestamp(int(checkout.git("show", "-s", "--format=%ct")), UTC)
    assert labels["org.opencontainers.image.created"] == f"{made:%Y-%m-%dT%H:%M:%SZ}"


def test_a_commit_that_changes_nothing_of_the_image_only_gets_its_tag(
    each_engine: docker.DockerClient, registry: Registry, checkout: Checkout
) -> None:
    first, _ = provide(registry, checkout)
    commit = checkout.commit("of another service", **{"../web": "x"})
    seen = writes(registry)
    images = len(each_engine.images.list())
    second, lines = provide(registry, checkout)
    assert (second.built, second.image.digest, lines) == (False, first.image.digest, [])
    assert commit in second.image.tags
    assert seen.count("PutImage") == 1
    assert len(each_engine.images.list()) == images
    seen.clear()
    third, _ = provide(registry, checkout)
    assert third.image == second.image
    assert seen == ["DescribeImages"]


def test_the_same_source_built_twice_is_one_image(engine: docker.DockerClient, checkout: Checkout) -> None:
    service = dataclasses.replace(SERVICE, source=checkout.folder)
    source = read_source(checkout.folder)
    content = service_content(service, source)
    first, second = (build_service(service, "r", source, content, on_line=lambda _: None) for _ in range(2))
    assert first == second


def test_an_image_says_what_was_there_when_it_was_built(engine: docker.DockerClient, checkout: Checkout) -> None:
    """A check of the build, or a person, wrote into the folder after it was looked at."""
    checkout.commit("ignore", __gitignore="left\n")
    service = dataclasses.replace(SERVICE, source=checkout.folder)
    source = read_source(checkout.folder)
    before = service_content(service, source)
    checkout.write("api/left", "by a check")
    image = build_service(service, "r", source, before, on_line=lambda _: None)
    key = engine.images.get(image).labels[CONTENT_KEY]
    assert key == service_content(service, source).key
    assert key not in ("", before.key)


def test_a_dirty_source_is_built_each_time_and_only_tagged_as_dirty(
    engine: docker.DockerClient, registry: Registry, checkout: Checkout
) -> None:
    checkout.write("api/app.py", "print('changed')")
    done, lines = provide(registry, checkout)
    assert provide(registry, checkout)[0].built
    commit = checkout.git("rev-parse", "HEAD")
    assert registry.server.store.tags("team-api") == {f"{commit}-dirty": done.image.digest}
    assert any("differs from its commit" in line for line in lines)


def test_another_image_of_a_commit_takes_its_tag(
    engine: docker.DockerClient, registry: Registry, checkout: Checkout
) -> None:
    first, _ = provide(registry, checkout, A="1")
    second, _ = provide(registry, checkout, A="2")
    tag = second.source.image_tag
    assert second.built
    assert registry.server.store.tags("team-api")[tag] == second.image.digest
    back, _ = provide(registry, checkout, A="1")
    assert (back.built, back.image.digest) == (False, first.image.digest)
    assert registry.server.store.tags("team-api")[tag] == first.image.digest


def test_where_no_tag_may_move_another_image_of_a_commit_gets_a_second_one(
    engine: docker.DockerClient, registry: Registry, checkout: Checkout
) -> None:
    registry.immutable.add("team-api")
    first, _ = provide(registry, checkout, A="1")
    second, _ = provide(registry, checkout, A="2")
    tag = second.source.image_tag
    assert registry.server.store.tags("team-api") == {
        tag: first.image.digest,
        f"{tag}-{second.content.key[:8]}": second.image.digest,
        first.content.tag: first.image.digest,
        second.content.tag: second.image.digest,
    }
    again, _ = provide(registry, checkout, A="2")
    assert (again.built, again.image.digest) == (False, second.image.digest)
    assert provide(registry, checkout, A="1")[0].image.digest == first.image.digest


def test_an_image_that_does_not_say_what_it_is_made_of_counts_by_its_commit(
    engine: docker.DockerClient, registry: Registry, checkout: Checkout
) -> None:
    done, _ = provide(registry, checkout)
    tag = done.source.image_tag
    registry.server.store.delete_tag("team-api", done.content.tag)
    found = find_reusable(registry.ecr, "team-api", tag, done.content)
    assert found is not None
    assert found.digest == done.image.digest
    unknown = Content("", (), "a base could not be asked for")
    assert find_reusable(registry.ecr, "team-api", tag, unknown) == found
    assert find_reusable(registry.ecr, "team-api", tag, dataclasses.replace(unknown, dirty=True)) is None
    assert find_reusable(registry.ecr, "team-api", "d" * 40, done.content) is None


def test_an_image_gets_no_tag_that_others_hold(
    engine: docker.DockerClient, registry: Registry, checkout: Checkout
) -> None:
    first, _ = provide(registry, checkout, A="1")
    second, _ = provide(registry, checkout, A="2")
    store = registry.server.store
    taken = second_tag("t", second.image.tags, second.image.digest)
    for tag in ("t", taken):
        adopt(registry.ecr, first.image, tag)
    registry.immutable.add("team-api")
    with pytest.raises(PushFailed, match=r"other images have t and t-[0-9a-f]{8}, and tags are immutable"):
        adopt(registry.ecr, second.image, "t")
    assert store.tags("team-api")["t"] == first.image.digest


def test_a_tag_whose_answer_was_lost_is_seen_to_be_there(
    engine: docker.DockerClient, registry: Registry, checkout: Checkout
) -> None:
    done, _ = provide(registry, checkout)
    stale = find_digest(registry.ecr, "team-api", done.image.digest)
    assert stale is not None
    adopt(registry.ecr, stale, "t")
    assert "t" in adopt(registry.ecr, stale, "t").tags
    registry.immutable.add("team-api")
    assert "t" in adopt(registry.ecr, stale, "t").tags
    assert len(registry.server.store.tags("team-api")) == 3


def test_a_push_finds_that_someone_else_was_quicker(
    engine: docker.DockerClient, registry: Registry, checkout: Checkout
) -> None:
    """Immutable tags, and an equal image pushed between our look and our push."""
    from gli_tasks.image.push import push_image

    done, _ = provide(registry, checkout)
    tag = done.source.image_tag
    registry.server.store.delete_tag("team-api", tag)
    registry.immutable.add("team-api")
    lines: list[str] = []
    pushed = push_image(registry.ecr, registry.host, "team-api", tag, on_line=lines.append)
    assert pushed.digest == done.image.digest
    assert tag in pushed.tags
    assert f"team-api:{done.content.tag} is in the registry already" in lines


def test_second_tags() -> None:
    digest = f"sha256:{'d' * 64}"
    assert second_tag("c", ("x", "source-" + "a1" * 20), digest) == "c-a1a1a1a1"
    assert second_tag("c", ("x", "source-of-something"), digest) == "c-dddddddd"
    assert content_tags(("source-x", "source-" + "a" * 40, "a" * 40)) == ("source-" + "a" * 40,)


@pytest.mark.parametrize("cut", ["imageDetails", "repositoryName", "imageDigest"])
def test_an_answer_cut_short_is_said(
    engine: docker.DockerClient, registry: Registry, checkout: Checkout, cut: str
) -> None:
    done, _ = provide(registry, checkout)

    def shorten(parsed: dict[str, Any], **_: Any) -> None:
        parsed.pop(cut, None)
        for detail in parsed.get("imageDetails", []):
            detail.pop(cut, None)

    registry.ecr.meta.events.register("after-call.ecr.DescribeImages", shorten)
    with pytest.raises(AwsCallFailed, match=f"ECR's answer to DescribeImages lacks {cut}"):
        find_image(registry.ecr, "team-api", done.source.image_tag)


@pytest.mark.docker
def test_a_base_that_moved_is_a_new_image_of_the_same_commit(
    docker_engine: str,
    monkeypatch: pytest.MonkeyPatch,
    registry: Registry,
    real_registry: RealRegistry,
    checkout: Checkout,
    tmp_path: Path,
) -> None:
    engine = docker.DockerClient(base_url=docker_engine)
    name = f"{real_registry.host}/base"

    def release_base(text: str) -> str:
        (tmp_path / "base").mkdir(exist_ok=True)
        write_source(tmp_path / "base", "FROM scratch\nCOPY app.py /base.py\n").joinpath("app.py").write_text(text)
        engine.images.build(path=str(tmp_path / "base"), tag=f"{name}:1", rm=True)
        events = list(engine.api.push(name, tag="1", stream=True, decode=True, auth_config={"username": "x"}))
        return str(next(event["aux"]["Digest"] for event in events if event.get("aux", {}).get("Digest")))

    try:
        first_digest = release_base("1")
        checkout.commit("base", Dockerfile=f"FROM {name}:1\nCOPY app.py /app.py\n")
        first, _ = provide(registry, checkout)
        assert first.content.bases == (Base(f"{name}:1", first_digest, "registry"),)
        labels = engine.images.get(f"{registry.host}/team-api:{first.source.image_tag}").labels
        assert labels["org.opencontainers.image.base.name"] == f"{name}:1"
        assert labels["org.opencontainers.image.base.digest"] == first_digest
        assert not provide(registry, checkout)[0].built
        second_digest = release_base("2")
        # The engine keeps the copy that it had, as one whose base was pushed from elsewhere.
        engine.api.remove_image(f"{name}:1", force=True)
        engine.api.pull(f"{name}@{first_digest}")
        engine.api.tag(f"{name}@{first_digest}", name, "1")
        second, lines = provide(registry, checkout)
        assert second.built
        assert second.content.base == Base(f"{name}:1", second_digest, "registry")
        assert any("it is pulled" in line for line in lines)
        assert first.image.digest != second.image.digest
        layers = [
            json.loads(manifest.content)["layers"]
            for digest in (first.image.digest, second.image.digest)
            if (manifest := registry.server.store.manifest("team-api", digest))
        ]
        assert layers[0][0] != layers[1][0]
        assert layers[0][1] == layers[1][1]
        real_registry.kill()
        third, lines = provide(registry, checkout)
        assert (third.built, third.image.digest) == (False, second.image.digest)
        assert any("could not be asked for" in line and "the engine's copy counts" in line for line in lines)
        with pytest.raises(BuildFailed, match="base"):
            build_image(
                checkout.folder,
                f"{registry.host}/team-api:x",
                labels={},
                arguments={},
                bases=[Base(f"{name}:1", f"sha256:{'9' * 64}", "registry")],
                on_line=lines.append,
            )
    finally:
        remove_images_of(engine, registry.host)
        remove_images_of(engine, real_registry.host)
        engine.close()
