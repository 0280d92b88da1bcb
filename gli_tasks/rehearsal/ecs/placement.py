"""Makes the record of a new task: its id, address and containers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gli_tasks.rehearsal.ecs.addresses import Addresses
from gli_tasks.rehearsal.ecs.definitions import TaskDefinition
from gli_tasks.rehearsal.ecs.identifiers import new_id, new_uuid
from gli_tasks.rehearsal.ecs.model import (
    Cluster,
    ContainerOverride,
    Deployment,
    Service,
    Store,
    Target,
    Task,
    TaskContainer,
)
from gli_tasks.rehearsal.ecs.settings import Network

LATEST_PLATFORM = "1.4.0"


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """What a task is to be, before it has an id."""

    cluster: Cluster
    definition: TaskDefinition
    group: str
    started_by: str | None
    launch_type: str
    platform_version: str | None
    network: Network | None
    overrides: dict[str, ContainerOverride] = field(default_factory=dict)
    overrides_wire: dict[str, Any] = field(default_factory=dict)
    cpu: str | None = None
    memory: str | None = None
    execute_command: bool = False
    tags: dict[str, str] = field(default_factory=dict)


class Placement:
    """Places tasks. The caller holds the control plane's lock."""

    def __init__(self, store: Store, addresses: Addresses) -> None:
        self._store, self._addresses = store, addresses

    def place(self, request: TaskRequest, now: datetime) -> Task:
        """Make a task and remember it."""
        task_id, cluster = new_id(), request.cluster.name
        containers = [
            TaskContainer(item, self._store.arn(f"container/{cluster}/{task_id}/{new_uuid()}"))
            for item in request.definition.containers
        ]
        task = Task(
            id=task_id,
            arn=self._store.arn(f"task/{cluster}/{task_id}"),
            cluster=request.cluster,
            definition=request.definition,
            address=self._addresses.take(),
            containers=containers,
            group=request.group,
            created_at=now,
            started_by=request.started_by,
            launch_type=request.launch_type,
            platform_version=request.platform_version,
            network=request.network,
            overrides=request.overrides,
            overrides_wire=request.overrides_wire,
            cpu=request.cpu or request.definition.cpu,
            memory=request.memory or request.definition.memory,
            interface_id=f"eni-{task_id[:17]}",
            execute_command=request.execute_command,
        )
        self._store.tasks[task_id] = task
        if request.tags:
            self._store.tags[task.arn] = request.tags
        return task

    def place_for_service(self, service: Service, deployment: Deployment, now: datetime) -> Task:
        """Make a task of a deployment."""
        workload = deployment.revision.workload
        family, _, revision = workload.task_definition_arn.rpartition("/")[2].rpartition(":")
        registered = self._store.definitions[family][int(revision) - 1]
        launch_type = workload.launch_type or ("FARGATE" if workload.capacity_providers else "EC2")
        request = TaskRequest(
            cluster=service.cluster,
            definition=registered.facts,
            group=f"service:{service.name}",
            started_by=deployment.id,
            launch_type=launch_type,
            platform_version=_platform(workload.platform_version, launch_type),
            network=workload.network,
            execute_command=service.execute_command,
            tags=self._tags(service, registered.facts.arn),
        )
        task = self.place(request, now)
        task.service_arn, task.deployment_id, task.revision = service.arn, deployment.id, deployment.revision
        task.targets = [Target(item.target_group_arn, item.container_port) for item in workload.load_balancers]
        return task

    def _tags(self, service: Service, definition_arn: str) -> dict[str, str]:
        sources = {"SERVICE": service.arn, "TASK_DEFINITION": definition_arn}
        tags = dict(self._store.tags.get(sources.get(service.propagate_tags, ""), {}))
        if service.managed_tags:
            tags |= {"aws:ecs:clusterName": service.cluster.name, "aws:ecs:serviceName": service.name}
        return tags


def _platform(version: str | None, launch_type: str) -> str | None:
    if launch_type != "FARGATE":
        return None
    return LATEST_PLATFORM if version in (None, "LATEST") else version
