"""Which images may go, and that they are gone."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.errors import AwsCallFailed, Refused, UsageError
from gli_tasks.image.plan import Stored, content_tag, kept_digests, prunable
from gli_tasks.image.retention import delete_images, stored_images
from gli_tasks.image.running import images_in_use, proven_image
from gli_tasks.rehearsal.registry.manifest import DOCKER_MANIFEST, OCI_INDEX
from tests.ecs.rollout_parts import NETWORK, Cluster
from tests.floor_parts import steady
from tests.image.image_parts import Cloud, Registry

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NEVER = timedelta(0)


def named(number: int) -> str:
    return f"sha256:{number:064x}"


def of(number: int) -> str:
    """Return the tag of a commit."""
    return f"{number:040x}"


def stored(number: int, days: float | None, *tags: str, children: tuple[int, ...] = ()) -> Stored:
    pushed = None if days is None else NOW - timedelta(days=days)
    return Stored(named(number), tags, pushed, 10, tuple(map(named, children)))


@st.composite
def repositories(draw: st.DrawFn) -> list[Stored]:
    count = draw(st.integers(0, 12))
    images = []
    for number in range(count):
        # An index names images that were pushed before it.
        children = draw(st.sets(st.integers(0, number - 1), max_size=2)) if number else set()
        made = [(), (of(number),), (of(number), f"{content_tag(of(number))}"), (f"{of(number)}-dirty",)]
        tags = draw(st.sampled_from([*made, (of(number), "known-good")]))
        days = draw(st.one_of(st.none(), st.integers(0, 60)))
        images.append(stored(number, days, *tags, children=tuple(sorted(children))))
    return images


@steady
@given(
    repositories(),
    st.sets(st.integers(0, 14)).map(lambda numbers: frozenset(map(named, numbers))),
    st.integers(0, 5),
    st.integers(0, 40).map(lambda days: timedelta(days=days)),
)
def test_what_must_stay_stays(images: list[Stored], keep: frozenset[str], newest: int, young: timedelta) -> None:
    waves = prunable(images, keep, newest, young, NOW)
    goes = [image for wave in waves for image in wave]
    gone = {image.digest for image in goes}
    assert len(gone) == len(goes)
    assert set(goes) <= set(images)
    assert not gone & keep
    assert all(image.pushed_at is not None and NOW - image.pushed_at >= young for image in goes)
    assert not [image for image in goes if "known-good" in image.tags]
    parts = {child for image in images for child in image.children}
    whole = [image for image in images if image.tags and image.digest not in parts]
    newer_first = sorted(whole, key=lambda one: (one.pushed_at is None, one.pushed_at or NOW, one.digest), reverse=True)
    assert not gone & {image.digest for image in newer_first[:newest]}
    for image in images:
        # What stays is whole, and ECR deletes no image that an index still names.
        if image.digest not in gone:
            assert not gone & set(image.children)
        if set(image.children) & (keep | {one.digest for one in newer_first[:newest]}):
            assert image.digest not in gone
    for number, wave in enumerate(waves):
        later = {image.digest for following in waves[number + 1 :] for image in following}
        assert wave
        assert not {child for following in waves[number + 1 :] for image in following for child in image.children} & {
            image.digest for image in wave
        }
        assert later | {image.digest for image in wave} <= gone


@steady
@given(repositories(), st.integers(0, 5), st.integers(0, 40))
def test_to_delete_and_look_again_deletes_no_more(images: list[Stored], newest: int, days: int) -> None:
    young = timedelta(days=days)
    waves = prunable(images, frozenset(), newest, young, NOW)
    gone = {image for wave in waves for image in wave}
    assert prunable([one for one in images if one not in gone], frozenset(), newest, young, NOW) == ()


def test_by_number_age_and_need() -> None:
    images = [
        *(stored(number, days, of(number)) for number, days in ((1, 1), (2, 20), (3, 30), (4, 40))),
        stored(5, 50),
        stored(6, 60, f"{of(6)}-dirty"),
        *(
            stored(number, 90, of(number), tag)
            for number, tag in ((7, "known-good"), (8, "v1-dirty"), (9, "source-v1"))
        ),
    ]
    gone = [
        image.digest for wave in prunable(images, frozenset({named(4)}), 2, timedelta(days=14), NOW) for image in wave
    ]
    assert gone == [named(3), named(5), named(6)]


def test_an_index_goes_before_its_parts() -> None:
    images = [stored(1, 50), stored(2, 50), stored(3, 50, of(3), children=(1, 2)), stored(4, 1, of(4))]
    assert prunable(images, frozenset(), 1, NEVER, NOW) == ((images[2],), (images[0], images[1]))
    assert prunable(images, frozenset({named(1)}), 1, NEVER, NOW) == ()


def test_references_by_digest_and_by_tag() -> None:
    images = [stored(1, 1, "a", "latest"), stored(2, 1, "b"), stored(3, 1, "c")]
    found = kept_digests(
        images,
        [f"host:5000/team-api@{named(9)}", "host:5000/team-api:b", "host/other-team-api:c", "team-api", "busybox", ""],
        "team-api",
    )
    assert found == {named(9), named(2), named(1)}


def put(registry: Registry, number: int, tag: str = "") -> str:
    """Put an image without layers that no other one is equal to."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "author": str(number)}).encode()
    store = registry.server.store
    upload = store.begin_upload("team-api")
    upload.append([config])
    blob = f"sha256:{hashlib.sha256(config).hexdigest()}"
    store.finish_upload(upload, blob)
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": blob},
        "layers": [],
    }
    named_by = {"imageTag": tag} if tag else {}
    answer = registry.ecr.put_image(
        repositoryName="team-api",
        imageManifest=json.dumps(manifest),
        imageManifestMediaType=DOCKER_MANIFEST,
        **named_by,
    )
    return str(answer["image"]["imageId"]["imageDigest"])


def test_a_hundred_a_call_and_gone_at_the_end(registry: Registry) -> None:
    digests = [put(registry, number, f"t{number}") for number in range(3)]
    registry.asked.clear()
    # Those that are gone already are as good as deleted.
    gone = [named(number) for number in range(99)]
    delete_images(registry.ecr, "team-api", [[*gone, *digests[:2]], [named(100)], []])
    assert registry.asked.count("BatchDeleteImage") == 3
    assert registry.server.store.tags("team-api") == {"t2": digests[2]}


def test_an_index_and_its_parts_are_seen_and_deleted(registry: Registry) -> None:
    part = put(registry, 1)
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": DOCKER_MANIFEST, "size": 1, "digest": part}],
    }
    registry.ecr.put_image(
        repositoryName="team-api", imageManifest=json.dumps(index), imageManifestMediaType=OCI_INDEX, imageTag=of(9)
    )
    images = stored_images(registry.ecr, "team-api")
    whole = next(image for image in images if image.tags == (of(9),))
    assert whole.children == (part,)
    waves = prunable(images, frozenset(), 0, NEVER, datetime.now(UTC) + timedelta(days=1))
    assert [[image.digest for image in wave] for wave in waves] == [[whole.digest], [part]]
    with pytest.raises(AwsCallFailed) as caught:
        delete_images(registry.ecr, "team-api", [[part]])
    assert "1 of 1 images of team-api could not be deleted" in str(caught.value)
    assert "referenced by manifest list" in str(caught.value)
    delete_images(registry.ecr, "team-api", [[image.digest for image in wave] for wave in waves])
    assert stored_images(registry.ecr, "team-api") == ()


def test_what_is_said_to_be_deleted_and_is_still_there_is_an_error(registry: Registry) -> None:
    digest = put(registry, 1, "t")

    def nowhere(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**params, "repositoryName": "team-web"}

    registry.ecr.meta.events.register("provide-client-params.ecr.BatchDeleteImage", nowhere)
    with pytest.raises(AwsCallFailed, match=f"{digest}: it is still listed"):
        delete_images(registry.ecr, "team-api", [[digest]])


def settled(cluster: Cluster, service: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        found = cluster.ecs.describe_services(cluster="main", services=[service])["services"][0]["deployments"]
        if [one["rolloutState"] for one in found] == ["COMPLETED"]:
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_a_cluster_needs(cloud: Cloud) -> None:
    cluster, image = cloud.cluster, "host/team-api@sha256:{:064x}".format
    old = [cluster.register(image(number)) for number in range(3)]
    running = cluster.register("host/team-api:good")
    cluster.register(image(4))
    other = cluster.register(image(5), "once")
    unrelated = cluster.register(image(6), "nobody")
    cluster.create("api", running)
    settled(cluster, "api")
    cluster.ecs.run_task(cluster="main", taskDefinition=other, launchType="FARGATE", networkConfiguration=NETWORK)
    deadline = time.monotonic() + 20
    while len(cluster.ecs.list_tasks(cluster="main")["taskArns"]) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    found = images_in_use(cluster.ecs, "main", newest=3)
    digests = {name for name in found if name.startswith("host/team-api@")}
    assert "host/team-api:good" in found
    # The newest three of its family, the one-off task's, and what `good` was when its task started.
    assert {image(2), image(4), image(5)} < digests
    assert len(digests) == 4
    assert not found & {image(0), image(1), image(6)}
    assert len(old) == 3
    assert unrelated
    with pytest.raises(UsageError, match="there is no cluster 'none'"):
        images_in_use(cluster.ecs, "none")


def test_what_is_proven(cloud: Cloud) -> None:
    cluster = cloud.cluster
    cluster.create("api", cluster.register("host/team-api@sha256:" + "1" * 64))
    with pytest.raises(Refused, match="api of 'main' is not settled: its deployments are IN_PROGRESS"):
        proven_image(cluster.ecs, "main", "api", "api")
    settled(cluster, "api")
    assert proven_image(cluster.ecs, "main", "api", "api") == "host/team-api@sha256:" + "1" * 64
    for words, names in (
        ("no active service none", ("main", "none", "api")),
        ("there is no cluster 'no'", ("no", "api", "api")),
        ("runs no container 'web'", ("main", "api", "web")),
    ):
        with pytest.raises(UsageError, match=words):
            proven_image(cluster.ecs, *names)


@pytest.mark.parametrize(
    ("operation", "cut"),
    [
        ("ListServices", "serviceArns"),
        ("DescribeServices", "services"),
        ("DescribeServices", "taskDefinition"),
        ("ListTasks", "taskArns"),
        ("DescribeTasks", "taskDefinitionArn"),
        ("ListTaskDefinitions", "taskDefinitionArns"),
        ("DescribeTaskDefinition", "containerDefinitions"),
    ],
)
def test_nobody_deletes_on_an_answer_cut_short(cloud: Cloud, operation: str, cut: str) -> None:
    cluster = cloud.cluster
    cluster.create("api", cluster.register("host/team-api:good"))
    settled(cluster, "api")

    def shorten(parsed: dict[str, Any], **_: Any) -> None:
        for one in (parsed, parsed.get("taskDefinition"), *parsed.get("services", []), *parsed.get("tasks", [])):
            if isinstance(one, dict):
                one.pop(cut, None)

    cluster.ecs.meta.events.register(f"after-call.ecs.{operation}", shorten)
    with pytest.raises(AwsCallFailed, match=f"ECS's answer to {operation} lacks {cut}"):
        images_in_use(cluster.ecs, "main")
