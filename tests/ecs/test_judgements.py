"""Judgements on facts that a stack seldom shows: things on their way, nearly used up, or said in other words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gli_tasks.ecs.facts import (
    Attached,
    BalancerState,
    Decision,
    ImagePlace,
    ImageState,
    Ingress,
    Inventory,
    RoleState,
    SecretState,
    SecurityGroupState,
    ServiceState,
    SubnetState,
    TargetGroupState,
)
from gli_tasks.ecs.findings import Finding, Level
from gli_tasks.ecs.judgements import definition_findings, trusts_tasks
from gli_tasks.ecs.look_definition import decisions
from gli_tasks.ecs.references import Permission, SecretId, Wanted, needed_to_start, read_image
from gli_tasks.ecs.service_judgements import cluster_finding, quota_finding, service_findings

ACCOUNT, REGION, REGISTRY = "123456789012", "us-east-1", "registry.example.com"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/execution"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:db-AbCdEf"
IMAGE = f"{REGISTRY}/api@sha256:{'0' * 64}"
READ = Permission("secretsmanager:GetSecretValue", SECRET)
TRUST: dict[str, Any] = {
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}]
}
WANTED = Wanted(
    name="api",
    service="api",
    definition={
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "1024",
        "executionRoleArn": ROLE,
        "containerDefinitions": [
            {"name": "api", "image": IMAGE, "secrets": [{"name": "PASSWORD", "valueFrom": f"{SECRET}:password::"}]}
        ],
    },
    container="api",
    port=3000,
    health_path="/health",
    target_group="tg",
    repository="api",
    image_known=True,
)
SERVICE = ServiceState("ACTIVE", (Attached("arn:tg", "api", 3000),), ("subnet-1",), ("sg-1",), 4, True)
GROUP = TargetGroupState("arn:tg", 3000, "HTTP", "ip", "/health", "traffic-port", "vpc-1", ("arn:alb",))
BALANCER = BalancerState("alb", "active", ("sg-alb",), {"arn:tg": 1})
RULE = Ingress("tcp", 3000, 3000, False, ("sg-alb",))
NEEDED = needed_to_start(WANTED.definition, ACCOUNT, REGION, REGISTRY)
KNOWN = Inventory(
    cluster="ACTIVE",
    services={"api": SERVICE},
    images={read_image(IMAGE): ImageState(ImagePlace.PRESENT, "sha256:0", ("linux/amd64",))},
    roles={ROLE: RoleState(ROLE, TRUST)},
    permissions={ROLE: dict.fromkeys(NEEDED, Decision.ALLOWED)},
    secrets={SecretId(SECRET, "", ""): SecretState(frozenset({"password"}))},
    target_groups={"tg": GROUP},
    balancers={"arn:alb": BALANCER},
    subnets={"subnet-1": SubnetState("vpc-1", 10)},
    security_groups={"sg-1": SecurityGroupState("vpc-1", (RULE,))},
    fargate_vcpus=6.0,
)


def judged(known: Inventory = KNOWN, wanted: Wanted = WANTED) -> list[Finding]:
    return [
        cluster_finding("main", known),
        quota_finding([wanted], known),
        *definition_findings(wanted, REGISTRY, ACCOUNT, REGION, known),
        *service_findings(wanted, known),
    ]


def wrong(known: Inventory, level: Level = Level.NG) -> list[str]:
    return [f"{one.subject}: {one.sentence}" for one in judged(known) if one.level is level]


def test_nothing_is_wrong_at_first() -> None:
    assert {one.level for one in judged()} == {Level.OK}


def group(**changes: Any) -> Inventory:
    return replace(KNOWN, target_groups={"tg": replace(GROUP, **changes)})


def service(**changes: Any) -> Inventory:
    return replace(KNOWN, services={"api": replace(SERVICE, **changes)})


def balancer(**changes: Any) -> Inventory:
    return replace(KNOWN, balancers={"arn:alb": replace(BALANCER, **changes)})


def ingress(*rules: Ingress) -> Inventory:
    return replace(KNOWN, security_groups={"sg-1": SecurityGroupState("vpc-1", rules)})


WRONG: dict[str, tuple[Inventory, str]] = {
    "a cluster on its way": (replace(KNOWN, cluster="PROVISIONING"), "cluster main: is PROVISIONING"),
    "a service that drains": (service(status="DRAINING"), "api service: api is DRAINING"),
    "a service without subnets": (service(subnets=()), "api subnets: api names none"),
    "a service of two groups, none of them this": (
        service(attached=(Attached("arn:x:targetgroup/other/1", "api", 3000),)),
        "api service's load balancer: api does not put its tasks into tg",
    ),
    "no address left": (
        replace(KNOWN, subnets={"subnet-1": SubnetState("vpc-1", 0)}),
        "api subnets: subnet-1 have no address left for a task",
    ),
    "a balancer on its way": (
        balancer(state="provisioning"),
        "api listener rules: the load balancer alb is provisioning",
    ),
    "a balancer without a rule": (balancer(weights={}), "api listener rules: no load balancer forwards to tg"),
    "a health check without a path": (
        group(health_path=""),
        "api health path: tg asks no path, and the settings say /health",
    ),
    "a role without trust": (
        replace(KNOWN, roles={ROLE: RoleState(ROLE, {})}),
        "api execution role: execution does not trust ecs-tasks.amazonaws.com: no task can take it",
    ),
    "a secret without its key to decrypt": (
        replace(KNOWN, secrets={SecretId(SECRET, "", ""): SecretState(None, "cannot be decrypted with its key")}),
        "api secret db-AbCdEf: cannot be decrypted with its key (for PASSWORD)",
    ),
    "nobody let in": (ingress(), "api security groups: sg-1 let nothing in on port 3000"),
    "a rule that lets in nobody": (
        ingress(replace(RULE, groups=())),
        "api security groups: sg-1 let nothing in on port 3000",
    ),
    "another port": (
        ingress(replace(RULE, first_port=3001, last_port=3010)),
        "api security groups: sg-1 let nothing in on port 3000",
    ),
    "more than the quota": (
        replace(KNOWN, fargate_vcpus=3.0),
        "Fargate vCPU quota: a rollout of these services takes up to 4, of 3 vCPUs",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_finding(case: str) -> None:
    known, sentence = WRONG[case]
    assert wrong(known) == [sentence]


OPEN: dict[str, tuple[Inventory, str]] = {
    "an unknown quota": (replace(KNOWN, fargate_vcpus=None), "Fargate vCPU quota: AWS does not say what it is here"),
    "an image without a platform": (
        replace(KNOWN, images={read_image(IMAGE): ImageState(ImagePlace.PRESENT, "sha256:0")}),
        "api image platform: the image does not say what it was built for",
    ),
    "a permission with a condition": (
        replace(KNOWN, permissions={ROLE: {**dict.fromkeys(NEEDED, Decision.ALLOWED), READ: Decision.UNDECIDED}}),
        f"api execution role permissions: the role's own policies do not say whether it may"
        f" secretsmanager:GetSecretValue on {SECRET}",
    ),
    "the default security group": (
        service(security_groups=()),
        "api security groups: api names none, so its tasks have the VPC's default one",
    ),
}


@pytest.mark.parametrize("case", OPEN)
def test_what_cannot_be_known_is_left_open(case: str) -> None:
    known, sentence = OPEN[case]
    assert wrong(known) == []
    assert wrong(known, Level.SKIP) == [sentence]


FINE: dict[str, Inventory] = {
    "another default port": group(port=80),
    "the container's own port for health": group(health_port="3000"),
    "TLS to the container": group(protocol="HTTPS"),
    "a weight of nothing": balancer(weights={"arn:tg": 0}),
    "a balancer that is impaired": balancer(state="active_impaired"),
    "a balancer without groups": balancer(security_groups=()),
    "all protocols": ingress(replace(RULE, protocol="-1", first_port=0, last_port=65_535)),
    "addresses": ingress(replace(RULE, addresses=True, groups=())),
    "one of several groups": ingress(replace(RULE, groups=("sg-x",)), RULE),
}


@pytest.mark.parametrize("case", FINE)
def test_what_looks_odd_and_works_is_no_finding(case: str) -> None:
    assert wrong(FINE[case]) == []


def test_a_weight_of_nothing_is_said() -> None:
    said = [one.sentence for one in judged(FINE["a weight of nothing"]) if one.subject == "api listener rules"]
    assert said == ["alb forwards to tg, with weight 0 now: no request reaches it"]


@pytest.mark.parametrize(
    ("statement", "trusted"),
    [
        ({}, True),
        ({"Principal": {"Service": ["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"]}}, True),
        ({"Principal": "*"}, True),
        ({"Action": ["sts:TagSession", "sts:AssumeRole"]}, True),
        ({"Action": "STS:*"}, True),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}}, True),
        ({"Principal": {"AWS": "*"}}, False),
        ({"Principal": {"Service": "ecs.amazonaws.com"}}, False),
        ({"Effect": "Deny"}, False),
        ({"Action": "sts:TagSession"}, False),
    ],
)
def test_trust(statement: dict[str, Any], trusted: bool) -> None:
    one = {**TRUST["Statement"][0], **statement}
    assert trusts_tasks({"Statement": [one]}) is trusted
    assert trusts_tasks({"Statement": one}) is trusted
    denied = {**TRUST["Statement"][0], "Effect": "Deny"}
    assert trusts_tasks({"Statement": [one, denied]}) is False


def test_what_the_simulator_says_is_read_in_both_of_its_forms() -> None:
    below = {"EvalResourceName": SECRET, "EvalResourceDecision": "allowed"}
    result = {"EvalActionName": READ.action, "EvalDecision": "implicitDeny", "ResourceSpecificResults": [below]}
    assert decisions(result, READ.action) == [(READ, Decision.ALLOWED)]
    alone = {"EvalActionName": READ.action, "EvalResourceName": SECRET, "EvalDecision": "explicitDeny"}
    assert decisions(alone, READ.action) == [(READ, Decision.DENIED)]
    conditional = {**alone, "EvalDecision": "implicitDeny", "MissingContextValues": ["aws:SourceVpc"]}
    assert decisions(conditional, READ.action) == [(READ, Decision.UNDECIDED)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("nginx", ("", "nginx", "", "")),
        ("nginx:1", ("", "nginx", "1", "")),
        ("team/api:1", ("", "team/api", "1", "")),
        ("localhost/api", ("localhost", "api", "", "")),
        ("127.0.0.1:5000/team/api:1@sha256:0", ("127.0.0.1:5000", "team/api", "1", "sha256:0")),
        (
            "1.dkr.ecr.us-east-1.amazonaws.com/api@sha256:0",
            ("1.dkr.ecr.us-east-1.amazonaws.com", "api", "", "sha256:0"),
        ),
    ],
)
def test_an_image_s_name_is_taken_apart(text: str, parts: tuple[str, ...]) -> None:
    image = read_image(text)
    assert (image.registry, image.repository, image.tag, image.digest) == parts


@pytest.mark.parametrize(
    ("behind", "refused"),
    [("", False), (":password::", False), (":password:AWSCURRENT:", False), (":password", True), (":password:", True)],
)
def test_an_arn_with_some_of_its_parameters_is_refused_at_the_start(behind: str, refused: bool) -> None:
    container = {"name": "api", "image": IMAGE, "secrets": [{"name": "PASSWORD", "valueFrom": f"{SECRET}{behind}"}]}
    wanted = replace(WANTED, definition={**WANTED.definition, "containerDefinitions": [container]})
    stages = (SecretId(SECRET, stage, "") for stage in ("", "AWSCURRENT"))
    known = replace(KNOWN, secrets=dict.fromkeys(stages, SecretState(frozenset({"password"}))))
    findings = definition_findings(wanted, REGISTRY, ACCOUNT, REGION, known)
    assert [one.subject for one in findings if one.level is Level.NG] == ["api secret of PASSWORD"] * refused
