"""One service back to what served before: chosen by record, checked, followed, believed by digest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from gli_tasks.ecs.prune import Revision
from gli_tasks.ecs.rollback import Target, find_target, previous_on_record, previous_revision, roll_back
from gli_tasks.ecs.services import read_services
from gli_tasks.errors import Refused, RolloutFailed
from gli_tasks.releases_on_record import ReleaseOnRecord, ServiceOnRecord
from tests.ecs.rollout_parts import ignore
from tests.ecs.stack_parts import Stack, manifest_of
from tests.floor_parts import ACCOUNT, REGION

REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


def release(number: int, definition: str, outcome: str = "healthy", back_to: int = 0) -> ReleaseOnRecord:
    services = {"api": ServiceOnRecord(definition, "", "")}
    return ReleaseOnRecord(f"r{number}", outcome, services, f"r{back_to}" if back_to else "")


def test_the_one_before_the_serving_one_is_chosen_and_never_one_that_failed() -> None:
    records = [release(4, "d4"), release(3, "d3", "failed"), release(2, "d2"), release(1, "d1")]
    assert previous_on_record(records, "api", "d4") == ("d2", "r2")
    assert previous_on_record(records, "api", "d2") == ("d1", "r1")
    assert previous_on_record(records, "api", "d1") == ("", "")


def test_a_version_that_no_healthy_release_names_goes_back_to_the_newest_that_one_does() -> None:
    records = [release(3, "d3", "failed"), release(2, "d2"), release(1, "d1")]
    assert previous_on_record(records, "api", "d3") == ("d2", "r2")
    assert previous_on_record(records, "api", "d9") == ("d2", "r2")


def test_what_was_left_by_a_rollback_is_passed_over() -> None:
    records = [release(4, "d1", back_to=1), release(3, "d3"), release(2, "d2"), release(1, "d1"), release(0, "d0")]
    assert previous_on_record(records, "api", "d1") == ("d0", "r0")


def test_the_same_version_released_twice_is_not_gone_back_to() -> None:
    records = [release(3, "d2"), release(2, "d2"), release(1, "d1")]
    assert previous_on_record(records, "api", "d2") == ("d1", "r1")


def test_records_that_do_not_name_the_service_say_nothing() -> None:
    other = ReleaseOnRecord("r1", "healthy", {"web": ServiceOnRecord("w1", "", ""), "api": ServiceOnRecord("", "", "")})
    assert previous_on_record([other], "api", "d2") == ("", "")
    assert previous_on_record([], "api", "d2") == ("", "")


def test_without_a_record_it_is_the_newest_older_active_revision_that_did_not_fail() -> None:
    revisions = [Revision(f"arn/api:{number}", number, number != 3) for number in (1, 2, 3, 4, 5, 10)]
    assert previous_revision(revisions, "arn/api:5", ()) == "arn/api:4"
    assert previous_revision(revisions, "arn/api:5", {"arn/api:4"}) == "arn/api:2"
    assert previous_revision(revisions, "arn/api:1", ()) == ""


@pytest.fixture
def repository(cloud: Stack) -> Iterator[Any]:
    """A repository with two images; their digests."""
    ecr = cloud.client("ecr")
    ecr.create_repository(repositoryName="shop-api")
    digests = []
    for tag in ("one", "two"):
        manifest = manifest_of(tag)
        answer = ecr.put_image(repositoryName="shop-api", imageManifest=manifest, imageTag=tag)
        digests.append(str(answer["image"]["imageId"]["imageDigest"]))
    yield digests
    ecr.delete_repository(repositoryName="shop-api", force=True)


def chosen(cloud: Stack, records: list[ReleaseOnRecord], wanted: str = "") -> Target:
    facts = read_services(cloud.ecs, "shop-cluster", ["shop-api"])["shop-api"]
    return find_target(
        cloud.ecs,
        cloud.client("ecr"),
        facts,
        records,
        name="api",
        wanted=wanted,
        container="api",
        registry=REGISTRY,
    )


def back(cloud: Stack, target: Target, **changes: Any) -> Any:
    facts = read_services(cloud.ecs, "shop-cluster", ["shop-api"])["shop-api"]
    options: dict[str, Any] = {
        "container": "api",
        "minimum_healthy_percent": 100,
        "maximum_percent": 200,
        "timeout_s": 20,
        "poll_s": 0.02,
        "on_change": ignore,
        **changes,
    }
    return roll_back(cloud.ecs, "shop-cluster", facts, target, **options)


def image(digest: str) -> str:
    return f"{REGISTRY}/shop-api@{digest}"


def test_a_service_goes_back_by_record_and_is_believed_by_digest(cloud: Stack, repository: list[str]) -> None:
    old, new = (cloud.register("serve", image=image(one)) for one in repository)
    cloud.serve(old, count=2)
    cloud.update(new)
    target = chosen(cloud, [release(2, new), release(1, old)])
    assert target == Target(old, "the record of release r1", repository[0])
    held: list[str] = []

    @contextlib.contextmanager
    def hold() -> Iterator[None]:
        held.append("taken")
        yield
        held.append(f"{cloud.service()['taskDefinition'] == old}")

    started = back(cloud, target, hold=hold())
    assert (started.task_definition_before, started.task_definition) == (new, old)
    assert held == ["taken", "True"]
    assert {one["taskDefinitionArn"] for one in cloud.tasks()} == {old}
    assert {one["containers"][0]["imageDigest"] for one in cloud.tasks()} == {repository[0]}


def test_without_records_the_source_is_said(cloud: Stack, repository: list[str]) -> None:
    old, new = (cloud.register("serve", image=image(one)) for one in repository)
    cloud.serve(old)
    cloud.update(new)
    target = chosen(cloud, [])
    assert target.task_definition == old
    assert target.source == "the active revisions of shop-api, since no record names an earlier one"


def test_a_rollout_under_way_is_left_for_what_served(cloud: Stack, repository: list[str]) -> None:
    good = cloud.register("serve", image=image(repository[0]))
    cloud.serve(good)
    bad = cloud.register("serve", image="missing/api:1")
    cloud.ecs.update_service(
        cluster="shop-cluster",
        service="shop-api",
        taskDefinition=bad,
        deploymentConfiguration={"deploymentCircuitBreaker": {"enable": False, "rollback": False}},
    )
    target = chosen(cloud, [release(1, good)])
    back(cloud, target)
    assert {one["taskDefinitionArn"] for one in cloud.tasks()} == {good}


def test_what_cannot_run_any_more_is_refused_with_why(cloud: Stack, repository: list[str]) -> None:
    old, new = (cloud.register("serve", image=image(one)) for one in repository)
    other = cloud.register("serve", family="other")
    gone = cloud.register("serve", image=image("sha256:" + "9" * 64))
    cloud.serve(new)
    with pytest.raises(Refused, match=r"cannot go back to other:1 \(--to\): it is of another family than shop-api"):
        chosen(cloud, [], other)
    with pytest.raises(Refused, match="there is no such task definition"):
        chosen(cloud, [], "shop-api:99")
    with pytest.raises(Refused, match=r"image .*9999 is no longer in the registry"):
        chosen(cloud, [release(1, gone)])
    cloud.ecs.deregister_task_definition(taskDefinition=old)
    with pytest.raises(Refused, match=r"shop-api:1 \(the record of release r1\): it is INACTIVE"):
        chosen(cloud, [release(1, old)])
    with pytest.raises(Refused, match="nothing earlier than shop-api:2 is on record or active"):
        chosen(cloud, [])


def test_an_image_of_another_registry_cannot_be_looked_up(cloud: Stack) -> None:
    old, new = cloud.register("serve"), cloud.register("serve", "0")
    cloud.serve(new)
    assert chosen(cloud, [], old) == Target(old, "--to", "")


def test_an_image_by_tag_is_believed_by_the_digest_that_the_tag_means(cloud: Stack, repository: list[str]) -> None:
    tagged = cloud.register("serve", image=f"{REGISTRY}/shop-api:one")
    cloud.serve(cloud.register("serve"))
    assert chosen(cloud, [], tagged).digest == repository[0]


def test_one_that_does_not_come_up_fails_with_its_reasons(cloud: Stack) -> None:
    bad, good = cloud.register("serve", image="missing/api:1"), cloud.register("serve")
    cloud.serve(good)
    with pytest.raises(RolloutFailed, match="CannotPullContainerError"):
        back(cloud, Target(bad, "--to", ""))
    cloud.steady()
    assert {one["taskDefinitionArn"] for one in cloud.tasks()} == {good}
