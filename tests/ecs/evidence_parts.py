"""A small cloud for rollouts that go wrong: ECS with tasks that are real processes, a balancer's targets, and logs."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from gli_tasks.ecs.deploy import Started, follow, update_service
from gli_tasks.ecs.plan import Judgement, Progress
from gli_tasks.ecs.services import read_services
from gli_tasks.rehearsal.cloud import Elbv2Service, LoadBalancers, LogSink, TargetStates
from gli_tasks.rehearsal.cloud.targets import HealthReport
from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from gli_tasks.rehearsal.ecs.ports import TargetState
from gli_tasks.rehearsal.ecs.service import EcsService
from gli_tasks.rehearsal.wire import Gateway
from tests.ecs.rollout_parts import NETWORK, ROLE, NoSecrets, digest
from tests.rehearsal.ecs.ecs_local_parts import LocalRuntime

ACCOUNT, REGION = "123456789012", "ap-northeast-2"
GROUP = "/ecs/api"
PROGRAM = Path(__file__).with_name("evidence_program.py")
_THRESHOLD = 2


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


class Prober:
    """Asks every target as a load balancer does, and reports what it found."""

    def __init__(self, targets: TargetStates) -> None:
        self._targets, self._failures = targets, dict[Any, int]()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopped.wait(0.03):
            for one in self._targets.registered():
                if one.is_draining:
                    self._targets.report([HealthReport(one.target, TargetState("gone"))])
                    continue
                found = self._ask(one.target.address, one.target.port)
                self._failures[one.target] = 0 if found.state == "healthy" else self._failures.get(one.target, 0) + 1
                if found.state == "healthy" or self._failures[one.target] >= _THRESHOLD:
                    self._targets.report([HealthReport(one.target, found)])

    @staticmethod
    def _ask(address: str, port: int) -> TargetState:
        connection = http.client.HTTPConnection(address, port, timeout=0.5)
        try:
            connection.request("GET", "/health")
            status = connection.getresponse().status
        except OSError:
            return TargetState("unhealthy", "Target.FailedHealthChecks", "Health checks failed")
        finally:
            connection.close()
        if status == 200:
            return TargetState("healthy")
        words = f"Health checks failed with these codes: [{status}]"
        return TargetState("unhealthy", "Target.ResponseCodeMismatch", words)


@dataclass
class Cloud:
    """Clients of the cloud by service name, the calls that it counted, and what to do with its one cluster."""

    endpoint: str
    plane: EcsControlPlane
    gateway: Gateway
    target_group: str = ""
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service,
                region_name=REGION,
                endpoint_url=self.endpoint,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self.clients[service]

    @property
    def ecs(self) -> Any:
        return self.client("ecs")

    def register(self, *command: str, image: str = "registry/api:1", **container: Any) -> str:
        answer = self.ecs.register_task_definition(
            family="api",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            executionRoleArn=ROLE,
            containerDefinitions=[
                {
                    "name": "api",
                    "image": image,
                    "command": list(command),
                    "portMappings": [{"containerPort": 8000}],
                    "stopTimeout": 5,
                    "logConfiguration": {
                        "logDriver": "awslogs",
                        "options": {
                            "awslogs-group": GROUP,
                            "awslogs-region": REGION,
                            "awslogs-stream-prefix": "ecs",
                        },
                    },
                    **container,
                }
            ],
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def serving(self, name: str = "api", count: int = 1, *, balanced: bool = True, grace_s: int = 100) -> str:
        """Create a service and wait until it serves; return its task definition."""
        definition = self.register("answer", "200")
        balancers = [{"targetGroupArn": self.target_group, "containerName": "api", "containerPort": 8000}]
        created = self.ecs.create_service(
            cluster="main",
            serviceName=name,
            taskDefinition=definition,
            desiredCount=count,
            launchType="FARGATE",
            networkConfiguration=NETWORK,
            loadBalancers=balancers if balanced else [],
            deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
            **({"healthCheckGracePeriodSeconds": grace_s} if balanced else {}),
        )
        deployment = str(created["service"]["deployments"][0]["id"])
        ended = self.follow({name: deployment}, give_up_after=0)
        assert ended[name].progress is Progress.COMPLETED, ended
        return definition

    def update(self, definition: str, name: str = "api") -> Started:
        before = read_services(self.ecs, "main", [name])[name]
        return update_service(self.ecs, "main", before, definition, minimum_healthy_percent=100, maximum_percent=200)

    def follow(self, deployments: dict[str, str], timeout_s: float = 20, **options: Any) -> dict[str, Judgement]:
        given = {"poll_s": 0.05, "on_change": lambda _name, _judgement: None, "client": self.client, **options}
        return follow(self.ecs, "main", deployments, timeout_s=timeout_s, **given)

    def calls(self) -> dict[str, int]:
        """Return how often each operation was called, of all services."""
        return {operation: count for one in self.gateway.calls().values() for operation, count in one.items()}


@contextmanager
def small_cloud(folder: Path, time_scale: float = 0.01) -> Iterator[Cloud]:
    """Run the cloud for as long as the context lasts."""
    balancers = LoadBalancers(ACCOUNT, REGION)
    targets = TargetStates(balancers, time_scale=time_scale)
    runtime = LocalRuntime(folder, PROGRAM)
    plane = EcsControlPlane(
        runtime,
        digest,
        targets,
        LogSink(ACCOUNT, REGION),
        NoSecrets(),
        time_scale=time_scale,
        # Long enough for a poll or two between one task's end and the next one's.
        provisioning_delay_s=50,
        settle_s=20,
        pace_s=0.01,
    )
    moto = DomainDispatcherApplication(create_backend_app)
    gateway = Gateway(moto, [Elbv2Service(balancers, targets), EcsService(plane)])
    server = make_server("127.0.0.1", 0, gateway, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    cloud = Cloud(f"http://127.0.0.1:{server.server_port}", plane, gateway)
    prober = Prober(targets)
    plane.start()
    try:
        cloud.target_group = _provision(cloud)
        yield cloud
    finally:
        plane.stop()
        prober.close()
        runtime.close()
        for client in cloud.clients.values():
            client.close()
        server.shutdown()
        thread.join(5)
        server.server_close()
        for service in ("elbv2", "ec2", "logs"):
            _forget(service)


def _provision(cloud: Cloud) -> str:
    cloud.client("logs").create_log_group(logGroupName=GROUP)
    ec2, elbv2 = cloud.client("ec2"), cloud.client("elbv2")
    network = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=network, CidrBlock=f"10.9.{index}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"][
            "SubnetId"
        ]
        for index, zone in enumerate("ab")
    ]
    group = elbv2.create_target_group(Name="api", Protocol="HTTP", Port=8000, VpcId=network, TargetType="ip")
    arn = str(group["TargetGroups"][0]["TargetGroupArn"])
    balancer = elbv2.create_load_balancer(Name="api", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    elbv2.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": arn}],
    )
    cloud.ecs.create_cluster(clusterName="main")
    return arn


def _forget(service: str) -> None:
    from moto.backends import get_backend

    get_backend(service)[ACCOUNT][REGION].reset()  # type: ignore[call-overload]
