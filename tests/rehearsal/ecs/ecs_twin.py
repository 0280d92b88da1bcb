"""What the tests ask of an ECS of the twin, and how."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from tests.rehearsal.ecs.ecs_local_parts import LocalRuntime, MemoryLogs, MemorySecrets, TcpTargets

TARGET_GROUP = "arn:aws:elasticloadbalancing:ap-northeast-2:123456789012:targetgroup/api/0123456789abcdef"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}}
ROLE = "arn:aws:iam::123456789012:role/execution"


@dataclass
class Twin:
    plane: EcsControlPlane
    runtime: LocalRuntime
    targets: TcpTargets
    logs: MemoryLogs
    secrets: MemorySecrets
    ecs: Any
    port: int

    def register(self, *command: str, family: str = "api", image: str = "registry/api:1", **container: Any) -> str:
        definition = {
            "name": "api",
            "image": image,
            "command": list(command),
            "portMappings": [{"containerPort": 8000}],
            "stopTimeout": 5,
            **container,
        }
        return self.register_containers([definition], family)

    def register_containers(self, containers: list[dict[str, Any]], family: str = "api") -> str:
        answer = self.ecs.register_task_definition(
            family=family,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            executionRoleArn=ROLE,
            containerDefinitions=containers,
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def create(self, definition: str, count: int = 2, *, targets: bool = True, **extra: Any) -> dict[str, Any]:
        balancers = [{"targetGroupArn": TARGET_GROUP, "containerName": "api", "containerPort": 8000}]
        parameters = {
            "cluster": "main",
            "serviceName": "api",
            "taskDefinition": definition,
            "desiredCount": count,
            "launchType": "FARGATE",
            "networkConfiguration": NETWORK,
            "loadBalancers": balancers if targets else [],
            "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
            "healthCheckGracePeriodSeconds": 20,
            **extra,
        }
        return dict(self.ecs.create_service(**parameters)["service"])

    def update(self, **changes: Any) -> dict[str, Any]:
        return dict(self.ecs.update_service(cluster="main", service="api", **changes)["service"])

    def service(self, name: str = "api") -> dict[str, Any]:
        return dict(self.ecs.describe_services(cluster="main", services=[name])["services"][0])

    def attempts(self) -> list[dict[str, Any]]:
        listed = self.ecs.list_service_deployments(cluster="main", service="api")["serviceDeployments"]
        arns = [item["serviceDeploymentArn"] for item in listed]
        return list(self.ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"])

    def tasks(self, status: str = "RUNNING") -> list[dict[str, Any]]:
        arns = self.ecs.list_tasks(cluster="main", desiredStatus=status)["taskArns"]
        return list(self.ecs.describe_tasks(cluster="main", tasks=arns)["tasks"]) if arns else []

    def run(self, definition: str, **extra: Any) -> dict[str, Any]:
        answer = self.ecs.run_task(
            cluster="main", taskDefinition=definition, launchType="FARGATE", networkConfiguration=NETWORK, **extra
        )
        assert not answer["failures"]
        return dict(answer["tasks"][0])

    def task(self, arn: str) -> dict[str, Any]:
        return dict(self.ecs.describe_tasks(cluster="main", tasks=[arn])["tasks"][0])

    def stopped(self, arn: str) -> dict[str, Any]:
        return self.until(lambda: (task := self.task(arn))["lastStatus"] == "STOPPED" and task)

    def completed(self, definition: str | None = None) -> dict[str, Any]:
        def done() -> Any:
            service = self.service()
            only = service["deployments"][0]
            fits = definition in (None, only["taskDefinition"])
            return len(service["deployments"]) == 1 and only["rolloutState"] == "COMPLETED" and fits and service

        return self.until(done)

    def messages(self) -> list[str]:
        return [event["message"] for event in self.service()["events"]]

    def until(self, condition: Callable[[], Any], deadline_s: float = 20) -> Any:
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"not reached in {deadline_s} s; the service's events: {self._events()}")

    def _events(self) -> list[str]:
        return [event.message for service in self.plane.store.services.values() for event in service.events][:20]


def client(port: int, **config: Any) -> Any:
    return boto3.client(
        "ecs",
        region_name="ap-northeast-2",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="AKIAREHEARSAL",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )
