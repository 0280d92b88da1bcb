"""Bad rollouts against the twin's ECS, balancer and logs: the cause is named at once, the old version comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.parsers import ResponseParserError

from gli_tasks.ecs.deploy import require_completed, restore
from gli_tasks.ecs.evidence import masked_line
from gli_tasks.ecs.plan import Judgement, Progress
from gli_tasks.ecs.services import is_passing, read_services
from gli_tasks.errors import RolloutFailed
from tests.ecs.evidence_parts import Cloud, small_cloud
from tests.ecs.rollout_parts import ignore
from tests.floor_fixtures import aws_server
from tests.floor_parts import AwsServer

__all__ = ["aws_server"]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with small_cloud(tmp_path) as cloud:
        yield cloud


def failure_of(cloud: Cloud, ended: dict[str, Judgement]) -> RolloutFailed:
    with pytest.raises(RolloutFailed) as caught:
        require_completed(cloud.ecs, "main", ended, {}, 20, client=cloud.client)
    return caught.value


CHECK = {"command": ["CMD-SHELL", "exit 1"], "interval": 5, "retries": 1}
BAD: dict[str, tuple[tuple[str, ...], dict[str, Any], tuple[str, ...]]] = {
    "crash": (
        ("crash", "connecting to postgres://app:opensesame2@db/app", "KeyError: 'DATABASE_URL'"),
        {},
        (
            "api: the new version's container crashes: api exited with 1; its log ends with ",
            "stopped: 2 × Essential container in task exited (api exited with 1)",
            "  | connecting to postgres://app:********@db/app",
        ),
    ),
    "unpullable": (
        ("answer", "200"),
        {"image": "missing/api:2"},
        ("api: the image cannot be pulled (CannotPullContainerError)", "stopped: 2 × CannotPullContainerError: "),
    ),
    "unhealthy container": (
        ("answer", "200"),
        {"healthCheck": CHECK},
        ("api: the container's own health checks fail", "Task failed container health checks", "  | listening on"),
    ),
    "target answers 503": (
        ("answer", "503"),
        {},
        (
            "api: the load balancer's health checks fail: the new version answers them with 503",
            "Task failed ELB health checks in (target-group ",
            "due to (reason Health checks failed with these codes: [503])",
            "  | listening on",
        ),
    ),
    "wrong port": (
        ("answer", "200", "3000"),
        {},
        (
            "api: the load balancer's health checks fail: the container listens on port 3000",
            "due to (reason Health checks failed)",
        ),
    ),
    "nothing listens": (
        ("sleep",),
        {},
        ("api: the load balancer's health checks fail: the new version had not opened port 8000", "  | asleep"),
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_the_cause_is_named_before_the_breaker_acts_and_the_old_version_comes_back(cloud: Cloud, kind: str) -> None:
    command, container, words = BAD[kind]
    old = cloud.serving()
    started = cloud.update(cloud.register(*command, **container))
    told: list[tuple[float, Judgement]] = []
    ended = cloud.follow(
        {"api": started.deployment_id}, on_change=lambda _name, judgement: told.append((time.time(), judgement))
    )
    assert ended["api"].progress is Progress.FAILED
    stops = sorted(
        task.stopping_at.timestamp()
        for task in cloud.plane.store.tasks.values()
        if task.deployment_id == started.deployment_id and task.failed and task.stopping_at
    )
    assert told[-1][0] - stops[1] < 3
    error = failure_of(cloud, ended)
    for word in words:
        assert word in str(error)
    assert "opensesame2" not in str(error)
    assert "2 tasks have failed, so this was given up; ECS's circuit breaker had not acted yet" in str(error)
    assert error.remedy
    assert ended["api"].diagnosis is not None
    assert error.remedy == ended["api"].diagnosis.next_step
    assert restore(cloud.ecs, "main", [started], timeout_s=20, poll_s=0.05, on_change=ignore, client=cloud.client) == (
        f"api runs {old.rpartition('/')[2]} again",
    )
    service = read_services(cloud.ecs, "main", ["api"])["api"]
    assert (service.task_definition, service.running, len(service.deployments)) == (old, 1, 1)


def test_a_start_that_outlives_its_grace_period_is_told_from_one_that_fails(cloud: Cloud) -> None:
    cloud.serving(grace_s=60)  # 0.6 s here
    slow = cloud.update(cloud.register("answer", "200", "8000", "30"))
    ended = cloud.follow({"api": slow.deployment_id})
    assert "had not opened port 8000 when its grace period of 60 s was over" in str(failure_of(cloud, ended))


def test_a_start_within_its_grace_period_is_no_failure(cloud: Cloud) -> None:
    cloud.serving(grace_s=600)
    slow = cloud.update(cloud.register("answer", "200", "8000", "1"))
    assert cloud.follow({"api": slow.deployment_id})["api"].progress is Progress.COMPLETED


def test_the_breakers_own_end_is_explained_as_well(cloud: Cloud) -> None:
    cloud.serving(balanced=False)
    started = cloud.update(cloud.register("crash", "boom"))
    ended = cloud.follow({"api": started.deployment_id}, give_up_after=0)
    assert ended["api"].progress in (Progress.FAILED, Progress.REPLACED)
    text = str(failure_of(cloud, ended))
    assert 'api: the new version\'s container crashes: api exited with 1; its log ends with "boom"' in text
    assert "circuit breaker" in text
    assert "stopped: 3 × " in text


def test_a_rollback_is_known_by_awss_own_account_when_the_deployment_is_gone(cloud: Cloud) -> None:
    cloud.serving(balanced=False)
    started = cloud.update(cloud.register("crash", "boom"))
    told: list[Judgement] = []

    def gone() -> bool:
        return read_services(cloud.ecs, "main", ["api"])["api"].deployment(started.deployment_id) is None

    def sleep(_seconds: float) -> None:
        # The next poll comes only once ECS has forgotten the deployment: a release whose machine was asleep.
        deadline = time.monotonic() + 15
        while not gone() and time.monotonic() < deadline:
            time.sleep(0.02)

    ended = cloud.follow(
        {"api": started.deployment_id},
        sleep=sleep,
        give_up_after=0,
        on_change=lambda _name, judgement: told.append(judgement),
    )
    assert ended["api"].progress is Progress.FAILED
    assert "ECS's circuit breaker ended the deployment after 3 of 3 failures" in ended["api"].sentence
    assert "rollback" in ended["api"].sentence
    assert cloud.calls()["DescribeServiceDeployments"] == 1
    assert "api exited with 1" in str(failure_of(cloud, ended))


def test_one_stray_crash_fails_nothing(cloud: Cloud) -> None:
    cloud.serving(balanced=False)
    started = cloud.update(cloud.register("sleep"))
    killed: list[str] = []

    def kill_one(_seconds: float) -> None:
        time.sleep(0.05)
        for task in list(cloud.plane.store.tasks.values()):
            running = task.containers[0].running
            if not killed and task.deployment_id == started.deployment_id and running and task.started_at:
                killed.append(task.id)
                running.kill()

    ended = cloud.follow({"api": started.deployment_id}, sleep=kill_one)
    assert killed
    assert ended["api"].progress is Progress.COMPLETED


def test_a_late_rollout_says_what_it_waits_for(cloud: Cloud) -> None:
    cloud.serving(grace_s=100_000)
    started = cloud.update(cloud.register("answer", "503"))
    ended = cloud.follow({"api": started.deployment_id}, timeout_s=2)
    assert ended["api"].progress is Progress.RUNNING
    error = failure_of(cloud, ended)
    assert "api: did not end within 20 s (1/1 running, 1 of the old version left): " in str(error)
    assert " unhealthy: Target.ResponseCodeMismatch, Health checks failed with these codes: [503]" in str(error)
    assert "  | listening on" in str(error)


def test_a_healthy_rollout_costs_no_look_at_stopped_tasks(cloud: Cloud) -> None:
    cloud.serving(count=2)
    started = cloud.update(cloud.register("answer", "200", "8000", "0.1"))
    before = cloud.calls()
    ended = cloud.follow({"api": started.deployment_id})
    assert ended["api"].progress is Progress.COMPLETED
    extra = {name: count - before.get(name, 0) for name, count in cloud.calls().items() if name != "DescribeServices"}
    assert {name: count for name, count in extra.items() if count} == {}


def test_a_log_group_that_is_gone_is_named(cloud: Cloud) -> None:
    cloud.serving(balanced=False)
    bad = cloud.register("crash", "boom")
    cloud.client("logs").delete_log_group(logGroupName="/ecs/api")
    ended = cloud.follow({"api": cloud.update(bad).deployment_id})
    assert "the log group of the task definition does not exist" in str(failure_of(cloud, ended))


def test_what_may_not_be_read_is_named_and_stands_in_nobodys_way(cloud: Cloud) -> None:
    cloud.serving()
    started = cloud.update(cloud.register("crash", "boom"))
    nowhere = boto3.client(
        "logs",
        region_name="ap-northeast-2",
        endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    ended = cloud.follow(
        {"api": started.deployment_id}, client=lambda name: nowhere if name == "logs" else cloud.client(name)
    )
    text = str(failure_of(cloud, ended))
    assert "api: the new version's container crashes: api exited with 1\n" in text
    assert "not read: the log: AWS cannot be reached" in text


CUT_OFF = '<DescribeTargetHealthResponse xmlns="x"><DescribeTargetHealthResult><TargetHealthDescr'


def test_a_cut_off_answer_on_targets_ends_no_rollout(cloud: Cloud, aws_server: AwsServer) -> None:
    aws_server.answers_with(200, CUT_OFF)
    elbv2 = boto3.client(
        "elbv2",
        region_name="ap-northeast-2",
        endpoint_url=aws_server.url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    cloud.serving()
    started = cloud.update(cloud.register("answer", "503"))
    ended = cloud.follow(
        {"api": started.deployment_id}, client=lambda name: elbv2 if name == "elbv2" else cloud.client(name)
    )
    assert aws_server.asked > 0
    assert ended["api"].progress is Progress.FAILED
    text = str(failure_of(cloud, ended))
    assert "Task failed ELB health checks in (target-group " in text
    assert "not read: the targets' health: AWS's answer was cut off" in text


def test_a_cut_off_poll_is_asked_again() -> None:
    assert is_passing(ResponseParserError("Unable to parse response"))


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("redis://:s3cr3t@cache:6379/0", "redis://:********@cache:6379/0"),
        ("PASSWORD=opensesame2 other", "PASSWORD=******** other"),
        ('{"api_key": "abcd1234", "x": 1}', '{"api_key": "********", "x": 1}'),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: Bearer ********"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "jwt ********"),
        ("\x1b[31mERROR\x1b[0m boom\r\n", "ERROR boom"),
        ("x" * 600, "x" * 500 + " …"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
    ],
)
def test_log_lines_are_shown_without_secrets(line: str, masked: str) -> None:
    assert masked_line(line) == masked
