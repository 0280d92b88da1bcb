"""A whole stack of one of the two projects, provisioned as the twin does it, and what a test may do to it."""

from __future__ import annotations

import copy
import io
import json
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from gli_tasks.aws import Aws
from gli_tasks.ecs.findings import Finding, Level
from gli_tasks.ecs.verify import Wanted, verify, wanted_by_tag, wanted_service
from gli_tasks.rehearsal.cloud import Elbv2Service, FargateQuota, LoadBalancers, PolicySimulator, TargetStates
from gli_tasks.rehearsal.database import Role
from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from gli_tasks.rehearsal.ecs.service import EcsService
from gli_tasks.rehearsal.provision import Reachable, provision
from gli_tasks.rehearsal.registry.client import Credentials, RegistryClient
from gli_tasks.rehearsal.registry.ecr import EcrImages
from gli_tasks.rehearsal.registry.server import OciRegistry
from gli_tasks.rehearsal.wire import Gateway
from gli_tasks.settings import Settings
from tests.ecs.rollout_parts import BareRuntime, NoLogs, NoSecrets, digest
from tests.floor_parts import REPOSITORY
from tests.rehearsal.registry.conftest import SampleImage, make_image

TAG = "0123456789abcdef0123456789abcdef01234567"
#: Stands in every secret's value; nothing that is shown may hold it.
MARKER = "marker-of-a-secret-9f3"
#: The project ``gli`` whose definitions refer to more than they do today.
MORE = "more"


@dataclass
class Denying:
    """A WSGI application that refuses the named operations as IAM does, each service in its own words.

    ``pause_s`` is how long each request takes at the least, as a network does; ``most_at_once`` counts what was under
    way at one time.
    """

    behind: Any = None
    denied: set[str] = field(default_factory=set)
    pause_s: float = 0.0
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(self.pause_s)
        with self._lock:
            self._at_once -= 1
        operation, query = self._operation(environ)
        if operation not in self.denied:
            return self.behind(environ, start_response)  # type: ignore[no-any-return]
        text = f"User is not authorized to perform {operation}"
        if not query:
            body = json.dumps({"__type": "AccessDeniedException", "message": text})
            start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
        elif "/ec2/" in str(environ.get("HTTP_AUTHORIZATION")):
            error = f"<Error><Code>UnauthorizedOperation</Code><Message>{text}</Message></Error>"
            body = f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"
            start_response("403 Forbidden", [("Content-Type", "text/xml")])
        else:
            error = f"<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{text}</Message></Error>"
            body = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"
            start_response("403 Forbidden", [("Content-Type", "text/xml")])
        return [body.encode()]

    @staticmethod
    def _operation(environ: dict[str, Any]) -> tuple[str, bool]:
        target = environ.get("HTTP_X_AMZ_TARGET")
        if target:
            return str(target).rpartition(".")[2], False
        if "x-www-form-urlencoded" not in environ.get("CONTENT_TYPE", ""):
            return "", False
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        return parse_qs(body.decode())["Action"][0], True


@dataclass
class Production:
    """A stack that is whole until a test breaks a part of it."""

    settings: Settings
    aws: Aws
    gateway: Gateway
    doorman: Denying
    quota: FargateQuota
    registry: OciRegistry
    folder: Path

    def client(self, service: str) -> Any:
        return self.aws.client(service)

    def wanted(self, tag: str = TAG) -> list[Wanted]:
        services = self.settings.ecs_services
        return [wanted_by_tag(self.aws, self.settings, name, one, tag) for name, one in services.items()]

    def verify(self, wanted: list[Wanted] | None = None) -> tuple[Finding, ...]:
        host, cluster = self.settings.registry.host, self.settings.ecs.cluster
        return verify(self.aws, cluster, host, self.wanted() if wanted is None else wanted)

    def wanted_unasked(self) -> list[Wanted]:
        """Return the services with images that nobody was asked for."""
        host = self.settings.registry.host
        return [
            wanted_service(self.settings, name, one, f"{host}/{one.repository}@{digest(name)}", "1", image_known=True)
            for name, one in self.settings.ecs_services.items()
        ]

    def changed(self, path: str, value: Any, name: str = "api") -> list[Wanted]:
        """Return the wanted services with one place of a definition changed: ``cpu``, ``container.image``, ..."""
        return [change(one, path, value) if one.name == name else one for one in self.wanted()]

    def push(self, repository: str, tag: str, image: SampleImage) -> None:
        with RegistryClient(self.registry.address, Credentials("AWS", "password")) as client:
            image.push(client, repository, tag, self.folder)

    def put_up(self) -> None:
        """Provision all, push the images, and create the services with no task yet."""
        reachable = Reachable("127.0.0.1", 5432, Role("app", MARKER, "app"), f"http://127.0.0.1/{MARKER}")
        provision(self.settings, self.client, reachable)
        elbv2, ec2, ecs = self.client("elbv2"), self.client("ec2"), self.client("ecs")
        groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["tasks"]}])["SecurityGroups"]
        vpc = [{"Name": "vpc-id", "Values": [groups[0]["VpcId"]]}]
        subnets = [one["SubnetId"] for one in ec2.describe_subnets(Filters=vpc)["Subnets"]]
        for name, service in self.settings.ecs_services.items():
            self.push(service.repository, TAG, make_image({"app": name.encode()}))
            wanted = wanted_by_tag(self.aws, self.settings, name, service, TAG)
            group = elbv2.describe_target_groups(Names=[service.target_group])["TargetGroups"][0]["TargetGroupArn"]
            arn = ecs.register_task_definition(**wanted.definition)["taskDefinition"]["taskDefinitionArn"]
            ecs.create_service(
                cluster=self.settings.ecs.cluster,
                serviceName=service.service,
                taskDefinition=arn,
                desiredCount=0,
                launchType="FARGATE",
                networkConfiguration={
                    "awsvpcConfiguration": {"subnets": subnets, "securityGroups": [groups[0]["GroupId"]]}
                },
                loadBalancers=[
                    {"targetGroupArn": group, "containerName": service.container, "containerPort": service.port}
                ],
            )

    def target_group(self, name: str = "api") -> dict[str, Any]:
        group = self.settings.ecs_services[name].target_group
        return dict(self.client("elbv2").describe_target_groups(Names=[group])["TargetGroups"][0])

    def tasks_group(self) -> dict[str, Any]:
        wanted = [{"Name": "group-name", "Values": ["tasks"]}]
        return dict(self.client("ec2").describe_security_groups(Filters=wanted)["SecurityGroups"][0])

    def configure(self, name: str = "api", **network: list[str]) -> None:
        """Give a service other subnets or security groups."""
        ecs, service = self.client("ecs"), self.settings.ecs_services[name].service
        found = ecs.describe_services(cluster=self.settings.ecs.cluster, services=[service])["services"][0]
        old = found["networkConfiguration"]["awsvpcConfiguration"]
        ecs.update_service(
            cluster=self.settings.ecs.cluster,
            service=service,
            networkConfiguration={"awsvpcConfiguration": {**old, **network}},
        )


def make_production(settings: Settings, aws: Aws, doorman: Denying, moto: Any, folder: Path) -> tuple[Production, Any]:
    """Return a stack that is not put up yet, and its control plane."""
    account, region = settings.aws.account, settings.aws.region

    def exists(repository: str) -> bool:
        return repository in {one.repository for one in settings.ecs_services.values()}

    registry = OciRegistry(
        folder / "registry",
        authenticate=lambda _user, password: password == "password",
        repository_exists=exists,
        account=account,
    )
    images = EcrImages(
        registry.store,
        repository_exists=exists,
        tag_is_immutable=lambda _repository, _tag: False,
        account=account,
        signed_address=registry.signed_address,
    )
    balancers = LoadBalancers(account, region)
    targets = TargetStates(balancers, time_scale=0.05)
    plane = EcsControlPlane(
        BareRuntime(), digest, targets, NoLogs(), NoSecrets(), time_scale=0.01, account=account, region=region
    )
    quota = FargateQuota(account, region)
    services = [EcsService(plane), images, PolicySimulator(account), quota, Elbv2Service(balancers, targets)]
    gateway = doorman.behind = Gateway(moto, services)
    doorman.denied, doorman.pause_s = set(), 0.0
    settings = replace(settings, registry=replace(settings.registry, host=registry.address))
    return Production(settings, aws, gateway, doorman, quota, registry, folder), plane


def change(wanted: Wanted, path: str, value: Any) -> Wanted:
    """Return a wanted service with one place of its definition changed; None takes the place away."""
    definition = copy.deepcopy(dict(wanted.definition))
    place: Any = definition
    *parts, last = path.split(".")
    for part in parts:
        place = definition["containerDefinitions"][0] if part == "container" else place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return replace(wanted, definition=definition)


def levels(findings: Iterable[Finding], level: Level) -> list[str]:
    """Return the subjects of the findings of one level."""
    return [one.subject for one in findings if one.level is level]


def variables(**values: str) -> list[Mapping[str, str]]:
    """Return variables as a container's definition names them."""
    return [{"name": name, "value": value} for name, value in values.items()]


def with_more_references(folder: Path) -> Path:
    """Copy ``env/`` with a definition that names a secret by its whole ARN, one by a part of it, and parameters."""
    shutil.copytree(REPOSITORY / "env", folder)
    file = folder / "gli" / "taskdefs" / "api.json"
    definition = json.loads(file.read_text())
    secrets = "arn:aws:secretsmanager:${AWS_REGION}:${AWS_ACCOUNT_ID}:secret:gli"
    parameters = "arn:aws:ssm:${AWS_REGION}:${AWS_ACCOUNT_ID}:parameter"
    for name, value_from in {
        "SECRET_KEY": f"{secrets}/django-a1B2c3:secret_key::",
        "JWT_PRIVATE_KEY": f"{secrets}/jwt:private::",
        "JWT_PUBLIC_KEY": f"{secrets}/jwt:public:AWSCURRENT:",
        "WHOLE": f"{secrets}/jwt",
        "BY_NAME": "/gli/by-name",
        "BY_ARN": f"{parameters}/gli/by-arn",
        "FLAT": f"{parameters}/flat",
    }.items():
        definition["containerDefinitions"][0]["secrets"].append({"name": name, "valueFrom": value_from})
    file.write_text(json.dumps(definition))
    return folder
