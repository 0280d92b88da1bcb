"""Rollouts while AWS falters, scales or is faster than we are: nothing is taken for what it is not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gli_tasks.aws import as_gli_error
from gli_tasks.ecs.deploy import Expected, follow, require_completed, restore, update_service
from gli_tasks.ecs.plan import Judgement, Progress
from gli_tasks.ecs.services import patiently, read_attempt, read_services, read_tasks
from gli_tasks.errors import AwsCallFailed, GliError, NotRestored
from tests.ecs.rollout_parts import Cluster, Fault, ignore, throttled
from tests.ecs.test_deploy import BETTER, GOOD, Clock, followed, serving, update

SERVICE = {"serviceName": "api", "status": "ACTIVE", "desiredCount": 1, "runningCount": 1}
DEPLOYMENT = {"id": "ecs-svc/9", "status": "PRIMARY", "taskDefinition": "api:1", "desiredCount": 1}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "answered without services"),
        ({"services": []}, "without a word on api"),
        ({"services": [{}]}, "answered without serviceName, status"),
        ({"services": [SERVICE]}, "answered without deployments"),
        ({"services": [{**SERVICE, "deployments": [{}]}]}, "answered without id, status"),
        ({"services": [{**SERVICE, "deployments": [DEPLOYMENT]}]}, "answered without runningCount"),
    ],
)
def test_a_poll_with_holes_is_asked_again_and_never_taken_for_a_lost_deployment(
    cluster: Cluster, body: dict[str, Any], words: str
) -> None:
    serving(cluster)
    started = update(cluster, cluster.register(BETTER))
    told: list[str] = []
    cluster.meddler.faults.append(Fault("DescribeServices", 2, body=body))
    ended = follow(
        cluster.ecs,
        "main",
        {"api": started.deployment_id},
        timeout_s=20,
        poll_s=0.02,
        on_change=lambda _name, judgement: told.append(judgement.sentence),
    )
    assert ended["api"].progress is Progress.COMPLETED
    assert words in told[0]
    assert "asked again for up to 60 s" in told[0]
    assert len([sentence for sentence in told if words in sentence]) == 1


@pytest.mark.parametrize(
    ("operation", "read"),
    [
        ("ListTasks", lambda ecs: read_tasks(ecs, "main", "api", "RUNNING")),
        ("DescribeTasks", lambda ecs: read_tasks(ecs, "main", "api", "RUNNING")),
        ("DescribeServices", lambda ecs: read_services(ecs, "main", ["api"])),
        ("DescribeServiceDeployments", lambda ecs: read_attempt(ecs, "arn:x")),
    ],
)
def test_every_read_with_holes_is_a_sentence(cluster: Cluster, operation: str, read: Any) -> None:
    serving(cluster)
    cluster.meddler.faults.append(Fault(operation))
    with pytest.raises(AwsCallFailed, match=f"{operation} answered without"):
        read(cluster.ecs)


def test_an_update_whose_answer_has_holes_is_believed_by_a_read(cluster: Cluster) -> None:
    serving(cluster)
    new = cluster.register(BETTER)
    cluster.meddler.faults.append(Fault("UpdateService", carried_out=True))
    started = update(cluster, new)
    assert (started.task_definition, started.changed) == (new, True)
    assert followed(cluster, {"api": started.deployment_id})["api"].progress is Progress.COMPLETED


def test_throttled_polls_are_borne_for_a_while_and_no_longer(cluster: Cluster) -> None:
    serving(cluster)
    started = update(cluster, cluster.register(BETTER))
    cluster.meddler.faults.append(throttled("DescribeServices", 3))
    assert followed(cluster, {"api": started.deployment_id})["api"].progress is Progress.COMPLETED
    assert cluster.meddler.spoilt == 3
    cluster.meddler.faults.append(throttled("DescribeServices", 1_000))
    clock = Clock()
    with pytest.raises(AwsCallFailed, match=r"has not told for 60 s .* ThrottlingException"):
        follow(
            cluster.ecs,
            "main",
            {"api": started.deployment_id},
            timeout_s=600,
            poll_s=5,
            on_change=ignore,
            clock=clock.read,
            sleep=clock.sleep,
        )
    assert clock.slept == [5.0] * 12


def test_a_silent_aws_at_the_deadline_leaves_no_service_out(cluster: Cluster) -> None:
    serving(cluster)
    cluster.meddler.faults.append(throttled("DescribeServices", 1_000))
    clock = Clock()
    ended = follow(
        cluster.ecs,
        "main",
        {"api": "ecs-svc/1"},
        timeout_s=10,
        poll_s=5,
        on_change=ignore,
        clock=clock.read,
        sleep=clock.sleep,
    )
    assert ended["api"].progress is Progress.RUNNING
    assert "AWS has not told" in ended["api"].sentence


def test_what_asking_again_cannot_mend_fails_at_once(cluster: Cluster) -> None:
    serving(cluster)
    denied = {"__type": "AccessDeniedException", "message": "not authorized"}
    cluster.meddler.faults.append(Fault("DescribeServices", 1, 400, denied))
    with pytest.raises(Exception, match="AccessDenied") as caught:
        followed(cluster, {"api": "ecs-svc/1"})
    assert isinstance(as_gli_error(caught.value), GliError)
    assert cluster.meddler.spoilt == 1


def test_the_proof_is_asked_for_again_too(cluster: Cluster) -> None:
    serving(cluster)
    started = update(cluster, cluster.register(BETTER))
    ended = followed(cluster, {"api": started.deployment_id})
    cluster.meddler.faults += [throttled("ListTasks", 1), Fault("DescribeTasks")]
    require_completed(cluster.ecs, "main", ended, {"api": Expected("api", BETTER.partition("@")[2])}, 20)
    assert cluster.meddler.spoilt == 2


def test_patience_ends() -> None:
    clock = Clock()

    def never() -> None:
        raise AwsCallFailed("no")

    with pytest.raises(AwsCallFailed):
        patiently(never, 3.5, clock=clock.read, sleep=clock.sleep)
    assert clock.slept == [1.0, 1.0, 1.0]


def test_the_old_version_comes_back_though_aws_falters_on_the_way(cluster: Cluster) -> None:
    old = serving(cluster)
    started = update(cluster, cluster.register(BETTER))
    followed(cluster, {"api": started.deployment_id})
    cluster.meddler.faults += [
        throttled("DescribeServices", 2),
        throttled("UpdateService", 5),
        Fault("UpdateService", carried_out=True),
        throttled("ListTasks", 1),
    ]
    restore(cluster.ecs, "main", [started], timeout_s=20, poll_s=0.02, on_change=ignore)
    assert cluster.meddler.spoilt == 9
    assert read_services(cluster.ecs, "main", ["api"])["api"].task_definition == old


def test_an_aws_that_stays_away_leaves_the_old_version_unconfirmed(cluster: Cluster) -> None:
    serving(cluster)
    started = update(cluster, cluster.register(BETTER))
    cluster.meddler.faults.append(throttled("DescribeServices", 10_000))
    with pytest.raises(NotRestored, match="api: AWS refused DescribeServices"):
        restore(cluster.ecs, "main", [started], timeout_s=0.3, poll_s=0.02, on_change=ignore)


def test_the_breaker_may_act_between_our_judgement_and_our_restoring(cluster: Cluster) -> None:
    old = serving(cluster)
    started = update(cluster, cluster.register("crash@sha256:3"))
    ended = followed(cluster, {"api": started.deployment_id})
    assert ended["api"].progress is Progress.FAILED
    deadline = time.monotonic() + 10
    while (primary := read_services(cluster.ecs, "main", ["api"])["api"].primary) and primary.task_definition != old:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    updates = len(cluster.ecs.list_service_deployments(cluster="main", service="api")["serviceDeployments"])
    restore(cluster.ecs, "main", [started], timeout_s=20, poll_s=0.02, on_change=ignore)
    after = read_services(cluster.ecs, "main", ["api"])["api"]
    assert after.task_definition == old
    # ECS's own rollback was followed; no deployment of ours came on top.
    assert len(cluster.ecs.list_service_deployments(cluster="main", service="api")["serviceDeployments"]) == updates


def test_autoscaling_in_the_middle_of_a_rollout_is_neither_a_failure_nor_undone(cluster: Cluster) -> None:
    serving(cluster, count=2)
    started = update(cluster, cluster.register(BETTER))
    scaled: list[int] = []

    def autoscale(_name: str, judgement: Judgement) -> None:
        if not scaled and judgement.progress is Progress.RUNNING:
            scaled.append(5)
            cluster.ecs.update_service(cluster="main", service="api", desiredCount=5)

    ended = follow(cluster.ecs, "main", {"api": started.deployment_id}, timeout_s=20, poll_s=0.02, on_change=autoscale)
    assert ended["api"].progress is Progress.COMPLETED
    assert ended["api"].sentence == "completed, 5/5 running"
    cluster.ecs.update_service(cluster="main", service="api", desiredCount=3)
    restore(cluster.ecs, "main", [started], timeout_s=20, poll_s=0.02, on_change=ignore)
    assert read_services(cluster.ecs, "main", ["api"])["api"].desired == 3


def test_no_call_of_ours_ever_names_a_desired_count(cluster: Cluster) -> None:
    serving(cluster)
    sent: list[dict[str, Any]] = []
    cluster.ecs.meta.events.register(
        "provide-client-params.ecs.UpdateService", lambda params, **_: sent.append(dict(params))
    )
    started = update(cluster, cluster.register(BETTER))
    restore(cluster.ecs, "main", [started], timeout_s=20, poll_s=0.02, on_change=ignore)
    assert len(sent) == 2
    assert not any("desiredCount" in one for one in sent)


def test_many_services_are_asked_for_ten_a_call(cluster: Cluster) -> None:
    definition = cluster.register(GOOD)
    ids = {f"s{number:02}": cluster.create(f"s{number:02}", definition, 0) for number in range(23)}
    asked: list[int] = []
    cluster.ecs.meta.events.register(
        "provide-client-params.ecs.DescribeServices", lambda params, **_: asked.append(len(params["services"]))
    )
    ended = followed(cluster, ids)
    assert {one.progress for one in ended.values()} == {Progress.COMPLETED}
    assert list(ended) == list(ids)
    assert sorted(asked[:3], reverse=True) == [10, 10, 3]


def test_one_failure_ends_the_following_of_all_and_explains_that_one_alone(cluster: Cluster) -> None:
    serving(cluster, "api")
    serving(cluster, "web")
    bad = update(cluster, cluster.register("absent@sha256:3", "api"), "api")
    before = read_services(cluster.ecs, "main", ["web"])["web"]
    good = update_service(
        cluster.ecs, "main", before, cluster.register(BETTER, "web"), minimum_healthy_percent=100, maximum_percent=200
    )
    ended = followed(cluster, {"api": bad.deployment_id, "web": good.deployment_id})
    assert ended["api"].progress is Progress.FAILED
    assert ended["api"].diagnosis is not None
    assert ended["web"].diagnosis is None
