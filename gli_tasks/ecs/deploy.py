"""Start a rollout, follow it by its own deployment id, and put the old version back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gli_tasks.aws import as_gli_error
from gli_tasks.ecs.plan import (
    Judgement,
    Progress,
    ServiceFacts,
    TaskFacts,
    judge,
    service_facts,
    stop_sentences,
    wrong_digests,
)
from gli_tasks.ecs.services import read_services, read_tasks
from gli_tasks.errors import NotRestored, RolloutFailed

_RESTORE_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Started:
    """A service that was told to run a task definition: the deployment to follow, and what ran before."""

    service: str
    deployment_id: str
    task_definition: str
    task_definition_before: str

    @property
    def changed(self) -> bool:
        """Tell whether the service ran something else before."""
        return self.task_definition != self.task_definition_before


@dataclass(frozen=True, slots=True)
class Expected:
    """What every running task of a service must run when its rollout has ended."""

    container: str
    digest: str


def update_service(
    ecs: Any,
    cluster: str,
    before: ServiceFacts,
    task_definition: str,
    *,
    minimum_healthy_percent: int,
    maximum_percent: int,
) -> Started:
    """Tell a service to run a task definition by a rolling deployment with ECS's circuit breaker; desiredCount stays.

    A service that runs it already, with that deployment completed, is left alone.
    """
    primary = before.primary
    if primary and primary.task_definition == task_definition and primary.rollout_state == "COMPLETED":
        return Started(before.name, primary.id, task_definition, task_definition)
    answer = ecs.update_service(
        cluster=cluster,
        service=before.name,
        taskDefinition=task_definition,
        deploymentConfiguration={
            "minimumHealthyPercent": minimum_healthy_percent,
            "maximumPercent": maximum_percent,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        },
    )
    after = service_facts(answer["service"])
    if after.primary is None or after.primary.task_definition != task_definition:
        raise RolloutFailed(f"{before.name} did not take {task_definition}", remedy="see `invoke ecs.status`")
    return Started(before.name, after.primary.id, task_definition, before.task_definition)


def follow(
    ecs: Any,
    cluster: str,
    deployments: Mapping[str, str],
    *,
    timeout_s: float,
    poll_s: float,
    on_change: Callable[[str, Judgement], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Judgement]:
    """Follow deployments, by service name, until each has ended or one has failed; one describe call a poll for
    ten services.

    Returns how each stands; one that still runs when ``timeout_s`` is over, or when another has failed, comes
    back as running.
    """
    deadline = clock() + timeout_s
    last: dict[str, Judgement] = {}
    while True:
        asked = clock()
        open_names = [name for name in deployments if name not in last or last[name].progress is Progress.RUNNING]
        for name, facts in read_services(ecs, cluster, open_names).items():
            judgement = judge(facts, deployments[name])
            if last.get(name) != judgement:
                on_change(name, judgement)
            last[name] = judgement
        ended = [one.progress for one in last.values() if one.progress is not Progress.RUNNING]
        failed = any(progress is not Progress.COMPLETED for progress in ended)
        if failed or len(ended) == len(last) or clock() >= deadline:
            return last
        sleep(max(0.0, poll_s - (clock() - asked)))


def require_completed(
    ecs: Any, cluster: str, ended: Mapping[str, Judgement], expected: Mapping[str, Expected], timeout_s: float
) -> None:
    """Believe a rollout only when every deployment was completed and every running task has the expected digest.

    Raises RolloutFailed with the reason of each service that failed, its stopped tasks' reasons and its newest events.
    """
    failures: list[str] = []
    one_failed = any(one.progress in (Progress.FAILED, Progress.REPLACED) for one in ended.values())
    for name, judgement in ended.items():
        if judgement.progress is Progress.RUNNING and one_failed:
            continue
        if judgement.progress is Progress.COMPLETED:
            tasks = read_tasks(ecs, cluster, name, "RUNNING")
            if name in expected:
                failures.extend(wrong_digests(tasks, expected[name].container, expected[name].digest))
            continue
        what = judgement.sentence
        if judgement.progress is Progress.RUNNING:
            what = f"did not end within {timeout_s:g} s ({judgement.sentence})"
        failures.append(f"{name}: {what}{_why(ecs, cluster, name, judgement.deployment)}")
    if failures:
        raise RolloutFailed(
            "\n".join(failures), remedy="read the reasons above; `invoke ecs.status` shows what serves now"
        )


def _why(ecs: Any, cluster: str, name: str, deployment: str) -> str:
    stopped = read_tasks(ecs, cluster, name, "STOPPED")
    reasons = stop_sentences([task for task in stopped if task.started_by == deployment and _is_failure(task)])
    events = read_services(ecs, cluster, [name])[name].events[:5]
    lines = [f"    stopped: {reason}" for reason in reasons] + [f"    event: {event}" for event in events]
    return "\n" + "\n".join(lines) if lines else ""


def _is_failure(task: TaskFacts) -> bool:
    # A task that the scheduler stopped in the course of a rollout says nothing on why the rollout failed.
    return not task.stopped_reason.startswith("Scaling activity")


def restore(
    ecs: Any,
    cluster: str,
    started: Sequence[Started],
    *,
    timeout_s: float,
    poll_s: float,
    on_change: Callable[[str, Judgement], None],
) -> tuple[str, ...]:
    """Make every service run what it ran before, and return a sentence for each once reads confirm it.

    Where ECS's circuit breaker is already bringing the old version back, its deployment is followed; else one is
    started.
    Raises NotRestored, naming each service whose old version is not serving.
    """
    left = {one.service: one for one in started if one.changed}
    confirmed: dict[str, str] = {}
    failed: dict[str, str] = {}
    # The circuit breaker may start a rollback of its own while ours begins, and take its place; then that one is
    # followed.
    deadline = time.monotonic() + timeout_s
    for number in range(_RESTORE_ROUNDS):
        if not left:
            break
        if number:
            time.sleep(poll_s)
        ids, failed = _start_restoring(ecs, cluster, left)
        left_s = max(0.0, deadline - time.monotonic())
        ended = follow(ecs, cluster, ids, timeout_s=left_s, poll_s=poll_s, on_change=on_change) if ids else {}
        for name, one in list(left.items()):
            strangers = [
                task.id
                for task in read_tasks(ecs, cluster, name, "RUNNING")
                if task.task_definition != one.task_definition_before
            ]
            if name in ended and ended[name].progress is Progress.COMPLETED and not strangers:
                confirmed[name] = f"{name} runs {one.task_definition_before.rsplit('/', 1)[-1]} again"
                del left[name]
            else:
                sentence = ended[name].sentence if name in ended else failed.get(name, "has no deployment")
                failed[name] = f"{name}: {sentence}; tasks of another version: {', '.join(strangers) or 'none'}"
    if left:
        raise NotRestored(
            "the old version could not be put back:\n" + "\n".join(f"  - {failed[name]}" for name in left),
            remedy="see `invoke ecs.status` and the service's events in the AWS console, now",
        )
    return tuple(confirmed.values())


def _start_restoring(ecs: Any, cluster: str, left: Mapping[str, Started]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the deployment to follow of each service, and why the others have none."""
    ids: dict[str, str] = {}
    refused: dict[str, str] = {}
    facts = read_services(ecs, cluster, list(left))
    for name, one in left.items():
        primary = facts[name].primary
        if primary is None or primary.task_definition != one.task_definition_before:
            try:
                answer = ecs.update_service(cluster=cluster, service=name, taskDefinition=one.task_definition_before)
            except Exception as error:
                # One service that cannot go back must not keep the others from it.
                if (known := as_gli_error(error)) is None:
                    raise
                refused[name] = known.what
                continue
            primary = service_facts(answer["service"]).primary
        if primary is not None:
            ids[name] = primary.id
    return ids, refused
