"""Decide about task definitions and rollouts: pure functions over what AWS answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Progress(StrEnum):
    """Where a deployment stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment of a service, as describe_services shows it."""

    id: str
    status: str
    task_definition: str
    rollout_state: str
    rollout_reason: str
    desired: int
    pending: int
    running: int
    failed_tasks: int
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A line of a service's history, and when it was written."""

    id: str
    at: datetime | None
    message: str


@dataclass(frozen=True, slots=True)
class Balanced:
    """A container's port in a target group."""

    target_group: str
    container: str
    port: int


@dataclass(frozen=True, slots=True)
class Rolling:
    """How a service replaces its tasks: percent of the desired count, and the circuit breaker with its rollback."""

    minimum_healthy_percent: int
    maximum_percent: int
    breaker: bool = True
    breaker_rolls_back: bool = True

    def changes_to(self, wanted: Rolling) -> tuple[str, ...]:
        """Return what differs from the wanted way, a sentence each."""
        pairs = (
            ("minimumHealthyPercent", self.minimum_healthy_percent, wanted.minimum_healthy_percent),
            ("maximumPercent", self.maximum_percent, wanted.maximum_percent),
            ("circuit breaker", _on(self.breaker), _on(wanted.breaker)),
            ("circuit breaker's rollback", _on(self.breaker_rolls_back), _on(wanted.breaker_rolls_back)),
        )
        return tuple(f"{name} {before} → {after}" for name, before, after in pairs if before != after)


def _on(flag: bool) -> str:
    return "on" if flag else "off"


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """A service, as describe_services shows it; deployments the primary first, events the newest first.

    ``attempt`` is the ARN of the service deployment under way, empty where there is none; ``grace_s`` the seconds for
    which a new task's failing health checks are passed over; ``rolling`` is None where AWS does not say.
    """

    name: str
    status: str
    task_definition: str
    desired: int
    running: int
    pending: int
    deployments: tuple[Deployment, ...]
    events: tuple[str, ...]
    history: tuple[Event, ...] = ()
    balanced: tuple[Balanced, ...] = ()
    grace_s: int = 0
    attempt: str = ""
    rolling: Rolling | None = None

    def deployment(self, deployment_id: str) -> Deployment | None:
        """Return the deployment of this id; None where the service knows it no more."""
        return next((one for one in self.deployments if one.id == deployment_id), None)

    @property
    def primary(self) -> Deployment | None:
        """Return the deployment that the service strives for."""
        return next((one for one in self.deployments if one.status == "PRIMARY"), None)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a rollout fails: a cause in one sentence, what to do next, and what was seen, a line each."""

    cause: str
    next_step: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """Where a deployment stands, a sentence on it, and its id, which its tasks carry as what started them.

    ``diagnosis`` says why, for one that failed, was replaced, or still ran when its time was over.
    """

    progress: Progress
    sentence: str
    deployment: str = ""
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A service deployment with its rollback, as describe_service_deployments shows it: AWS's own word on how it
    ended."""

    status: str
    reason: str
    breaker: str
    failures: int
    threshold: int
    alarms: tuple[str, ...] = ()


def attempt_facts(description: Mapping[str, Any]) -> Attempt:
    """Return one service deployment of a DescribeServiceDeployments answer as facts."""
    breaker = description.get("deploymentCircuitBreaker") or {}
    return Attempt(
        status=str(description.get("status", "")),
        reason=str(description.get("statusReason", "")),
        breaker=str(breaker.get("status", "")),
        failures=int(breaker.get("failureCount", 0)),
        threshold=int(breaker.get("threshold", 0)),
        alarms=tuple(map(str, (description.get("alarms") or {}).get("triggeredAlarmNames") or ())),
    )


def service_facts(description: Mapping[str, Any]) -> ServiceFacts:
    """Return one service of a DescribeServices answer as facts."""
    deployments = [
        Deployment(
            id=str(one["id"]),
            status=str(one.get("status", "")),
            task_definition=str(one.get("taskDefinition", "")),
            rollout_state=str(one.get("rolloutState", "")),
            rollout_reason=str(one.get("rolloutStateReason", "")),
            desired=int(one.get("desiredCount", 0)),
            pending=int(one.get("pendingCount", 0)),
            running=int(one.get("runningCount", 0)),
            failed_tasks=int(one.get("failedTasks", 0)),
            created_at=one.get("createdAt"),
        )
        for one in description.get("deployments", ())
    ]
    return ServiceFacts(
        name=str(description["serviceName"]),
        status=str(description.get("status", "")),
        task_definition=str(description.get("taskDefinition", "")),
        desired=int(description.get("desiredCount", 0)),
        running=int(description.get("runningCount", 0)),
        pending=int(description.get("pendingCount", 0)),
        deployments=tuple(sorted(deployments, key=lambda one: one.status != "PRIMARY")),
        events=tuple(str(event.get("message", "")) for event in description.get("events", ())),
        history=tuple(
            Event(str(event.get("id", "")), event.get("createdAt"), str(event.get("message", "")))
            for event in description.get("events", ())
        ),
        balanced=tuple(
            Balanced(str(one["targetGroupArn"]), str(one.get("containerName", "")), int(one.get("containerPort", 0)))
            for one in description.get("loadBalancers", ())
            if one.get("targetGroupArn")
        ),
        grace_s=int(description.get("healthCheckGracePeriodSeconds") or 0),
        attempt=str(description.get("currentServiceDeployment") or ""),
        rolling=_rolling(description.get("deploymentConfiguration") or {}),
    )


def _rolling(configuration: Mapping[str, Any]) -> Rolling | None:
    if "minimumHealthyPercent" not in configuration or "maximumPercent" not in configuration:
        return None
    breaker = configuration.get("deploymentCircuitBreaker") or {}
    return Rolling(
        int(configuration["minimumHealthyPercent"]),
        int(configuration["maximumPercent"]),
        bool(breaker.get("enable")),
        bool(breaker.get("rollback")),
    )


def judge(service: ServiceFacts, deployment_id: str, attempt: Attempt | None = None) -> Judgement:
    """Say where one deployment, by its own id, stands.

    "The service is stable" is not the question: after a circuit breaker's rollback a service is stable too. Only
    the deployment that we started can say that it was completed, and only while it still is the primary one.
    ``attempt`` is AWS's own account of the deployment, where it is known: it says what became of one that was rolled
    back; the rollback's text says so where it is not.
    """
    mine = service.deployment(deployment_id)
    primary = service.primary
    if attempt is not None and (mine is None or mine.status != "PRIMARY"):
        sentence = _ended(attempt)
        if sentence:
            return Judgement(Progress.FAILED, f"{sentence} ({deployment_id} failed)", deployment_id)
    if mine is None:
        if primary and "circuit breaker" in primary.rollout_reason:
            return Judgement(Progress.FAILED, f"{primary.rollout_reason} ({deployment_id} failed)", deployment_id)
        now = f"; the primary deployment is {primary.id}, {primary.rollout_reason}" if primary else ""
        return Judgement(Progress.REPLACED, f"deployment {deployment_id} is gone{now}", deployment_id)
    if mine.rollout_state == "FAILED":
        return Judgement(Progress.FAILED, mine.rollout_reason or "the deployment failed", deployment_id)
    if mine.status != "PRIMARY":
        now = f"{primary.id} ({primary.rollout_reason})" if primary else "none"
        return Judgement(Progress.REPLACED, f"another deployment took its place: {now}", deployment_id)
    sentence = f"{mine.running}/{mine.desired} running"
    if mine.pending:
        sentence += f", {mine.pending} starting"
    if mine.failed_tasks:
        sentence += f", {mine.failed_tasks} failed"
    old = sum(one.running for one in service.deployments if one.id != deployment_id)
    if old:
        sentence += f", {old} of the old version left"
    done = mine.rollout_state == "COMPLETED" and mine.running >= mine.desired and not mine.pending
    if done:
        unproven = "" if mine.running else ": no task runs, so nothing is proven"
        sentence = f"completed, {sentence}{unproven}"
    return Judgement(Progress.COMPLETED if done else Progress.RUNNING, sentence, deployment_id)


# How a service deployment ends when it does not succeed (API reference, ServiceDeployment).
_NOT_SUCCESSFUL = ("ROLLBACK_", "STOP")


def _ended(attempt: Attempt) -> str:
    """Return a sentence on a service deployment that was stopped or rolled back; empty for any other."""
    if not attempt.status.startswith(_NOT_SUCCESSFUL):
        return ""
    if attempt.breaker == "TRIGGERED":
        what = f"ECS's circuit breaker ended the deployment after {attempt.failures} of {attempt.threshold} failures"
    elif attempt.alarms:
        what = f"the deployment was ended by the alarms {', '.join(attempt.alarms)}"
    else:
        what = "the deployment was stopped"
    state = attempt.status.lower().replace("_", " ")
    return f"{what}: {state}" + (f", {attempt.reason}" if attempt.reason else "")


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """A task, as describe_tasks shows it. ``digests`` and ``exit_codes`` are by container name."""

    id: str
    task_definition: str
    started_by: str
    last_status: str
    stop_code: str
    stopped_reason: str
    digests: Mapping[str, str]
    exit_codes: Mapping[str, int]
    reasons: tuple[str, ...]
    address: str = ""
    started_at: datetime | None = None
    stopping_at: datetime | None = None


def task_facts(description: Mapping[str, Any]) -> TaskFacts:
    """Return one task of a DescribeTasks answer as facts."""
    containers: Sequence[Mapping[str, Any]] = description.get("containers", ())
    return TaskFacts(
        id=str(description["taskArn"]).rsplit("/", 1)[-1],
        task_definition=str(description.get("taskDefinitionArn", "")),
        started_by=str(description.get("startedBy", "")),
        last_status=str(description.get("lastStatus", "")),
        stop_code=str(description.get("stopCode", "")),
        stopped_reason=str(description.get("stoppedReason", "")),
        digests={str(one["name"]): str(one["imageDigest"]) for one in containers if one.get("imageDigest")},
        exit_codes={str(one["name"]): int(one["exitCode"]) for one in containers if one.get("exitCode") is not None},
        reasons=tuple(str(one["reason"]) for one in containers if one.get("reason")),
        address=_address(containers),
        started_at=description.get("startedAt"),
        stopping_at=description.get("stoppingAt") or description.get("stoppedAt"),
    )


def _address(containers: Sequence[Mapping[str, Any]]) -> str:
    interfaces = [interface for one in containers for interface in one.get("networkInterfaces") or ()]
    return next((str(one["privateIpv4Address"]) for one in interfaces if one.get("privateIpv4Address")), "")


def wrong_digests(tasks: Sequence[TaskFacts], container: str, digest: str) -> tuple[str, ...]:
    """Return a sentence for each running task whose container is not the image of this digest."""
    return tuple(
        f"task {task.id} runs {task.digests.get(container, 'an unknown image')}, not {digest}"
        for task in tasks
        if task.last_status == "RUNNING" and task.digests.get(container) != digest
    )


def stop_sentences(tasks: Sequence[TaskFacts]) -> tuple[str, ...]:
    """Return why tasks stopped, each distinct reason once, with how many tasks it stopped and their exit codes."""
    counts: dict[str, int] = {}
    for task in tasks:
        if not task.stopped_reason:
            continue
        codes = ", ".join(f"{name} exited with {code}" for name, code in sorted(task.exit_codes.items()))
        details = "; ".join(filter(None, (*task.reasons, codes)))
        reason = task.stopped_reason + (f" ({details})" if details and details not in task.stopped_reason else "")
        counts[reason] = counts.get(reason, 0) + 1
    return tuple(f"{count} × {reason}" if count > 1 else reason for reason, count in counts.items())
