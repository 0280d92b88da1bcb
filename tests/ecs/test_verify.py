"""Verification against whole stacks: nothing wrong in a whole one; of a broken one exactly what is broken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from gli_tasks.ecs.findings import Finding, Level, ng, ok
from gli_tasks.ecs.verify import Wanted, require_verified, wanted_by_tag
from gli_tasks.errors import Refused
from tests.ecs.verify_parts import MARKER, TAG, Production, change, levels
from tests.rehearsal.registry.conftest import make_image

pytest_plugins = ["tests.ecs.verify_fixtures"]

Broken = Callable[[Production], AbstractContextManager[list[Wanted]]]


def wanting(path: str, value: Any) -> Broken:
    """Break a reference in the definition."""

    @contextmanager
    def broken(production: Production) -> Iterator[list[Wanted]]:
        yield production.changed(path, value)

    return broken


def saying(**changes: Any) -> Broken:
    """Break what the settings say of the service."""

    @contextmanager
    def broken(production: Production) -> Iterator[list[Wanted]]:
        yield [replace(one, **changes) if one.name == "api" else one for one in production.wanted()]

    return broken


@contextmanager
def repository_gone(production: Production) -> Iterator[list[Wanted]]:
    image = f"{production.settings.registry.host}/no-such-repository@sha256:{'0' * 64}"
    yield production.changed("container.image", image)


@contextmanager
def image_gone(production: Production) -> Iterator[list[Wanted]]:
    image = f"{production.settings.registry.host}/gli-api-production@sha256:{'0' * 64}"
    yield production.changed("container.image", image)


@contextmanager
def image_elsewhere(production: Production) -> Iterator[list[Wanted]]:
    yield production.changed("container.image", f"registry.example.com/api@sha256:{'0' * 64}")


def trust(**statement: Any) -> Broken:
    """Let the task role trust somebody else."""

    @contextmanager
    def broken(production: Production) -> Iterator[list[Wanted]]:
        iam, name = production.client("iam"), "gli-production-task"
        old = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        document = {"Version": "2012-10-17", "Statement": [{**old["Statement"][0], **statement}]}
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(document))
        yield [one for one in production.wanted() if one.name == "api"]
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(old))

    return broken


def allowing(*, effect: str, resource: str) -> Broken:
    """Give the execution role another policy on secrets."""

    @contextmanager
    def broken(production: Production) -> Iterator[list[Wanted]]:
        iam, of = production.client("iam"), {"RoleName": "ecsTaskExecutionRole", "PolicyName": "start-tasks"}
        old = iam.get_role_policy(**of)["PolicyDocument"]
        others = [one for one in old["Statement"] if "secretsmanager:GetSecretValue" not in one["Action"]]
        statement = {"Effect": effect, "Action": "secretsmanager:GetSecretValue", "Resource": resource}
        new = {"Version": "2012-10-17", "Statement": [*others, statement]}
        iam.put_role_policy(**of, PolicyDocument=json.dumps(new))
        yield production.wanted()
        iam.put_role_policy(**of, PolicyDocument=json.dumps(old))

    return broken


@pytest.mark.parametrize(
    ("service", "refused"),
    [
        (
            "ecr",
            "ecr:GetAuthorizationToken on *; ecr:BatchGetImage on"
            " arn:aws:ecr:ap-northeast-2:917891822317:repository/{repository};",
        ),
        ("logs", "logs:CreateLogStream on arn:aws:logs:ap-northeast-2:917891822317:log-group:"),
    ],
)
def test_a_role_that_may_not_fetch_the_image_or_write_the_log_starts_no_task(
    production: Production, service: str, refused: str
) -> None:
    iam, of = production.client("iam"), {"RoleName": "ecsTaskExecutionRole", "PolicyName": "start-tasks"}
    old = iam.get_role_policy(**of)["PolicyDocument"]
    left = [
        {**one, "Action": actions}
        for one in old["Statement"]
        if (actions := [action for action in one["Action"] if not action.startswith(f"{service}:")])
    ]
    iam.put_role_policy(**of, PolicyDocument=json.dumps({**old, "Statement": left}))
    findings = production.verify()
    iam.put_role_policy(**of, PolicyDocument=json.dumps(old))
    wrong = {one.subject: one.sentence for one in findings if one.level is Level.NG}
    assert list(wrong) == ["api execution role permissions", "websocket execution role permissions"]
    repository = production.settings.ecs_services["api"].repository
    assert refused.format(repository=repository) in wrong["api execution role permissions"]


@contextmanager
def secret_deleted(production: Production) -> Iterator[list[Wanted]]:
    manager, name = production.client("secretsmanager"), "gli/db/production"
    manager.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    yield production.wanted()
    manager.restore_secret(SecretId=name)


def secret_holding(text: str) -> Broken:
    @contextmanager
    def broken(production: Production) -> Iterator[list[Wanted]]:
        manager, name = production.client("secretsmanager"), "gli/db/production"
        old = manager.get_secret_value(SecretId=name)["SecretString"]
        manager.put_secret_value(SecretId=name, SecretString=text)
        yield production.wanted()
        manager.put_secret_value(SecretId=name, SecretString=old)

    return broken


def health_check(**asked: Any) -> Broken:
    @contextmanager
    def broken(production: Production) -> Iterator[list[Wanted]]:
        elbv2, group = production.client("elbv2"), production.target_group()
        elbv2.modify_target_group(TargetGroupArn=group["TargetGroupArn"], **asked)
        yield production.wanted()
        old = {"HealthCheckPath": group["HealthCheckPath"], "HealthCheckPort": group["HealthCheckPort"]}
        elbv2.modify_target_group(TargetGroupArn=group["TargetGroupArn"], **old)

    return broken


def other_target_group(**made: Any) -> Broken:
    """Name another target group of the service; the service and the rules do not know it either."""

    @contextmanager
    def broken(production: Production) -> Iterator[list[Wanted]]:
        elbv2, old = production.client("elbv2"), production.target_group()
        group = {"Name": "other", "Protocol": "HTTP", "Port": 8000, "VpcId": old["VpcId"], "TargetType": "ip"}
        arn = elbv2.create_target_group(**{**group, "HealthCheckPath": "/health", **made})["TargetGroups"][0]
        yield [replace(one, target_group="other") if one.name == "api" else one for one in production.wanted()]
        elbv2.delete_target_group(TargetGroupArn=arn["TargetGroupArn"])

    return broken


@contextmanager
def rule_gone(production: Production) -> Iterator[list[Wanted]]:
    elbv2, group = production.client("elbv2"), production.target_group()["TargetGroupArn"]
    balancer = elbv2.describe_load_balancers(Names=["gli-production-alb"])["LoadBalancers"][0]["LoadBalancerArn"]
    listeners = elbv2.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
    listener = next(one["ListenerArn"] for one in listeners if one["Port"] == 443)
    rules = elbv2.describe_rules(ListenerArn=listener)["Rules"]
    rule = next(one for one in rules if group in json.dumps(one["Actions"]))
    elbv2.delete_rule(RuleArn=rule["RuleArn"])
    yield production.wanted()
    host = {"Field": "host-header", "HostHeaderConfig": {"Values": ["api.glibiz.com"]}}
    action = {"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": group, "Weight": 1}]}}
    elbv2.create_rule(ListenerArn=listener, Priority=int(rule["Priority"]), Conditions=[host], Actions=[action])


def attached(container: str, port: int) -> Broken:
    """Let the service put another container or port into its target group."""

    @contextmanager
    def broken(production: Production) -> Iterator[list[Wanted]]:
        wanted = [one for one in production.wanted() if one.name == "api"]
        yield [replace(one, service="second") for one in wanted]

    @contextmanager
    def with_service(production: Production) -> Iterator[list[Wanted]]:
        ecs, cluster = production.client("ecs"), production.settings.ecs.cluster
        old = ecs.describe_services(cluster=cluster, services=["production-gli-api"])["services"][0]
        definition = change(production.wanted()[0], "container.name", container).definition
        mapped = [{"containerPort": one, "protocol": "tcp"} for one in {8000, port}]
        definition = {**definition, "family": "second"}
        definition["containerDefinitions"][0]["portMappings"] = mapped
        ecs.register_task_definition(**definition)
        group = production.target_group()["TargetGroupArn"]
        ecs.create_service(
            cluster=cluster,
            serviceName="second",
            taskDefinition="second",
            desiredCount=0,
            launchType="FARGATE",
            networkConfiguration=old["networkConfiguration"],
            loadBalancers=[{"targetGroupArn": group, "containerName": container, "containerPort": port}],
        )
        with broken(production) as wanted:
            yield wanted
        ecs.delete_service(cluster=cluster, service="second", force=True)

    return with_service


def network(**changes: list[str]) -> Broken:
    @contextmanager
    def broken(production: Production) -> Iterator[list[Wanted]]:
        ecs, cluster = production.client("ecs"), production.settings.ecs.cluster
        found = ecs.describe_services(cluster=cluster, services=["production-gli-api"])["services"][0]
        old = found["networkConfiguration"]["awsvpcConfiguration"]
        production.configure(**changes)
        yield production.wanted()
        production.configure(**{key: old[key] for key in changes})

    return broken


def in_another_vpc(kind: str) -> Broken:
    @contextmanager
    def broken(production: Production) -> Iterator[list[Wanted]]:
        ec2 = production.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        if kind == "subnets":
            made = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
        else:
            made = ec2.create_security_group(GroupName="other", Description="other", VpcId=vpc)["GroupId"]
        with network(**{kind: [made]})(production) as wanted:
            yield wanted

    return broken


def tasks_group_lets(**rule: Any) -> Broken:
    """Let the tasks' security group let in something else in place of the load balancer on the API's port."""

    @contextmanager
    def broken(production: Production) -> Iterator[list[Wanted]]:
        ec2, group = production.client("ec2"), production.tasks_group()
        old = [one for one in group["IpPermissions"] if one["FromPort"] == 8000]
        ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=old)
        stranger = ec2.create_security_group(GroupName="stranger", Description="stranger", VpcId=group["VpcId"])
        new = {"IpProtocol": "tcp", "FromPort": 8000, "ToPort": 8000, **rule}
        if "IpRanges" not in new:
            new["UserIdGroupPairs"] = [{"GroupId": stranger["GroupId"]}]
        ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[new])
        yield production.wanted()
        ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[new])
        ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=old)
        ec2.delete_security_group(GroupId=stranger["GroupId"])

    return broken


@contextmanager
def quota_too_small(production: Production) -> Iterator[list[Wanted]]:
    ecs, cluster = production.client("ecs"), production.settings.ecs.cluster
    # One more is wanted than fits, and no task starts: their images are not of this twin's engine.
    production.quota.vcpus = 0.0
    ecs.update_service(cluster=cluster, service="production-gli-api", desiredCount=1)
    yield production.wanted()
    ecs.update_service(cluster=cluster, service="production-gli-api", desiredCount=0)
    production.quota.vcpus = 6.0


DB = "arn:aws:secretsmanager:ap-northeast-2:917891822317:secret:gli/db/production-u1ubhz"
LOGS = "container.logConfiguration.options."
BROKEN: dict[str, tuple[Broken, str]] = {
    "no such repository": (repository_gone, "api image"),
    "no such digest": (image_gone, "api image"),
    "another registry": (image_elsewhere, "api image"),
    "architecture": (wanting("runtimePlatform", {"cpuArchitecture": "ARM64"}), "api image platform"),
    "no such execution role": (
        wanting("executionRoleArn", "arn:aws:iam::917891822317:role/nobody"),
        "api execution role",
    ),
    "no such task role": (wanting("taskRoleArn", "arn:aws:iam::917891822317:role/nobody"), "api task role"),
    "a role of another account": (wanting("taskRoleArn", "arn:aws:iam::123456789012:role/x"), "api task role"),
    "a role's path": (wanting("taskRoleArn", "arn:aws:iam::917891822317:role/a/gli-production-task"), "api task role"),
    "trust in another service": (trust(Principal={"Service": "ec2.amazonaws.com"}), "api task role"),
    "trust denied": (trust(Effect="Deny"), "api task role"),
    "trust in another action": (trust(Action="sts:TagSession"), "api task role"),
    "no permission": (allowing(effect="Allow", resource=f"{DB}x"), "api execution role permissions"),
    "permission denied": (allowing(effect="Deny", resource="*"), "api execution role permissions"),
    "no such key": (
        wanting("container.secrets", [{"name": "DB_PASSWORD", "valueFrom": f"{DB}:passwd::"}]),
        "api secret gli/db/production-u1ubhz",
    ),
    "no such version": (
        wanting("container.secrets", [{"name": "DB_PASSWORD", "valueFrom": f"{DB}:password:BLUE:"}]),
        "api secret gli/db/production-u1ubhz",
    ),
    "a secret that is deleted": (secret_deleted, "api secret gli/db/production-u1ubhz"),
    "a secret that is no JSON": (secret_holding(MARKER), "api secret gli/db/production-u1ubhz"),
    "a secret that is a list": (secret_holding(f'["{MARKER}"]'), "api secret gli/db/production-u1ubhz"),
    "no such log group": (wanting(f"{LOGS}awslogs-group", "/ecs/nowhere"), "api log group"),
    "a prefix of a log group": (wanting(f"{LOGS}awslogs-group", "/ecs/production-gli"), "api log group"),
    "logs in another region": (wanting(f"{LOGS}awslogs-region", "us-east-1"), "api container gli-api"),
    "no such service": (saying(service="nowhere"), "api service"),
    "no such target group": (saying(target_group="nowhere"), "api target group"),
    "health path": (health_check(HealthCheckPath="/"), "api health path"),
    "health port": (health_check(HealthCheckPort="9000"), "api health path"),
    "settings' health path": (saying(health_path="/healthz"), "api health path"),
    "no rule": (rule_gone, "api listener rules"),
    "another target group": (saying(target_group="gli-prod-ws-tg"), "api service's load balancer"),
    "another container": (attached("other", 8000), "api service's load balancer"),
    "another port": (attached("gli-api", 9000), "api service's load balancer"),
    "no such subnet": (network(subnets=["subnet-0123456789abcdef0"]), "api subnets"),
    "no such security group": (network(securityGroups=["sg-0123456789abcdef0"]), "api security groups"),
    "subnets of another network": (in_another_vpc("subnets"), "api subnets"),
    "security groups of another network": (in_another_vpc("securityGroups"), "api security groups"),
    "a security group for a stranger": (tasks_group_lets(), "api security groups"),
    "a security group for another port": (tasks_group_lets(FromPort=8001, ToPort=8001), "api security groups"),
    "a security group for another protocol": (tasks_group_lets(IpProtocol="udp"), "api security groups"),
    "the settings' port": (wanting("container.portMappings", [{"containerPort": 9000}]), "api container gli-api"),
    "Fargate's sizes": (wanting("memory", "768"), "api task definition"),
    "Fargate's quota": (quota_too_small, "Fargate vCPU quota"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_of_a_broken_reference_exactly_it_is_found(production: Production, broken: str) -> None:
    breaking, subject = BROKEN[broken]
    with breaking(production) as wanted:
        findings = production.verify(wanted)
    assert levels(findings, Level.NG) == [subject]
    found = next(one for one in findings if one.level is Level.NG)
    assert found.sentence
    assert found.remedy
    assert MARKER not in repr(findings)


@pytest.mark.parametrize(
    ("made", "subject"),
    [
        ({"TargetType": "instance"}, "api target group"),
        ({"Protocol": "UDP", "HealthCheckProtocol": "HTTP"}, "api target group"),
        ({"HealthCheckPath": "/other"}, "api health path"),
    ],
    ids=["type", "protocol", "path"],
)
def test_another_target_group_must_fit_and_be_reached(
    production: Production, made: dict[str, Any], subject: str
) -> None:
    with other_target_group(**made)(production) as wanted:
        findings = production.verify(wanted)
    unreached = ["api service's load balancer", "api listener rules"]
    assert levels(findings, Level.NG) == [subject, *unreached]


def test_after_all_that_the_stack_is_whole_again(production: Production) -> None:
    findings = production.verify()
    assert {one.level for one in findings} == {Level.OK}


def test_a_cluster_that_is_not_there_leaves_its_services_unjudged(production: Production) -> None:
    lost = replace(
        production, settings=replace(production.settings, ecs=replace(production.settings.ecs, cluster="nowhere"))
    )
    findings = lost.verify()
    assert levels(findings, Level.NG) == ["cluster nowhere"]
    assert "api service" in levels(findings, Level.SKIP)


def test_an_image_that_is_not_pushed_yet_is_no_fault(production: Production) -> None:
    findings = production.verify(production.wanted(tag="f" * 40))
    assert levels(findings, Level.NG) == []
    assert levels(findings, Level.SKIP) == ["api image", "websocket image"]


def test_a_tag_that_is_there_already_is_taken_by_its_digest(production: Production) -> None:
    name, service = next(iter(production.settings.ecs_services.items()))
    wanted = wanted_by_tag(production.aws, production.settings, name, service, TAG)
    assert wanted.image_known
    assert "@sha256:" in wanted.containers[0]["image"]


def test_a_repository_that_is_not_there_is_a_finding(production: Production) -> None:
    service = replace(production.settings.ecs_services["api"], repository="nowhere")
    wanted = wanted_by_tag(production.aws, production.settings, "api", service, TAG)
    findings = production.verify([wanted])
    assert levels(findings, Level.NG) == ["api image"]
    assert "ECR has no repository nowhere" in repr(findings)


def test_a_parameter_is_found_by_name_and_by_arn(production: Production) -> None:
    production.client("ssm").put_parameter(Name="/gli/key", Value=MARKER, Type="SecureString", Overwrite=True)
    production.client("ssm").put_parameter(Name="plain", Value=MARKER, Type="String", Overwrite=True)
    arn = "arn:aws:ssm:ap-northeast-2:917891822317:parameter"
    names = ["/gli/key", f"{arn}/gli/key", "plain", f"{arn}/plain", "gli/db/production", f"{arn}/other"]
    secrets = [{"name": f"KEY_{number}", "valueFrom": name} for number, name in enumerate(names)]
    with allowing(effect="Allow", resource="*")(production):
        findings = production.verify(production.changed("container.secrets", secrets)[:1])
    parameters = {
        one.subject.removeprefix("api parameter "): one.level for one in findings if "parameter" in one.subject
    }
    assert parameters == {
        "/gli/key": Level.OK,
        "plain": Level.OK,
        "/plain": Level.OK,
        "gli/db/production": Level.NG,
        "/other": Level.NG,
    }
    permissions = next(one for one in findings if one.subject == "api execution role permissions")
    assert permissions.level is Level.NG
    assert "ssm:GetParameters on arn:aws:ssm:ap-northeast-2:917891822317:parameter/gli/key" in permissions.sentence


def test_what_lies_in_another_region_is_not_asked(production: Production) -> None:
    elsewhere = [
        {"name": "A", "valueFrom": DB.replace("ap-northeast-2", "us-east-1")},
        {"name": "B", "valueFrom": "arn:aws:ssm:us-east-1:917891822317:parameter/b"},
    ]
    with allowing(effect="Allow", resource="*")(production):
        findings = production.verify(production.changed("container.secrets", elsewhere)[:1])
    skipped = levels(findings, Level.SKIP)
    assert skipped == ["api secret gli/db/production-u1ubhz", "api parameter /b"]


@pytest.mark.parametrize(("effect", "level"), [("Allow", Level.SKIP), ("Deny", Level.NG)])
def test_a_secret_with_a_policy_of_its_own_is_left_open_unless_denied(
    production: Production, effect: str, level: Level
) -> None:
    manager = production.client("secretsmanager")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Principal": "*"}]}
    manager.put_resource_policy(SecretId="gli/db/production", ResourcePolicy=json.dumps(policy))
    resource = "*" if effect == "Deny" else "arn:aws:s3:::none"
    with allowing(effect=effect, resource=resource)(production) as wanted:
        findings = production.verify(wanted)
    manager.delete_resource_policy(SecretId="gli/db/production")
    assert levels(findings, level) == ["api execution role permissions"]
    assert {one.level for one in findings} == {Level.OK, level}


def test_a_log_group_that_is_made_at_the_start_need_not_be_there(production: Production) -> None:
    options = production.wanted()[0].containers[0]["logConfiguration"]["options"]
    new = {**options, "awslogs-group": "/ecs/new", "awslogs-create-group": "true"}
    findings = production.verify(production.changed("container.logConfiguration.options", new))
    assert {one.subject: one.level for one in findings}["api log group"] is Level.OK
    # What AmazonECSTaskExecutionRolePolicy does not allow.
    (wrong,) = (one for one in findings if one.level is Level.NG)
    arn = "arn:aws:logs:ap-northeast-2:917891822317:log-group:/ecs/new:log-stream:"
    assert f"the role may not logs:CreateLogGroup on {arn}" in f"{wrong.sentence}$"


def test_an_open_port_is_let_in(production: Production) -> None:
    with tasks_group_lets(IpRanges=[{"CidrIp": "10.0.0.0/8"}])(production) as wanted:
        assert levels(production.verify(wanted), Level.NG) == []
    with tasks_group_lets(FromPort=7000, ToPort=9000, IpRanges=[{"CidrIp": "0.0.0.0/0"}])(production) as wanted:
        assert levels(production.verify(wanted), Level.NG) == []


def test_an_index_is_for_the_platforms_that_it_lists(production: Production) -> None:
    from gli_tasks.rehearsal.registry.client import Credentials, RegistryClient
    from gli_tasks.rehearsal.registry.manifest import OCI_INDEX, parse_manifest

    one = make_image({"one": b"1"})
    production.push("gli-api-production", "child", one)
    child = {"mediaType": one.manifest.media_type, "size": len(one.manifest.content), "digest": one.manifest.digest}
    platforms = [{"os": "linux", "architecture": "arm64"}, {"os": "unknown", "architecture": "unknown"}]
    manifests = [{**child, "platform": platform} for platform in platforms]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    with RegistryClient(production.registry.address, Credentials("AWS", "password")) as client:
        client.put_manifest("gli-api-production", "index", parse_manifest(json.dumps(document).encode()))
    findings = production.verify(production.wanted(tag="index")[:1])
    assert [one.sentence for one in findings if one.level is Level.NG] == [
        "built for linux/arm64, and the tasks run on linux/amd64"
    ]


def test_nothing_wanted_asks_nothing(production: Production) -> None:
    before = production.gateway.calls()
    assert production.verify([]) == ()
    assert production.gateway.calls() == before


def test_all_that_is_wrong_is_refused_together_with_what_to_do() -> None:
    findings = [ok("a", "is there"), ng("b", "is not there", "create it"), ng("c", "is odd", "mend it")]
    with pytest.raises(Refused) as caught:
        require_verified(findings)
    assert str(caught.value) == (
        "2 things are not as a release needs them:\n"
        "  - b: is not there\n    next: create it\n"
        "  - c: is odd\n    next: mend it\n"
        "  next: mend what is named above; `invoke ecs.verify` looks again"
    )
    require_verified([ok("a", "is there"), Finding(Level.SKIP, "b", "was not looked at")])
