"""How verification looks: what it may not see it leaves open, what is shared it asks once, and it writes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from gli_tasks.aws import Aws, as_gli_error
from gli_tasks.ecs.findings import Level
from gli_tasks.errors import AwsCallFailed
from tests.ecs.verify_parts import MARKER, TAG, Stack, levels, variables
from tests.floor_parts import REPOSITORY

pytest_plugins = ["tests.ecs.verify_fixtures"]

BOTH = ("api", "websocket")


def of(*names: str) -> list[str]:
    return sorted(f"{service} {name}" for service in BOTH for name in names)


@pytest.fixture
def denied(stack: Stack) -> Iterator[set[str]]:
    yield stack.doorman.denied
    stack.doorman.denied.clear()


DENIED: dict[str, tuple[list[str], str]] = {
    "DescribeClusters": (["cluster production-gli-cluster"], "ecs:DescribeClusters"),
    "DescribeServices": (
        [*of("service", "service's load balancer", "subnets", "security groups"), "Fargate vCPU quota"],
        "ecs:DescribeServices",
    ),
    "DescribeImages": (of("image"), "ecr:DescribeImages"),
    "BatchGetImage": (of("image platform"), "ecr:BatchGetImage"),
    "GetDownloadUrlForLayer": (of("image platform"), "ecr:GetDownloadUrlForLayer"),
    "GetRole": (of("execution role", "task role"), "iam:GetRole"),
    "SimulatePrincipalPolicy": (["api execution role permissions"], "iam:SimulatePrincipalPolicy"),
    "GetSecretValue": (["api secret gli/db/production-u1ubhz"], "secretsmanager:GetSecretValue"),
    "DescribeLogGroups": (of("log group"), "logs:DescribeLogGroups"),
    "DescribeTargetGroups": (
        of("target group", "service's load balancer", "listener rules"),
        "elasticloadbalancing:DescribeTargetGroups",
    ),
    "DescribeLoadBalancers": (of("listener rules"), "elasticloadbalancing:DescribeLoadBalancers"),
    "DescribeListeners": (of("listener rules"), "elasticloadbalancing:DescribeListeners"),
    "DescribeRules": (of("listener rules"), "elasticloadbalancing:DescribeRules"),
    "DescribeSubnets": (of("subnets"), "ec2:DescribeSubnets"),
    "DescribeSecurityGroups": (of("security groups"), "ec2:DescribeSecurityGroups"),
    "GetServiceQuota": (["Fargate vCPU quota"], "servicequotas:GetServiceQuota"),
}


@pytest.mark.parametrize("operation", DENIED)
def test_what_may_not_be_seen_is_left_open_with_what_to_allow(stack: Stack, denied: set[str], operation: str) -> None:
    subjects, permission = DENIED[operation]
    denied.add(operation)
    findings = stack.verify()
    assert levels(findings, Level.NG) == []
    assert sorted(levels(findings, Level.SKIP)) == sorted(subjects)
    assert any(permission in one.remedy for one in findings if one.level is Level.SKIP)


def test_a_secret_that_may_not_be_read_is_still_looked_for(stack: Stack, denied: set[str]) -> None:
    denied.add("GetSecretValue")
    found = next(one for one in stack.verify() if "secret" in one.subject)
    assert found.sentence == "is there; whether it holds host, dbname, password, port, username could not be looked at"
    nowhere = [{"name": "KEY", "valueFrom": "arn:aws:secretsmanager:ap-northeast-2:917891822317:secret:nowhere:key::"}]
    found = next(one for one in stack.verify(stack.changed("container.secrets", nowhere)) if "secret" in one.subject)
    assert (found.level, found.sentence) == (Level.NG, "there is no such secret (for KEY)")
    denied.add("DescribeSecret")
    found = next(one for one in stack.verify() if "secret" in one.subject)
    assert found.level is Level.SKIP


def test_parameters_that_may_not_be_seen(stack: Stack, denied: set[str]) -> None:
    denied.update(("DescribeParameters", "SimulatePrincipalPolicy"))
    findings = stack.verify(stack.changed("container.secrets", [{"name": "KEY", "valueFrom": "/gli/key"}])[:1])
    assert levels(findings, Level.NG) == []
    assert levels(findings, Level.SKIP) == ["api execution role permissions", "api parameter /gli/key"]


def test_where_everything_is_denied_nothing_is_claimed(stack: Stack, denied: set[str]) -> None:
    denied.update({*DENIED, "DescribeSecret", "DescribeParameters"})
    findings = stack.verify()
    assert levels(findings, Level.NG) == []
    assert levels(findings, Level.OK) == of("task definition")


def test_another_error_of_aws_is_an_error(stack: Stack) -> None:
    def odd(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("400 Bad Request", [("x-amzn-ErrorType", "Odd")])
        return []

    behind, stack.doorman.behind = stack.doorman.behind, odd
    with pytest.raises(ClientError):
        stack.verify(stack.wanted_unasked())
    stack.doorman.behind = behind


def test_a_network_that_fails_is_an_error(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    from gli_tasks.ecs.verify import verify

    wanted = stack.wanted()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(EndpointConnectionError) as caught:
        verify(Aws("ap-northeast-2", "917891822317"), "main", stack.settings.registry.host, wanted)
    assert isinstance(as_gli_error(caught.value), AwsCallFailed)


def test_what_services_share_is_asked_once(stack: Stack) -> None:
    wanted = stack.wanted()
    before = stack.gateway.calls()
    stack.verify(wanted)
    asked = {
        operation: count - before.get(service, {}).get(operation, 0)
        for service, operations in stack.gateway.calls().items()
        for operation, count in operations.items()
    }
    assert {operation: count for operation, count in asked.items() if count} == {
        "DescribeClusters": 1,
        "DescribeServices": 1,
        "DescribeImages": 2,
        "BatchGetImage": 2,
        "GetDownloadUrlForLayer": 2,
        "GetRole": 2,
        "SimulatePrincipalPolicy": 1,
        "GetSecretValue": 1,
        "DescribeLogGroups": 2,
        "DescribeTargetGroups": 2,
        "DescribeLoadBalancers": 1,
        "DescribeListeners": 1,
        "DescribeRules": 2,
        "DescribeSubnets": 1,
        "DescribeSecurityGroups": 1,
        "GetServiceQuota": 1,
    }


def test_reads_go_side_by_side(stack: Stack) -> None:
    wanted = stack.wanted()
    pause_s = 0.15
    stack.doorman.pause_s = pause_s
    before = sum(count for operations in stack.gateway.calls().values() for count in operations.values())
    started = time.monotonic()
    stack.verify(wanted)
    took_s = time.monotonic() - started
    stack.doorman.pause_s = 0.0
    calls = sum(count for operations in stack.gateway.calls().values() for count in operations.values()) - before
    assert took_s < calls * pause_s / 2


def test_it_writes_nothing_and_shows_no_value(stack: Stack, tmp_path: Path) -> None:
    program = (
        "import sys, logging\n"
        "from gli_tasks import guard\n"
        "from invoke import Program, Collection\n"
        "guard.forbid_writes()\n"
        "import gli_tasks.ecs.tasks as tasks\n"
        "Program(namespace=Collection.from_module(tasks)).run(['invoke', *sys.argv[1:]])\n"
    )
    done = run(stack, [sys.executable, "-c", program, "verify", "-e", "prod", "--tag", TAG, "--json"])
    assert (done.returncode, done.stderr) == (0, "")
    assert {one["level"] for one in json.loads(done.stdout)["findings"]} == {"OK"}
    assert MARKER not in done.stdout


def run(stack: Stack, argv: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ECR_REGISTRY": stack.settings.registry.host, **variables}
    return subprocess.run(
        argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def invoke(stack: Stack, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(stack, [sys.executable, "-m", "invoke", *words], **variables)


def test_the_task_shows_a_table_and_its_counts(stack: Stack) -> None:
    done = invoke(stack, "ecs.verify", "-e", "prod", "--tag", TAG)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["level", "subject", "finding"]
    assert sum(row[0] == "OK" for row in rows) == 30
    assert done.stdout.splitlines()[-1] == "30 OK, 0 NG, 0 SKIP"


def test_the_task_refuses_what_is_wrong_and_says_what_to_do(stack: Stack) -> None:
    done = invoke(stack, "ecs.verify", "-e", "prod", "--tag", TAG, "-s", "api", ECS_CLUSTER="nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("error: 1 thing is not as a release needs it:\n  - cluster nowhere: there is no such")
    assert "websocket" not in done.stdout
    assert "Traceback" not in done.stderr


def test_the_task_takes_the_source_s_commit_for_the_image(stack: Stack, tmp_path: Path) -> None:
    quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], cwd=tmp_path, env={**os.environ, **quiet}, check=True)
    done = invoke(stack, "ecs.verify", "-e", "prod", "-s", "api", "--json", API_SOURCE=str(tmp_path), **quiet)
    assert done.returncode == 0, done.stderr
    levels_of = {one["subject"]: one["level"] for one in json.loads(done.stdout)["findings"]}
    assert levels_of["api image"] == "SKIP"
    assert "NG" not in levels_of.values()


def test_the_task_wants_the_settings_account(stack: Stack) -> None:
    done = invoke(stack, "ecs.verify", "-e", "prod", "--tag", TAG, AWS_ACCOUNT_ID="111111111111")
    assert done.returncode == 2
    assert "the credentials belong to account 917891822317" in done.stderr


def test_no_value_of_a_definition_is_shown(stack: Stack) -> None:
    holding = variables(ADMIN_PASSWORD=MARKER, DATABASE_URL=f"postgres://app:{MARKER}@db/app")
    findings = stack.verify(stack.changed("container.environment", holding))
    assert levels(findings, Level.NG) == ["api container gli-api"] * 2
    assert MARKER not in repr(findings)


@pytest.mark.parametrize("stack", ["gli", "greenflow"], indirect=True)
def test_both_projects_are_as_they_must_be(stack: Stack) -> None:
    findings = stack.verify()
    assert {one.level for one in findings} == {Level.OK}
    started = time.monotonic()
    stack.verify()
    assert time.monotonic() - started < 2
