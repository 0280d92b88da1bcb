"""Records as ECS's API shows them. The caller holds the control plane's lock."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from gli_tasks.rehearsal.ecs.model import (
    BEFORE_RUNNING,
    Cluster,
    Deployment,
    Rollout,
    Service,
    ServiceDeployment,
    ServiceDeploymentStatus,
    ServiceRevision,
    Store,
    Task,
    TaskContainer,
    TaskStatus,
)
from gli_tasks.rehearsal.ecs.settings import Breaker, DeploymentConfiguration, LoadBalancer, Network, Workload

Wire = dict[str, Any]


def tag_list(tags: Mapping[str, str]) -> list[Wire]:
    """Show tags."""
    return [{"key": key, "value": value} for key, value in sorted(tags.items())]


def counts(store: Store, service: Service, deployment_id: str | None = None) -> tuple[int, int]:
    """Return how many tasks run and how many are on their way, of a service or of one deployment."""
    tasks = [task for task in store.tasks_of(service) if deployment_id in (None, task.deployment_id)]
    return (
        sum(task.status == TaskStatus.RUNNING for task in tasks),
        sum(task.status in BEFORE_RUNNING and task.wanted for task in tasks),
    )


def cluster(store: Store, item: Cluster) -> Wire:
    """Show a cluster."""
    tasks = [task for task in store.tasks.values() if task.cluster is item]
    services = [service for service in store.services.values() if service.cluster is item]
    return {
        "clusterArn": item.arn,
        "clusterName": item.name,
        "status": item.status,
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": sum(task.status == TaskStatus.RUNNING for task in tasks),
        "pendingTasksCount": sum(task.status in BEFORE_RUNNING for task in tasks),
        "activeServicesCount": sum(service.status == "ACTIVE" for service in services),
        "statistics": [],
        "tags": tag_list(store.tags.get(item.arn, {})),
        "settings": [{"name": name, "value": value} for name, value in item.settings.items()],
        "capacityProviders": list(item.capacity_providers),
        "defaultCapacityProviderStrategy": [],
    }


def network(item: Network | None) -> Wire | None:
    """Show a network configuration."""
    if item is None:
        return None
    return {
        "awsvpcConfiguration": {
            "subnets": list(item.subnets),
            "securityGroups": list(item.security_groups),
            "assignPublicIp": item.assign_public_ip,
        }
    }


def load_balancers(items: tuple[LoadBalancer, ...]) -> list[Wire]:
    """Show load balancers."""
    return [
        {
            "targetGroupArn": item.target_group_arn,
            "containerName": item.container_name,
            "containerPort": item.container_port,
        }
        for item in items
    ]


def _breaker(item: Breaker) -> Wire:
    threshold = None
    if item.threshold_kind is not None or item.threshold_value is not None:
        threshold = {"type": item.threshold_kind or "BOUNDED_PERCENT", "value": item.threshold_value or 50}
    return {
        "enable": item.enable,
        "rollback": item.rollback,
        "resetOnHealthyTask": item.reset_on_healthy_task,
        "thresholdConfiguration": threshold,
    }


def configuration(item: DeploymentConfiguration) -> Wire:
    """Show a deployment configuration."""
    alarms = item.alarms
    return {
        "deploymentCircuitBreaker": _breaker(item.breaker or Breaker()),
        "maximumPercent": item.maximum_percent,
        "minimumHealthyPercent": item.minimum_healthy_percent,
        "strategy": "ROLLING",
        "bakeTimeInMinutes": item.bake_time_minutes if item.bake_time_minutes is not None else 0,
        "alarms": {"alarmNames": list(alarms.names), "enable": alarms.enable, "rollback": alarms.rollback}
        if alarms
        else None,
    }


def _workload(item: Workload) -> Wire:
    return {
        "taskDefinition": item.task_definition_arn,
        "launchType": item.launch_type,
        "platformVersion": item.platform_version,
        "platformFamily": "Linux" if item.launch_type == "FARGATE" else None,
        "capacityProviderStrategy": [
            {"capacityProvider": provider.name, "weight": provider.weight, "base": provider.base}
            for provider in item.capacity_providers
        ]
        or None,
        "networkConfiguration": network(item.network),
    }


def deployment(store: Store, service: Service, item: Deployment) -> Wire:
    """Show one deployment of a service."""
    running, pending = counts(store, service, item.id)
    wanted = sum(task.wanted for task in store.tasks_of(service) if task.deployment_id == item.id)
    return {
        "id": item.id,
        "status": item.status,
        **_workload(item.revision.workload),
        "desiredCount": service.desired_count if item.status == "PRIMARY" else wanted,
        "pendingCount": pending,
        "runningCount": running,
        "failedTasks": 0 if item.rollout == Rollout.COMPLETED else item.failed_tasks,
        "createdAt": item.created_at,
        "updatedAt": item.updated_at,
        "rolloutState": item.rollout.value,
        "rolloutStateReason": item.reason,
    }


def service(store: Store, item: Service, *, with_tags: bool) -> Wire:
    """Show a service."""
    running, pending = counts(store, item)
    tags = store.tags.get(item.arn, {})
    attempt = item.service_deployments[-1] if item.service_deployments else None
    revisions = [] if item.status == "INACTIVE" else [_summary(store, item, dep.revision) for dep in item.deployments]
    return {
        "serviceArn": item.arn,
        "serviceName": item.name,
        "clusterArn": item.cluster.arn,
        "loadBalancers": load_balancers(item.workload.load_balancers),
        "serviceRegistries": [],
        "status": item.status,
        "desiredCount": item.desired_count,
        "runningCount": running,
        "pendingCount": pending,
        **_workload(item.workload),
        "deploymentConfiguration": configuration(item.configuration),
        "deployments": [deployment(store, item, dep) for dep in item.deployments] if item.status != "INACTIVE" else [],
        "events": [{"id": event.id, "createdAt": event.at, "message": event.message} for event in item.events],
        "createdAt": item.created_at,
        "currentServiceDeployment": attempt.arn if attempt and attempt.open else None,
        "currentServiceRevisions": revisions,
        "placementConstraints": [],
        "placementStrategy": [],
        "healthCheckGracePeriodSeconds": item.grace_period_s,
        "schedulingStrategy": "REPLICA",
        "deploymentController": {"type": "ECS"},
        "createdBy": item.created_by,
        "enableECSManagedTags": item.managed_tags,
        "propagateTags": item.propagate_tags,
        "enableExecuteCommand": item.execute_command,
        "availabilityZoneRebalancing": item.availability_zone_rebalancing,
        "tags": tag_list(tags) if with_tags and tags else None,
    }


def _summary(store: Store, item: Service, revision: ServiceRevision) -> Wire:
    tasks = [task for task in store.tasks_of(item) if task.revision is revision]
    running = sum(task.status == TaskStatus.RUNNING for task in tasks)
    pending = sum(task.status in BEFORE_RUNNING and task.wanted for task in tasks)
    target = item.primary.revision is revision
    return {
        "arn": revision.arn,
        "requestedTaskCount": item.desired_count if target else running,
        "runningTaskCount": running,
        "pendingTaskCount": pending,
    }


def service_deployment_brief(item: ServiceDeployment) -> Wire:
    """Show a service deployment in a list."""
    return {
        "serviceDeploymentArn": item.arn,
        "serviceArn": item.service_arn,
        "clusterArn": item.cluster_arn,
        "startedAt": item.started_at,
        "createdAt": item.created_at,
        "finishedAt": item.finished_at,
        "targetServiceRevisionArn": item.target.arn,
        "status": item.status.value,
        "statusReason": item.status_reason,
    }


def service_deployment(store: Store, owner: Service, item: ServiceDeployment) -> Wire:
    """Show a service deployment."""
    sources = [store.revisions[arn] for arn in item.sources if arn in store.revisions]
    alarms, rollback = item.configuration.alarms, None
    if item.rollback_revision_arn is not None:
        rollback = {
            "reason": item.rollback_reason,
            "startedAt": item.rollback_started_at,
            "serviceRevisionArn": item.rollback_revision_arn,
        }
    return {
        "serviceDeploymentArn": item.arn,
        "serviceArn": item.service_arn,
        "clusterArn": item.cluster_arn,
        "createdAt": item.created_at,
        "startedAt": item.started_at,
        "finishedAt": item.finished_at,
        "stoppedAt": item.stopped_at,
        "updatedAt": item.updated_at,
        "sourceServiceRevisions": [_summary(store, owner, revision) for revision in sources],
        "targetServiceRevision": _summary(store, owner, item.target),
        "status": item.status.value,
        "statusReason": item.status_reason,
        "deploymentConfiguration": configuration(item.configuration),
        "rollback": rollback,
        "deploymentCircuitBreaker": {
            "status": _breaker_status(item),
            "failureCount": item.failure_count,
            "threshold": item.threshold,
        },
        "alarms": {
            "status": _alarm_status(item, enabled=bool(alarms and alarms.enable)),
            "alarmNames": list(alarms.names) if alarms else [],
            "triggeredAlarmNames": [],
        },
    }


def _breaker_status(item: ServiceDeployment) -> str:
    breaker = item.configuration.breaker
    if breaker is None or not breaker.enable:
        return "DISABLED"
    if item.breaker_triggered:
        return "TRIGGERED"
    return "MONITORING" if item.open else "MONITORING_COMPLETE"


def _alarm_status(item: ServiceDeployment, *, enabled: bool) -> str:
    if not enabled:
        return "DISABLED"
    return "MONITORING_COMPLETE" if item.status == ServiceDeploymentStatus.SUCCESSFUL else "MONITORING"


def service_revision(store: Store, item: ServiceRevision) -> Wire:
    """Show a service revision, with the digest of each container's image once it is known."""
    family, _, number = item.workload.task_definition_arn.rpartition("/")[2].rpartition(":")
    containers = store.definitions[family][int(number) - 1].facts.containers
    return {
        "serviceRevisionArn": item.arn,
        "serviceArn": item.service_arn,
        "clusterArn": item.cluster_arn,
        **_workload(item.workload),
        "loadBalancers": load_balancers(item.workload.load_balancers),
        "containerImages": [
            {"containerName": container.name, "image": container.image, "imageDigest": item.digests.get(container.name)}
            for container in containers
        ],
        "createdAt": item.created_at,
    }


def task(store: Store, item: Task, *, with_tags: bool) -> Wire:
    """Show a task."""
    return {
        "taskArn": item.arn,
        "taskDefinitionArn": item.definition.arn,
        "clusterArn": item.cluster.arn,
        "group": item.group,
        "startedBy": item.started_by,
        "launchType": item.launch_type,
        "platformVersion": item.platform_version,
        "platformFamily": "Linux" if item.launch_type == "FARGATE" else None,
        "availabilityZone": f"{store.region}a",
        "attachments": [_interface(item)],
        "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
        "connectivity": "CONNECTED" if item.started_at else None,
        "connectivityAt": item.started_at,
        "containers": [_container(item, container) for container in item.containers],
        "cpu": item.cpu,
        "memory": item.memory,
        "createdAt": item.created_at,
        "desiredStatus": item.desired.value,
        "enableExecuteCommand": item.execute_command,
        "executionStoppedAt": item.execution_stopped_at,
        "healthStatus": item.health.value,
        "lastStatus": item.status.value,
        "overrides": {"containerOverrides": [{"name": each.definition.name} for each in item.containers]}
        | item.overrides_wire,
        "pullStartedAt": item.pull_started_at,
        "pullStoppedAt": item.pull_stopped_at,
        "startedAt": item.started_at,
        "stopCode": item.stop_code.value if item.stop_code else None,
        "stoppedAt": item.stopped_at,
        "stoppedReason": item.stopped_reason,
        "stoppingAt": item.stopping_at,
        "version": item.version,
        "tags": tag_list(store.tags.get(item.arn, {})) if with_tags else [],
        "ephemeralStorage": {"sizeInGiB": 20} if item.launch_type == "FARGATE" else None,
    }


def _interface(item: Task) -> Wire:
    digest = hashlib.sha256(item.id.encode()).hexdigest()
    details = {
        "subnetId": item.network.subnets[0] if item.network and item.network.subnets else "subnet-rehearsal",
        "networkInterfaceId": item.interface_id,
        "macAddress": ":".join(["02", *(digest[index : index + 2] for index in range(0, 10, 2))]),
        "privateDnsName": f"ip-{item.address.replace('.', '-')}.ec2.internal",
        "privateIPv4Address": item.address,
    }
    status = {TaskStatus.PROVISIONING: "PRECREATED", TaskStatus.STOPPED: "DELETED"}.get(item.status, "ATTACHED")
    return {
        "id": _attachment_id(item),
        "type": "ElasticNetworkInterface",
        "status": status,
        "details": [{"name": name, "value": value} for name, value in details.items()],
    }


def _attachment_id(item: Task) -> str:
    digest = hashlib.sha256(item.interface_id.encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def _container(item: Task, container: TaskContainer) -> Wire:
    return {
        "containerArn": container.arn,
        "taskArn": item.arn,
        "name": container.definition.name,
        "image": container.definition.image,
        "imageDigest": container.image_digest,
        "runtimeId": container.runtime_id,
        "lastStatus": container.status,
        "exitCode": container.exit_code,
        "reason": container.reason,
        "networkBindings": [],
        "networkInterfaces": [{"attachmentId": _attachment_id(item), "privateIpv4Address": item.address}],
        "healthStatus": container.health.value,
        "managedAgents": [_agent(item, container)] if item.execute_command else None,
        "cpu": "0",
    }


def agent_runs(container: TaskContainer) -> bool:
    """Say whether the agent that ExecuteCommand needs runs beside a container."""
    return container.status == "RUNNING"


def _agent(item: Task, container: TaskContainer) -> Wire:
    status = container.status if container.status in ("PENDING", "STOPPED") else "RUNNING"
    started = item.started_at if agent_runs(container) else None
    return {"name": "ExecuteCommandAgent", "lastStatus": status, "lastStartedAt": started}
