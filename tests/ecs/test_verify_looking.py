"""How verification looks: what it may not see it leaves open, what is shared it asks once, and it writes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from gli_tasks.aws import Aws, as_gli_error
from gli_tasks.ecs.findings import Level
from gli_tasks.ecs.look_definition import read_image_state, read_log_group, read_secret
from gli_tasks.ecs.look_service import read_cluster, read_fargate_quota, read_service_states
from gli_tasks.ecs.references import SecretId, read_image
from gli_tasks.errors import AwsCallFailed
from tests.ecs.rollout_parts import digest
from tests.ecs.verify_parts import MARKER, MORE, TAG, Production, levels, variables
from tests.floor_parts import REPOSITORY

pytest_plugins = ["tests.ecs.verify_fixtures"]

BOTH = ("api", "websocket")


def of(*names: str) -> list[str]:
    return sorted(f"{service} {name}" for service in BOTH for name in names)


@pytest.fixture
def denied(production: Production) -> Iterator[set[str]]:
    yield production.doorman.denied
    production.doorman.denied.clear()


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
    "SimulatePrincipalPolicy": (
        ["api execution role permissions", "websocket execution role permissions"],
        "iam:SimulatePrincipalPolicy",
    ),
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
def test_what_may_not_be_seen_is_left_open_with_what_to_allow(
    production: Production, denied: set[str], operation: str
) -> None:
    subjects, permission = DENIED[operation]
    denied.add(operation)
    findings = production.verify()
    assert levels(findings, Level.NG) == []
    assert sorted(levels(findings, Level.SKIP)) == sorted(subjects)
    assert any(permission in one.remedy for one in findings if one.level is Level.SKIP)


def test_a_secret_that_may_not_be_read_is_still_looked_for(production: Production, denied: set[str]) -> None:
    denied.add("GetSecretValue")
    found = next(one for one in production.verify() if "secret" in one.subject)
    assert found.sentence == "is there; whether it holds host, dbname, password, port, username could not be looked at"
    nowhere = [{"name": "KEY", "valueFrom": "arn:aws:secretsmanager:ap-northeast-2:917891822317:secret:nowhere:key::"}]
    found = next(
        one for one in production.verify(production.changed("container.secrets", nowhere)) if "secret" in one.subject
    )
    assert (found.level, found.sentence) == (Level.NG, "there is no such secret (for KEY)")
    denied.add("DescribeSecret")
    found = next(one for one in production.verify() if "secret" in one.subject)
    assert found.level is Level.SKIP


def test_parameters_that_may_not_be_seen(production: Production, denied: set[str]) -> None:
    denied.update(("DescribeParameters", "SimulatePrincipalPolicy"))
    findings = production.verify(
        production.changed("container.secrets", [{"name": "KEY", "valueFrom": "/gli/key"}])[:1]
    )
    assert levels(findings, Level.NG) == []
    assert levels(findings, Level.SKIP) == ["api execution role permissions", "api parameter /gli/key"]


def test_where_everything_is_denied_nothing_is_claimed(production: Production, denied: set[str]) -> None:
    denied.update({*DENIED, "DescribeSecret", "DescribeParameters"})
    findings = production.verify()
    assert levels(findings, Level.NG) == []
    assert levels(findings, Level.OK) == of("task definition")


def test_another_error_of_aws_is_an_error(production: Production) -> None:
    def odd(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("400 Bad Request", [("x-amzn-ErrorType", "Odd")])
        return []

    behind, production.doorman.behind = production.doorman.behind, odd
    with pytest.raises(ClientError):
        production.verify(production.wanted_unasked())
    production.doorman.behind = behind


def test_an_answer_that_was_cut_off_is_an_error(production: Production) -> None:
    def cut_off(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "application/x-amz-json-1.1")])
        return [b'{"Sec']

    behind, production.doorman.behind = production.doorman.behind, cut_off
    secret = SecretId("arn:aws:secretsmanager:ap-northeast-2:917891822317:secret:x", "", "")
    image = read_image(f"{production.settings.registry.host}/gli-api-production@{digest('x')}")
    try:
        for look in (
            lambda: read_secret(production.aws, secret),
            lambda: read_image_state(production.aws, image),
            lambda: read_cluster(production.aws, "main"),
            lambda: read_service_states(production.aws, "main", ["api"]),
            lambda: read_fargate_quota(production.aws),
            lambda: read_log_group(production.aws, "/ecs/x"),
        ):
            with pytest.raises(AwsCallFailed, match="lacks what it must hold"):
                look()
    finally:
        production.doorman.behind = behind


def test_a_network_that_fails_is_an_error(production: Production, monkeypatch: pytest.MonkeyPatch) -> None:
    from gli_tasks.ecs.verify import verify

    wanted = production.wanted()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(EndpointConnectionError) as caught:
        verify(Aws("ap-northeast-2", "917891822317"), "main", production.settings.registry.host, wanted)
    assert isinstance(as_gli_error(caught.value), AwsCallFailed)


def test_what_services_share_is_asked_once(production: Production) -> None:
    wanted = production.wanted()
    before = production.gateway.calls()
    production.verify(wanted)
    asked = {
        operation: count - before.get(service, {}).get(operation, 0)
        for service, operations in production.gateway.calls().items()
        for operation, count in operations.items()
    }
    assert {operation: count for operation, count in asked.items() if count} == {
        "DescribeClusters": 1,
        "DescribeServices": 1,
        "DescribeImages": 2,
        "BatchGetImage": 2,
        "GetDownloadUrlForLayer": 2,
        "GetRole": 2,
        "SimulatePrincipalPolicy": 4,
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


def test_reads_go_side_by_side_and_bounded(production: Production) -> None:
    wanted = production.wanted()
    door = production.doorman
    door.pause_s, door.most_at_once = 0.2, 0
    production.verify(wanted)
    door.pause_s = 0.0
    assert 6 <= door.most_at_once <= 12


def test_it_writes_nothing_and_shows_no_value(production: Production, tmp_path: Path) -> None:
    program = (
        "import sys, logging\n"
        "from gli_tasks import guard\n"
        "from invoke import Program, Collection\n"
        "guard.forbid_writes()\n"
        "import gli_tasks.ecs.tasks as tasks\n"
        "Program(namespace=Collection.from_module(tasks)).run(['invoke', *sys.argv[1:]])\n"
    )
    done = run(production, [sys.executable, "-c", program, "verify", "-e", "prod", "--tag", TAG, "--json"])
    assert (done.returncode, done.stderr) == (0, "")
    assert {one["level"] for one in json.loads(done.stdout)["findings"]} == {"OK"}
    assert MARKER not in done.stdout


def run(production: Production, argv: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ECR_REGISTRY": production.settings.registry.host, **variables}
    return subprocess.run(
        argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def invoke(production: Production, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(production, [sys.executable, "-m", "invoke", *words], **variables)


def test_the_task_shows_a_table_and_its_counts(production: Production) -> None:
    done = invoke(production, "ecs.verify", "-e", "prod", "--tag", TAG)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["level", "subject", "finding"] in rows
    assert sum(row[:1] == ["OK"] for row in rows) == 31
    assert done.stdout.splitlines()[-1] == "31 OK, 0 NG, 0 SKIP"


def test_the_task_refuses_what_is_wrong_and_says_what_to_do(production: Production) -> None:
    done = invoke(production, "ecs.verify", "-e", "prod", "--tag", TAG, "-s", "api", ECS_CLUSTER="nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("error: 1 thing is not as a release needs it:\n  - cluster nowhere: there is no such")
    assert "websocket" not in done.stdout
    assert "Traceback" not in done.stderr


def test_the_task_takes_the_source_s_commit_for_the_image(production: Production, tmp_path: Path) -> None:
    quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], cwd=tmp_path, env={**os.environ, **quiet}, check=True)
    done = invoke(production, "ecs.verify", "-e", "prod", "-s", "api", "--json", API_SOURCE=str(tmp_path), **quiet)
    assert done.returncode == 0, done.stderr
    levels_of = {one["subject"]: one["level"] for one in json.loads(done.stdout)["findings"]}
    assert levels_of["api image"] == "SKIP"
    assert "NG" not in levels_of.values()


def test_the_task_wants_the_settings_account(production: Production) -> None:
    done = invoke(production, "ecs.verify", "-e", "prod", "--tag", TAG, AWS_ACCOUNT_ID="111111111111")
    assert done.returncode == 2
    assert "the credentials belong to account 917891822317" in done.stderr


def test_no_value_of_a_definition_is_shown(production: Production) -> None:
    holding = variables(ADMIN_PASSWORD=MARKER, DATABASE_URL=f"postgres://app:{MARKER}@db/app")
    findings = production.verify(production.changed("container.environment", holding))
    assert levels(findings, Level.NG) == ["api container gli-api"] * 2
    assert MARKER not in repr(findings)


@pytest.mark.parametrize("production", ["gli", "greenflow"], indirect=True)
def test_both_projects_are_as_they_must_be(production: Production) -> None:
    assert {one.level for one in production.verify()} == {Level.OK}


@pytest.mark.parametrize("production", [MORE], indirect=True)
def test_the_twin_holds_whatever_definitions_refer_to(production: Production) -> None:
    findings = production.verify()
    assert {one.level for one in findings} == {Level.OK}
    found = {one.subject: one.sentence for one in findings}
    assert found["api secret gli/django-a1B2c3"] == "holds secret_key"
    assert found["api secret gli/jwt"] in ("holds private", "holds public", "is there")
    parameters = [subject for subject in found if subject.startswith("api parameter")]
    assert parameters == ["api parameter /gli/by-name", "api parameter /gli/by-arn", "api parameter /flat"]
    assert found["api execution role permissions"] == "the role may do all 11 things that its tasks start with"
