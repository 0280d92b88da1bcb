"""Create in the twin all that an environment's settings name, by the names that they give it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gli_tasks.ecs.references import (
    ParameterUse,
    execution_role,
    needed_to_start,
    parameter_names,
    role_name,
    secret_uses,
    task_role,
)
from gli_tasks.rehearsal.cloud import restamp
from gli_tasks.rehearsal.database import Role
from gli_tasks.rehearsal.drawn_secrets import draw
from gli_tasks.settings import EcsService, S3Site, Settings, VercelSite

Client = Callable[[str], Any]

_DEREGISTRATION_DELAY_S = "60"
# What Secrets Manager puts behind a secret's name in its ARN.
_SECRET_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}$")
_STARTING_ACTIONS = [
    "ecr:GetAuthorizationToken",
    "ecr:BatchCheckLayerAvailability",
    "ecr:GetDownloadUrlForLayer",
    "ecr:BatchGetImage",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
]


@dataclass(frozen=True, slots=True)
class Reachable:
    """Where the tasks reach what is not AWS's API: the database and the Slack stand-in."""

    database_host: str
    database_port: int
    role: Role
    slack_url: str


@dataclass(frozen=True, slots=True)
class StaticSite:
    """A front end that is served from a bucket: its host and that bucket."""

    host: str
    bucket: str


def static_sites(settings: Settings) -> list[StaticSite]:
    """Return where each front end is served from: S3 sites their own bucket, Vercel's a bucket that stands for
    Vercel."""
    sites = []
    for name, site in settings.sites.items():
        bucket = site.bucket if isinstance(site, S3Site) else f"vercel-{settings.project}-{name}"
        sites.append(StaticSite(site.host, bucket))
    return sites


def provision(settings: Settings, client: Client, reachable: Reachable) -> None:
    """Create everything; services on ECS are left to the first release of the old version."""
    _buckets(settings, client("s3"))
    _images_and_logs(settings, client)
    _secrets(settings, client("secretsmanager"), reachable)
    _other_references(settings, client)
    _roles(settings, client("iam"))
    client("ecs").create_cluster(clusterName=settings.ecs.cluster)
    network = _network(client("ec2"), sorted({service.port for service in settings.ecs_services.values()}))
    certificate = _certificate(settings, client("acm"))
    _load_balancer(settings, client("elbv2"), network, certificate)
    _front_ends(settings, client, certificate)
    _data_stores(settings, client)


def _buckets(settings: Settings, s3: Any) -> None:
    wanted = {settings.state.bucket, *(site.bucket for site in static_sites(settings))}
    place = {"LocationConstraint": settings.aws.region}
    for bucket in sorted(wanted):
        if settings.aws.region == "us-east-1":
            s3.create_bucket(Bucket=bucket)
        else:
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for site in static_sites(settings):
        # A bucket that hosts a website is open for reading, and nothing more.
        statement = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{site.bucket}/*",
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        s3.put_bucket_policy(Bucket=site.bucket, Policy=json.dumps(policy))


def _images_and_logs(settings: Settings, client: Client) -> None:
    for service in settings.ecs_services.values():
        client("ecr").create_repository(repositoryName=service.repository)
    groups = {group for service in settings.ecs_services.values() for group in _log_groups(settings, service)}
    for group in sorted(groups):
        client("logs").create_log_group(logGroupName=group)
        client("logs").put_retention_policy(logGroupName=group, retentionInDays=30)


def _definition(settings: Settings, service: EcsService) -> dict[str, Any]:
    from gli_tasks.settings.interpolation import fill_tree

    template = json.loads((settings.folder / service.task_definition).read_text(encoding="utf-8"))
    values = {**settings.values, "IMAGE": "", "VERSION": ""}
    filled: dict[str, Any] = fill_tree(template, values, lambda *_: None, {})
    return filled


def _log_groups(settings: Settings, service: EcsService) -> list[str]:
    containers = _definition(settings, service)["containerDefinitions"]
    options = [one.get("logConfiguration", {}).get("options", {}) for one in containers]
    return [str(one["awslogs-group"]) for one in options if "awslogs-group" in one]


def _secrets(settings: Settings, manager: Any, reachable: Reachable) -> None:
    database, role = settings.database, reachable.role
    if database is not None:
        place = f"{reachable.database_host}:{reachable.database_port}"
        value = {
            "username": role.name,
            "password": role.password,
            "host": reachable.database_host,
            "port": str(reachable.database_port),
            "dbname": role.database,
            "engine": "postgres",
            "url": f"postgres://{role.name}:{role.password}@{place}/{role.database}",
        }
        manager.create_secret(Name=database.secret, SecretString=json.dumps(value))
        prefix = f"arn:aws:secretsmanager:{settings.aws.region}:{settings.aws.account}:secret:{database.secret}-"
        named = next((text for text in settings.values.values() if text.startswith(prefix)), "")
        if named:
            restamp.restamp_secret(settings.aws.account, settings.aws.region, database.secret, named)
    kind, _, rest = settings.notify.slack_webhook.partition(":")
    if kind == "aws-sm":
        name, _, field = rest.partition("#")
        text = json.dumps({field: reachable.slack_url}) if field else reachable.slack_url
        manager.create_secret(Name=name, SecretString=text)


def _other_references(settings: Settings, client: Client) -> None:
    """Make the secrets and parameters that definitions name beside the database's and Slack's, with random values."""
    keys: dict[str, set[str]] = {}
    parameters = set()
    for service in settings.ecs_services.values():
        for use in secret_uses(_definition(settings, service)):
            if isinstance(use, ParameterUse):
                parameters.add(use.parameter)
            elif use.secret.id.startswith("arn:"):
                keys.setdefault(use.secret.id, set()).update({use.key} - {""})
    slack = settings.notify.slack_webhook.partition(":")[2].partition("#")[0]
    made = {settings.database.secret if settings.database else "", slack}
    for arn, fields in sorted(keys.items()):
        name = _SECRET_SUFFIX.sub("", arn.rpartition(":")[2])
        if name in made:
            continue
        value = json.dumps({field: draw() for field in sorted(fields)})
        client("secretsmanager").create_secret(Name=name, SecretString=value)
        if _SECRET_SUFFIX.search(arn):
            restamp.restamp_secret(settings.aws.account, settings.aws.region, name, arn)
    for parameter in sorted(parameters):
        client("ssm").put_parameter(Name=parameter_names(parameter)[0], Value=draw(), Type="SecureString")


def _roles(settings: Settings, iam: Any) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    definitions = [_definition(settings, service) for service in settings.ecs_services.values()]
    roles = {role for one in definitions for role in (execution_role(one), task_role(one)) if role}
    for role in sorted(roles):
        iam.create_role(RoleName=role_name(role), AssumeRolePolicyDocument=json.dumps(trust))
    read: dict[str, set[tuple[str, str]]] = {}
    for one in definitions:
        needed = needed_to_start(one, settings.aws.account, settings.aws.region, settings.registry.host)
        read.setdefault(execution_role(one), set()).update(
            (each.action, each.resource) for each in needed if each.action not in _STARTING_ACTIONS
        )
    for role, pairs in read.items():
        # What AmazonECSTaskExecutionRolePolicy allows, and the secrets of its tasks.
        statements = [{"Effect": "Allow", "Action": _STARTING_ACTIONS, "Resource": "*"}]
        statements += [
            {"Effect": "Allow", "Action": [action], "Resource": resource} for action, resource in sorted(pairs)
        ]
        policy = {"Version": "2012-10-17", "Statement": statements}
        if role:
            iam.put_role_policy(RoleName=role_name(role), PolicyName="start-tasks", PolicyDocument=json.dumps(policy))


@dataclass(frozen=True, slots=True)
class _Network:
    vpc: str
    subnets: tuple[str, ...]
    balancer_group: str


def _network(ec2: Any, ports: list[int]) -> _Network:
    """Make a network of two subnets: the world reaches the load balancer, and the load balancer reaches the tasks."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    zones = [zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]][:2]
    subnets = tuple(
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{index}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for index, zone in enumerate(zones)
    )
    balancer = ec2.create_security_group(GroupName="load-balancer", Description="load balancer", VpcId=vpc)["GroupId"]
    tasks = ec2.create_security_group(GroupName="tasks", Description="tasks", VpcId=vpc)["GroupId"]
    world = [{"CidrIp": "0.0.0.0/0"}]
    ec2.authorize_security_group_ingress(
        GroupId=balancer,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": one, "ToPort": one, "IpRanges": world} for one in (80, 443)],
    )
    inside = [{"GroupId": balancer}]
    ec2.authorize_security_group_ingress(
        GroupId=tasks,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": one, "ToPort": one, "UserIdGroupPairs": inside} for one in ports
        ],
    )
    return _Network(vpc, subnets, balancer)


def _certificate(settings: Settings, acm: Any) -> str:
    hosts = [service.host for service in settings.services.values()]
    return str(acm.request_certificate(DomainName=hosts[0], SubjectAlternativeNames=hosts)["CertificateArn"])


def _load_balancer(settings: Settings, elbv2: Any, network: _Network, certificate: str) -> None:
    balancer = elbv2.create_load_balancer(
        Name=settings.load_balancer.name,
        Subnets=list(network.subnets),
        SecurityGroups=[network.balancer_group],
        Scheme="internet-facing",
        Type="application",
    )["LoadBalancers"][0]["LoadBalancerArn"]
    groups = {
        name: elbv2.create_target_group(
            Name=service.target_group,
            Protocol="HTTP",
            Port=service.port,
            VpcId=network.vpc,
            TargetType="ip",
            HealthCheckPath=service.health_path,
            HealthCheckIntervalSeconds=10,
            HealthCheckTimeoutSeconds=5,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=3,
            Matcher={"HttpCode": "200"},
        )["TargetGroups"][0]["TargetGroupArn"]
        for name, service in settings.ecs_services.items()
    }
    for group in groups.values():
        elbv2.modify_target_group_attributes(
            TargetGroupArn=group,
            Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": _DEREGISTRATION_DELAY_S}],
        )
    elbv2.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTP",
        Port=80,
        DefaultActions=[
            {"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}
        ],
    )
    default = settings.load_balancer.default_service
    nothing = {"StatusCode": "404", "ContentType": "text/plain", "MessageBody": "no such host"}
    listener = elbv2.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTPS",
        Port=443,
        Certificates=[{"CertificateArn": certificate}],
        DefaultActions=[
            _forward(groups[default]) if default else {"Type": "fixed-response", "FixedResponseConfig": nothing}
        ],
    )["Listeners"][0]["ListenerArn"]
    for priority, (name, service) in enumerate(settings.ecs_services.items(), start=1):
        if name != default:
            elbv2.create_rule(
                ListenerArn=listener,
                Priority=priority,
                Conditions=[{"Field": "host-header", "HostHeaderConfig": {"Values": [service.host]}}],
                Actions=[_forward(groups[name])],
            )


def _forward(group: str) -> dict[str, Any]:
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": group, "Weight": 1}]}}


def _front_ends(settings: Settings, client: Client, certificate: str) -> None:
    for site in settings.sites.values():
        if isinstance(site, VercelSite):
            continue
        made = client("cloudfront").create_distribution(
            DistributionConfig={
                "CallerReference": site.host,
                "Aliases": {"Quantity": 1, "Items": [site.host]},
                "DefaultRootObject": "index.html",
                "Origins": {
                    "Quantity": 1,
                    "Items": [
                        {
                            "Id": "bucket",
                            "DomainName": f"{site.bucket}.s3.{settings.aws.region}.amazonaws.com",
                            "S3OriginConfig": {"OriginAccessIdentity": ""},
                        }
                    ],
                },
                "DefaultCacheBehavior": {
                    "TargetOriginId": "bucket",
                    "ViewerProtocolPolicy": "redirect-to-https",
                    "MinTTL": 0,
                    "ForwardedValues": {"QueryString": False, "Cookies": {"Forward": "none"}},
                },
                "CustomErrorResponses": {
                    "Quantity": 1,
                    "Items": [
                        {
                            "ErrorCode": 403,
                            "ResponsePagePath": "/index.html",
                            "ResponseCode": "200",
                            "ErrorCachingMinTTL": 0,
                        }
                    ],
                },
                "ViewerCertificate": {"ACMCertificateArn": certificate, "SSLSupportMethod": "sni-only"},
                "Comment": f"{settings.project} {settings.environment}",
                "Enabled": True,
            }
        )["Distribution"]
        restamp.restamp_distribution(settings.aws.account, made["Id"], site.distribution)


def _data_stores(settings: Settings, client: Client) -> None:
    if settings.database is not None:
        client("rds").create_db_instance(
            DBInstanceIdentifier=settings.database.instance,
            Engine="postgres",
            EngineVersion="17.10",
            DBInstanceClass="db.t4g.medium",
            AllocatedStorage=20,
            MasterUsername="postgres",
            ManageMasterUserPassword=True,
            BackupRetentionPeriod=7,
        )
    if settings.cache is not None:
        client("elasticache").create_replication_group(
            ReplicationGroupId=settings.cache.replication_group,
            ReplicationGroupDescription=f"{settings.project} {settings.environment}",
            Engine="redis",
            CacheNodeType="cache.r6g.xlarge",
            NumCacheClusters=3,
            AutomaticFailoverEnabled=True,
            AtRestEncryptionEnabled=True,
            TransitEncryptionEnabled=settings.cache.transit_encryption,
        )


def publish_site(s3: Any, bucket: str, output: Path) -> int:
    """Put a built front end into its bucket, and return how many files that were."""
    import mimetypes

    files = [file for file in sorted(output.rglob("*")) if file.is_file()]
    for file in files:
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        s3.put_object(Bucket=bucket, Key=file.relative_to(output).as_posix(), Body=file.read_bytes(), ContentType=kind)
    return len(files)
