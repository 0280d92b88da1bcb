"""What the twin's ECS needs to run services whose containers are bare processes of this machine."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gli_tasks.ecs.plan import Judgement
from gli_tasks.rehearsal.ecs.ports import LogLine, SecretUnavailable, TargetState
from gli_tasks.rehearsal.runtime.contract import (
    CannotPullContainer,
    ContainerExit,
    ContainerHealth,
    ContainerSpec,
    RunningContainer,
)
from gli_tasks.rehearsal.wire.messages import WsgiApp

ROLE = "arn:aws:iam::123456789012:role/execution"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}}


def digest(image: str) -> str:
    return image.partition("@")[2] or "sha256:" + hashlib.sha256(image.encode()).hexdigest()


class BareContainer:
    """A process."""

    def __init__(self, image: str, argv: Sequence[str]) -> None:
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.runtime_id, self.image_digest = str(self._process.pid), digest(image)

    def exited(self) -> ContainerExit | None:
        code = self._process.poll()
        return None if code is None else ContainerExit(128 - code if code < 0 else code, False)

    def health(self) -> ContainerHealth:
        return ContainerHealth.UNKNOWN

    def stop(self, timeout_s: float) -> ContainerExit:
        self._process.terminate()
        self._process.wait(timeout_s)
        return self.exited() or ContainerExit(0, False)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)


class BareRuntime:
    """Images named ``good`` sleep, ``crash`` end with status 3, ``absent`` cannot be pulled."""

    name = "process"

    def __init__(self) -> None:
        self._containers: list[BareContainer] = []

    def start(self, spec: ContainerSpec, write_log: Callable[[str], None]) -> RunningContainer:
        if "absent" in spec.image:
            raise CannotPullContainer(f"CannotPullContainerError: failed to resolve ref {spec.image}: not found")
        container = BareContainer(spec.image, ["sh", "-c", "exit 3"] if "crash" in spec.image else ["sleep", "120"])
        self._containers.append(container)
        return container

    def close(self) -> None:
        for container in self._containers:
            container.kill()


class NoTargets:
    """Services here have no load balancer."""

    def register(self, target_group_arn: str, address: str, port: int) -> None:
        raise KeyError(target_group_arn)

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        raise KeyError(target_group_arn)

    def state(self, target_group_arn: str, address: str, port: int) -> TargetState:
        raise KeyError(target_group_arn)


class NoLogs:
    """Containers here say nothing."""

    def open_stream(self, group: str, stream: str, create_group: bool) -> None:
        """Keep nothing."""

    def put(self, group: str, stream: str, lines: Sequence[LogLine]) -> None:
        """Keep nothing."""


class NoSecrets:
    """Containers here need none."""

    def secret(self, secret_id: str, version_stage: str | None, version_id: str | None) -> str:
        raise SecretUnavailable(secret_id)

    def parameter(self, name: str) -> str:
        raise SecretUnavailable(name)


@dataclass
class Fault:
    """What becomes of calls of an operation: ``times`` of them are answered so; ``carried_out``: and still done."""

    operation: str
    times: int = 1
    status: int = 200
    body: dict[str, Any] = field(default_factory=dict)
    carried_out: bool = False


class Meddler:
    """Stands between client and ECS, and spoils answers as told."""

    def __init__(self, behind: WsgiApp) -> None:
        self._behind, self.faults, self.spoilt = behind, list[Fault](), 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        operation = str(environ.get("HTTP_X_AMZ_TARGET", "")).rpartition(".")[2]
        fault = next((one for one in self.faults if one.operation == operation and one.times > 0), None)
        if fault is None:
            return self._behind(environ, start_response)
        fault.times -= 1
        self.spoilt += 1
        if fault.carried_out:
            list(self._behind(environ, lambda *_: None))
        body = json.dumps(fault.body).encode()
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))]
        start_response(f"{fault.status} x", headers)
        return [body]


def throttled(operation: str, times: int) -> Fault:
    """Return the fault that AWS throttles calls of an operation."""
    return Fault(operation, times, 400, {"__type": "ThrottlingException", "message": "Rate exceeded"})


@dataclass
class Cluster:
    """A client of the cluster ``main``, and what to do with it."""

    ecs: Any
    folder: Path
    meddler: Meddler

    def definition(self, image: str, family: str = "api", **changes: Any) -> dict[str, Any]:
        return {
            "family": family,
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "executionRoleArn": ROLE,
            "containerDefinitions": [{"name": "api", "image": image, "stopTimeout": 5}],
            **changes,
        }

    def register(self, image: str, family: str = "api") -> str:
        answer = self.ecs.register_task_definition(**self.definition(image, family))
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def create(self, name: str, definition: str, count: int = 1, *, breaker: bool = True) -> str:
        answer = self.ecs.create_service(
            cluster="main",
            serviceName=name,
            taskDefinition=definition,
            desiredCount=count,
            launchType="FARGATE",
            networkConfiguration=NETWORK,
            deploymentConfiguration={"deploymentCircuitBreaker": {"enable": breaker, "rollback": breaker}},
        )
        return str(answer["service"]["deployments"][0]["id"])


def ignore(_name: str, _judgement: Judgement) -> None:
    """Tell nobody."""
