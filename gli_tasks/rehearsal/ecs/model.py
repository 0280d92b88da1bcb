"""What the control plane knows. Facts are frozen; records (clusters, services, tasks) change under one lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from gli_tasks.rehearsal.ecs.definitions import ContainerDefinition, TaskDefinition
from gli_tasks.rehearsal.ecs.identifiers import new_uuid
from gli_tasks.rehearsal.ecs.logs import LogStream
from gli_tasks.rehearsal.ecs.settings import DeploymentConfiguration, Network, Workload
from gli_tasks.rehearsal.runtime.contract import ContainerHealth, RunningContainer

EVENT_LIMIT = 100
TaskFuture = Future[None]


class TaskStatus(StrEnum):
    """The life of a task: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html"""

    PROVISIONING = "PROVISIONING"
    PENDING = "PENDING"
    ACTIVATING = "ACTIVATING"
    RUNNING = "RUNNING"
    DEACTIVATING = "DEACTIVATING"
    STOPPING = "STOPPING"
    DEPROVISIONING = "DEPROVISIONING"
    STOPPED = "STOPPED"


BEFORE_RUNNING = frozenset({TaskStatus.PROVISIONING, TaskStatus.PENDING, TaskStatus.ACTIVATING})


class StopCode(StrEnum):
    """Why a task stopped, for programs."""

    FAILED_TO_START = "TaskFailedToStart"
    ESSENTIAL_EXITED = "EssentialContainerExited"
    USER = "UserInitiated"
    SCHEDULER = "ServiceSchedulerInitiated"


class Rollout(StrEnum):
    """A deployment's rollout state."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class ServiceDeploymentStatus(StrEnum):
    """A service deployment's state."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCESSFUL = "SUCCESSFUL"
    STOP_REQUESTED = "STOP_REQUESTED"
    STOPPED = "STOPPED"
    ROLLBACK_REQUESTED = "ROLLBACK_REQUESTED"
    ROLLBACK_IN_PROGRESS = "ROLLBACK_IN_PROGRESS"
    ROLLBACK_SUCCESSFUL = "ROLLBACK_SUCCESSFUL"
    ROLLBACK_FAILED = "ROLLBACK_FAILED"


@dataclass(slots=True)
class Cluster:
    """A cluster."""

    name: str
    arn: str
    status: str = "ACTIVE"
    settings: dict[str, str] = field(default_factory=dict)
    capacity_providers: tuple[str, ...] = ()


@dataclass(slots=True)
class ServiceRevision:
    """A snapshot of a service's workload, and the digests that its tags were found to mean."""

    arn: str
    service_arn: str
    cluster_arn: str
    workload: Workload
    created_at: datetime
    digests: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ServiceDeployment:
    """One attempt to bring a service to a revision, with its rollback."""

    arn: str
    service_arn: str
    cluster_arn: str
    target: ServiceRevision
    sources: tuple[str, ...]
    configuration: DeploymentConfiguration
    created_at: datetime
    updated_at: datetime
    status: ServiceDeploymentStatus = ServiceDeploymentStatus.PENDING
    status_reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    stopped_at: datetime | None = None
    failure_count: int = 0
    threshold: int = 0
    breaker_triggered: bool = False
    rollback_revision_arn: str | None = None
    rollback_reason: str | None = None
    rollback_started_at: datetime | None = None

    @property
    def open(self) -> bool:
        """Say whether it is still under way."""
        return self.finished_at is None and self.stopped_at is None


@dataclass(slots=True)
class Deployment:
    """A deployment as DescribeServices lists it."""

    id: str
    revision: ServiceRevision
    service_deployment: ServiceDeployment
    created_at: datetime
    updated_at: datetime
    status: str = "PRIMARY"
    rollout: Rollout = Rollout.IN_PROGRESS
    reason: str = ""
    is_rollback: bool = False
    failed_tasks: int = 0
    failed_starts: int = 0
    last_failure_at: datetime | None = None
    steady_since: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """One line of a service's history."""

    id: str
    at: datetime
    message: str


@dataclass(slots=True)
class Service:
    """A service. ``deployments`` has the primary one first; ``history`` all that there ever were."""

    name: str
    arn: str
    cluster: Cluster
    workload: Workload
    desired_count: int
    configuration: DeploymentConfiguration
    created_at: datetime
    created_by: str
    client_token: str | None = None
    grace_period_s: int | None = None
    execute_command: bool = False
    managed_tags: bool = False
    propagate_tags: str = "NONE"
    availability_zone_rebalancing: str = "DISABLED"
    status: str = "ACTIVE"
    deployments: list[Deployment] = field(default_factory=list)
    history: list[Deployment] = field(default_factory=list)
    service_deployments: list[ServiceDeployment] = field(default_factory=list)
    events: deque[ServiceEvent] = field(default_factory=lambda: deque(maxlen=EVENT_LIMIT))
    steady: bool = False
    no_capacity_at: datetime | None = None

    @property
    def primary(self) -> Deployment:
        """Return the deployment that the service is meant to run."""
        return self.deployments[0]

    def say(self, at: datetime, message: str) -> None:
        """Add an event; the newest is the first."""
        self.events.appendleft(ServiceEvent(new_uuid(), at, message))


@dataclass(slots=True)
class TaskContainer:
    """A container of a task."""

    definition: ContainerDefinition
    arn: str
    status: str = "PENDING"
    running: RunningContainer | None = None
    starting: Future[RunningContainer] | None = None
    start_began_at: datetime | None = None
    started_order: int = 0
    exit_code: int | None = None
    reason: str | None = None
    health: ContainerHealth = ContainerHealth.UNKNOWN
    image_digest: str | None = None
    runtime_id: str | None = None
    log: LogStream | None = None

    @property
    def ended(self) -> bool:
        """Say whether it has stopped for good."""
        return self.status == "STOPPED"


@dataclass(slots=True)
class Target:
    """A task's port in a target group."""

    target_group_arn: str
    port: int
    registered: bool = False
    state: str = "unused"


@dataclass(frozen=True, slots=True)
class ContainerOverride:
    """What RunTask changes of a container."""

    command: tuple[str, ...] | None
    environment: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Task:
    """A task."""

    id: str
    arn: str
    cluster: Cluster
    definition: TaskDefinition
    address: str
    containers: list[TaskContainer]
    group: str
    created_at: datetime
    started_by: str | None
    launch_type: str
    platform_version: str | None
    network: Network | None
    overrides: dict[str, ContainerOverride]
    overrides_wire: dict[str, Any]
    cpu: str | None
    memory: str | None
    interface_id: str
    execute_command: bool = False
    service_arn: str | None = None
    deployment_id: str | None = None
    revision: ServiceRevision | None = None
    targets: list[Target] = field(default_factory=list)
    status: TaskStatus = TaskStatus.PROVISIONING
    desired: TaskStatus = TaskStatus.RUNNING
    job: TaskFuture | None = None
    stop_attempts: int = 0
    version: int = 1
    ready_at: datetime | None = None
    pull_started_at: datetime | None = None
    pull_stopped_at: datetime | None = None
    started_at: datetime | None = None
    stopping_at: datetime | None = None
    execution_stopped_at: datetime | None = None
    stopped_at: datetime | None = None
    deactivating_at: datetime | None = None
    stop_code: StopCode | None = None
    stopped_reason: str | None = None
    secrets: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    healthy_since: datetime | None = None
    settled: bool = False
    failed: bool = False
    failure_counted: bool = False

    def enter(self, status: TaskStatus) -> None:
        """Move on to another status."""
        self.status = status
        self.version += 1

    @property
    def wanted(self) -> bool:
        """Say whether the task is meant to run."""
        return self.desired == TaskStatus.RUNNING

    @property
    def health(self) -> ContainerHealth:
        """Return the health of the essential containers together."""
        checked = [
            item.health for item in self.containers if item.definition.health_check and item.definition.essential
        ]
        if not checked:
            return ContainerHealth.UNKNOWN
        if ContainerHealth.UNHEALTHY in checked:
            return ContainerHealth.UNHEALTHY
        return ContainerHealth.UNKNOWN if ContainerHealth.UNKNOWN in checked else ContainerHealth.HEALTHY

    @property
    def serves(self) -> bool:
        """Say whether a service may count on it: running, its checks passed, its targets healthy."""
        if not self.wanted or self.status != TaskStatus.RUNNING:
            return False
        checked = any(item.definition.health_check and item.definition.essential for item in self.containers)
        if checked and self.health != ContainerHealth.HEALTHY:
            return False
        return all(target.state == "healthy" for target in self.targets)


@dataclass(slots=True)
class RegisteredDefinition:
    """A task definition with the form in which it is described."""

    facts: TaskDefinition
    wire: dict[str, Any]
    status: str = "ACTIVE"


class Store:
    """All records. Whoever reads or writes holds the control plane's lock."""

    def __init__(self, account: str, region: str) -> None:
        self.account, self.region = account, region
        self.clusters: dict[str, Cluster] = {}
        self.services: dict[str, Service] = {}
        self.tasks: dict[str, Task] = {}
        self.revisions: dict[str, ServiceRevision] = {}
        self.definitions: dict[str, list[RegisteredDefinition]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.run_tokens: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {}

    def arn(self, resource: str) -> str:
        """Return the ARN of an ECS resource."""
        return f"arn:aws:ecs:{self.region}:{self.account}:{resource}"

    def tasks_of(self, service: Service) -> Iterator[Task]:
        """Yield the tasks of a service, stopped ones too."""
        return (task for task in self.tasks.values() if task.service_arn == service.arn)

    def service_deployments(self) -> Iterator[tuple[Service, ServiceDeployment]]:
        """Yield every service deployment with its service."""
        return ((service, item) for service in self.services.values() for item in service.service_deployments)
