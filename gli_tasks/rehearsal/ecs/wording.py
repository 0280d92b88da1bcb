"""Everything that ECS says in words, in one place and in AWS's wording."""

from __future__ import annotations

from collections.abc import Sequence

# Stop reasons of tasks: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
ESSENTIAL_CONTAINER_EXITED = "Essential container in task exited"
CONTAINER_HEALTH_CHECKS_FAILED = "Task failed container health checks"
STOPPED_BY_USER = "Task stopped by user"
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
NO_CAPACITY_FARGATE = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
NO_CAPACITY_EC2 = "no container instance met all of its requirements"

# ExecuteCommand: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html (troubleshooting)
EXECUTE_COMMAND_NOT_ENABLED = (
    "The execute command failed because execute command was not enabled when the task was run or the execute command "
    "agent isn't running. Wait and try again or run a new task with execute command enabled and try again."
)

# Rollout states
BREAKER_FAILED = "ECS deployment circuit breaker: tasks failed to start."
BREAKER_ROLLED_BACK = "Service deployment rolled back because the circuit breaker threshold was exceeded."
BREAKER_STOPPED = "Service deployment stopped because the circuit breaker threshold was exceeded."
NO_ROLLBACK_CANDIDATE = "No rollback candidate was found to run the rollback."
ROLLBACK_BREAKER = "Rollback failed because the circuit breaker threshold was exceeded."
STOPPED_BY_REQUEST = "Service deployment stopped by user."
ROLLBACK_BY_REQUEST = "Service deployment rolled back because of a user request."
SERVICE_DELETED = "Service deployment stopped because the service was deleted."
SUPERSEDED = "Service deployment stopped because a newer service deployment started."


def scaling_activity(deployment_id: str) -> str:
    """Say why the scheduler stopped a task."""
    return f"Scaling activity initiated by (deployment {deployment_id})"


def elb_health_checks_failed(target_group_arn: str) -> str:
    """Say why a task with a bad target was stopped."""
    return f"Task failed ELB health checks in (target-group {target_group_arn})"


def secret_unavailable(kind: str, reference: str, detail: str) -> str:
    """Say that a secret could not be fetched; ``kind`` is asm or ssm."""
    service = "secrets manager" if kind == "asm" else "SSM Parameter Store"
    what = "secret from asm" if kind == "asm" else "secrets from ssm"
    return (
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
        f"unable to retrieve {what}: service call has been retried 1 time(s): "
        f"failed to fetch secret {reference} from {service}: {detail}"
    )


def secret_without_key(reference: str, key: str) -> str:
    """Say that a secret has no such JSON key."""
    return (
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
        f"unable to retrieve secret from asm: retrieved secret from Secrets Manager {reference} did not contain "
        f"json key {key}"
    )


def secret_arn_malformed(reference: str) -> str:
    """Say that a secret's ARN has some of key, stage and version, and not all."""
    return (
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
        "unable to retrieve secret from asm: unexpected ARN format with parameters when trying to retrieve ASM secret: "
        f"{reference}"
    )


def log_group_missing(group: str, stream: str) -> str:
    """Say that the awslogs driver could not make its stream."""
    return (
        "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed "
        "to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist. "
        f"(log group {group}, stream {stream}) : exit status 1"
    )


def dependency_failed(container: str, dependency: str, condition: str) -> str:
    """Say that a container can never start."""
    return (
        f"dependency graph: failed to resolve container ordering dependency [{dependency}] for target [{container}] "
        f"as dependency did not become {condition}"
    )


def internal_error(detail: str) -> str:
    """Say that the twin itself failed."""
    return f"InternalError: {detail}"


# Rollout state reasons


def in_progress(deployment_id: str) -> str:
    """Say that a deployment is under way."""
    return f"ECS deployment {deployment_id} in progress."


def completed(deployment_id: str) -> str:
    """Say that a deployment is done."""
    return f"ECS deployment {deployment_id} completed."


def breaker_rolling_back(deployment_id: str) -> str:
    """Say to which deployment the breaker rolls back."""
    return f"ECS deployment circuit breaker: rolling back to deploymentId {deployment_id}."


def request_rolling_back(deployment_id: str) -> str:
    """Say to which deployment a user rolls back."""
    return f"ECS deployment: rolling back to deploymentId {deployment_id}."


# Service events: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html


def _tasks(task_ids: Sequence[str]) -> str:
    return " ".join(f"(task {task_id})" for task_id in task_ids)


def started_tasks(service: str, task_ids: Sequence[str]) -> str:
    """Tell of started tasks."""
    return f"(service {service}) has started {len(task_ids)} tasks: {_tasks(task_ids)}."


def stopped_tasks(service: str, task_ids: Sequence[str]) -> str:
    """Tell of stopped tasks."""
    return f"(service {service}) has stopped {len(task_ids)} running tasks: {_tasks(task_ids)}."


def registered_targets(service: str, count: int, target_group_arn: str) -> str:
    """Tell of registered targets."""
    return f"(service {service}) registered {count} targets in (target-group {target_group_arn})"


def deregistered_targets(service: str, count: int, target_group_arn: str) -> str:
    """Tell of deregistered targets."""
    return f"(service {service}) deregistered {count} targets in (target-group {target_group_arn})"


def register_failed(service: str, target_group_arn: str, detail: str) -> str:
    """Tell of targets that could not be registered."""
    return f"(service {service}) failed to register targets in (target-group {target_group_arn}) with (error {detail})"


def draining(service: str, count: int) -> str:
    """Tell of connections that drain."""
    return f"(service {service}) has begun draining connections on {count} tasks."


def target_unhealthy(service: str, port: int, target_group_arn: str, reason: str) -> str:
    """Tell of a bad target."""
    return (
        f"(service {service}) (port {port}) is unhealthy in (target-group {target_group_arn}) due to (reason {reason})"
    )


def container_unhealthy(service: str, task_id: str) -> str:
    """Tell of a task whose container health check failed."""
    return f"(service {service}) (task {task_id}) failed container health checks."


def steady(service: str) -> str:
    """Tell of a steady state."""
    return f"(service {service}) has reached a steady state."


def deployment_completed(service: str, deployment_id: str) -> str:
    """Tell of a completed deployment."""
    return f"(service {service}) (deployment {deployment_id}) deployment completed."


def deployment_failed(service: str, deployment_id: str) -> str:
    """Tell of a failed deployment."""
    return f"(service {service}) (deployment {deployment_id}) deployment failed: tasks failed to start."


def rolling_back(service: str, deployment_id: str) -> str:
    """Tell of a rollback."""
    return f"(service {service}) rolling back to deployment {deployment_id}."


def unable_to_place(service: str, launch_type: str) -> str:
    """Tell of missing capacity."""
    if launch_type == "FARGATE":
        return f"(service {service}) was unable to place a task. Reason: {NO_CAPACITY_FARGATE}."
    return f"(service {service}) was unable to place a task because {NO_CAPACITY_EC2}."


def cannot_start_consistently(service: str) -> str:
    """Tell of a service whose tasks keep failing."""
    return f"(service {service}) is unable to consistently start tasks successfully."
