"""A stack for the room's tasks: the twin's ECS and scaling in front of moto, with real processes that say things."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from tests.floor_parts import REGION
from tests.rehearsal.ecs.ecs_local_parts import LocalRuntime

GROUP = "/ecs/shop-api"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}}
ROLE = "arn:aws:iam::123456789012:role/execution"
LOGS = {
    "logDriver": "awslogs",
    "options": {"awslogs-group": GROUP, "awslogs-stream-prefix": "ecs", "awslogs-region": REGION},
}


def manifest_of(layer: str) -> str:
    """Return an image's manifest; moto makes its digest of the layers."""
    layers = [{"digest": f"sha256:{layer}", "size": 1, "mediaType": "x"}]
    return json.dumps({"schemaVersion": 2, "mediaType": "x", "config": {"digest": layer, "size": 1}, "layers": layers})


@dataclass
class Stack:
    """An endpoint, and what to do with the cluster ``shop-cluster`` behind it."""

    url: str
    plane: EcsControlPlane
    runtime: LocalRuntime
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                region_name=REGION,
                endpoint_url=self.url,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self._clients[service]

    @property
    def ecs(self) -> Any:
        return self.client("ecs")

    @property
    def logs(self) -> Any:
        return self.client("logs")

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def variables(self) -> dict[str, str]:
        """Return the environment that leads a program here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": "/dev/null",
        }

    def register(self, *command: str, family: str = "shop-api", **container: Any) -> str:
        definition = {
            "name": "api",
            "image": "registry/api:1",
            "command": list(command),
            "logConfiguration": LOGS,
            "stopTimeout": 5,
            **container,
        }
        answer = self.ecs.register_task_definition(
            family=family,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            executionRoleArn=ROLE,
            containerDefinitions=[definition],
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def serve(self, definition: str, name: str = "shop-api", count: int = 1, **more: Any) -> None:
        """Create a service and wait until it is steady."""
        self.ecs.create_service(
            cluster="shop-cluster",
            serviceName=name,
            taskDefinition=definition,
            desiredCount=count,
            launchType="FARGATE",
            networkConfiguration=NETWORK,
            deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
            **more,
        )
        self.steady(name)

    def service(self, name: str = "shop-api") -> dict[str, Any]:
        return dict(self.ecs.describe_services(cluster="shop-cluster", services=[name])["services"][0])

    def steady(self, name: str = "shop-api") -> dict[str, Any]:
        def done() -> Any:
            service = self.service(name)
            deployments = service["deployments"]
            steady = len(deployments) == 1 and deployments[0]["rolloutState"] == "COMPLETED"
            return steady and service["runningCount"] == service["desiredCount"] and service

        return dict(self.until(done))

    def update(self, definition: str, name: str = "shop-api") -> None:
        self.ecs.update_service(cluster="shop-cluster", service=name, taskDefinition=definition)
        self.steady(name)

    def tasks(self, status: str = "RUNNING", **filters: Any) -> list[dict[str, Any]]:
        arns = self.ecs.list_tasks(cluster="shop-cluster", desiredStatus=status, **filters)["taskArns"]
        return list(self.ecs.describe_tasks(cluster="shop-cluster", tasks=arns)["tasks"]) if arns else []

    def say(self, stream: str, *lines: tuple[int, str]) -> None:
        """Put lines, each with its milliseconds, into a stream."""
        with contextlib.suppress(self.logs.exceptions.ResourceAlreadyExistsException):
            self.logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        events = [{"timestamp": at_ms, "message": text} for at_ms, text in lines]
        self.logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)

    def until(self, condition: Callable[[], Any], deadline_s: float = 20) -> Any:
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"not reached in {deadline_s} s")
