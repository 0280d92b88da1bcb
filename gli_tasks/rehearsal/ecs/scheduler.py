"""The service scheduler: keeps each service at its desired count and rolls its deployments. Never blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from gli_tasks.rehearsal.ecs import plan, wording
from gli_tasks.rehearsal.ecs.deployments import Deployments, threshold
from gli_tasks.rehearsal.ecs.lifecycle import request_stop
from gli_tasks.rehearsal.ecs.model import (
    Deployment,
    Rollout,
    Service,
    StopCode,
    Store,
    Task,
)
from gli_tasks.rehearsal.ecs.ports import Capacity, TargetState
from gli_tasks.rehearsal.runtime.contract import ContainerHealth

# How long to wait, in AWS's seconds, before looking for capacity again.
_CAPACITY_PACE_S = 30.0

PlaceTask = Callable[[Service, Deployment, datetime], Task]
TargetFacts = dict[tuple[str, str], TargetState]
"""Target health by task id and target group."""


class ServiceScheduler:
    """Looks at one service at a time. The caller holds the control plane's lock.

    ``settle_s`` (AWS's seconds): how long all tasks must have served before a deployment counts as complete, and one
    task before it clears the count of failures. ECS has such a time too, of unpublished length; without it a task that
    crashes a moment after its start would pass for a good one.
    """

    def __init__(
        self, store: Store, deployments: Deployments, place: PlaceTask, time_scale: float, settle_s: float
    ) -> None:
        self._store, self._deployments, self._place = store, deployments, place
        self._time_scale = time_scale
        self._settle = timedelta(seconds=settle_s * time_scale)

    def reconcile(self, service: Service, facts: TargetFacts, capacity: Capacity, now: datetime) -> None:
        """Take the service's next step."""
        tasks = [task for task in self._store.tasks_of(service) if task.stopped_at is None]
        self._judge_health(service, tasks, facts, now)
        self._count_failures(service, now)
        if service.status == "ACTIVE":
            self._deployments.act_on_requests(service, now)
            self._break_circuit(service, now)
        self._deployments.drop_replaced(service)
        self._roll(service, [task for task in tasks if task.wanted], capacity, now)
        self._conclude(service, now)

    def _judge_health(self, service: Service, tasks: Iterable[Task], facts: TargetFacts, now: datetime) -> None:
        grace = timedelta(seconds=(service.grace_period_s or 0) * self._time_scale)
        for task in tasks:
            for target in task.targets:
                seen = facts.get((task.id, target.target_group_arn))
                if seen is not None:
                    target.state = seen.state
            task.healthy_since = (task.healthy_since or now) if task.serves else None
            if not task.wanted or task.started_at is None or now < task.started_at + grace:
                continue
            if task.health == ContainerHealth.UNHEALTHY:
                service.say(now, wording.container_unhealthy(service.name, task.id))
                request_stop(task, StopCode.SCHEDULER, wording.CONTAINER_HEALTH_CHECKS_FAILED, now, failure=True)
            for target in task.targets:
                if target.state != "unhealthy" or not task.wanted:
                    continue
                seen = facts.get((task.id, target.target_group_arn))
                reason = (seen.description or seen.reason) if seen else "Health checks failed"
                service.say(now, wording.target_unhealthy(service.name, target.port, target.target_group_arn, reason))
                stop_reason = wording.elb_health_checks_failed(target.target_group_arn)
                request_stop(task, StopCode.SCHEDULER, stop_reason, now, failure=True)

    def _count_failures(self, service: Service, now: datetime) -> None:
        if not service.deployments:
            return
        deployment = service.primary
        counting = deployment.rollout == Rollout.IN_PROGRESS
        breaker = service.configuration.breaker
        resets = breaker is None or breaker.reset_on_healthy_task is not False
        for task in self._store.tasks_of(service):
            if task.deployment_id != deployment.id or task.failure_counted:
                continue
            if not task.settled and task.healthy_since is not None and now - task.healthy_since >= self._settle:
                task.settled = True
                deployment.failed_tasks = 0 if resets else deployment.failed_tasks
                deployment.failed_starts = 0
            if task.failed:
                task.failure_counted = True
                deployment.last_failure_at = now
                deployment.failed_tasks += 1
                deployment.updated_at = now
                if counting:
                    deployment.service_deployment.failure_count = deployment.failed_tasks
                if task.started_at is None:
                    self._count_failed_start(service, now)

    @staticmethod
    def _count_failed_start(service: Service, now: datetime) -> None:
        """Count a task that never ran: such alone slow the restarts down, and are told of.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html
        """
        deployment = service.primary
        deployment.failed_starts += 1
        delay_s, before_s = (plan.restart_delay_s(deployment.failed_starts - back) for back in (0, 1))
        if delay_s and not before_s:
            service.say(now, wording.cannot_start_consistently(service.name))

    def _break_circuit(self, service: Service, now: datetime) -> None:
        deployment, breaker = service.primary, service.configuration.breaker
        if deployment.rollout != Rollout.IN_PROGRESS or breaker is None:
            return
        limit = threshold(service)
        deployment.service_deployment.threshold = limit
        if plan.breaker_trips(breaker.enable, deployment.failed_tasks, limit):
            self._deployments.fail(service, now)

    def _roll(self, service: Service, tasks: list[Task], capacity: Capacity, now: datetime) -> None:
        primary_id = service.primary.id if service.deployments else None
        primary = [task for task in tasks if task.deployment_id == primary_id]
        old = [task for task in tasks if task.deployment_id != primary_id]
        counts = plan.TaskCounts(
            primary_healthy=sum(task.serves for task in primary),
            primary_unready=sum(not task.serves for task in primary),
            old_healthy=sum(task.serves for task in old),
            old_unready=sum(not task.serves for task in old),
        )
        if service.status != "ACTIVE":
            self._stop(service, tasks, now)
            return
        if service.primary.rollout == Rollout.FAILED and old:
            # Nothing more is started, and what served before serves on.
            self._stop(
                service, [*_newest(old, False), *_newest(old, True)][: max(len(old) - service.desired_count, 0)], now
            )
            return
        configuration = service.configuration
        step = plan.rolling_step(
            service.desired_count, configuration.minimum_healthy_percent, configuration.maximum_percent, counts
        )
        stopping = [
            *_newest(primary, False)[: step.stop_primary_unready],
            *_newest(primary, True)[: step.stop_primary_healthy],
            *_newest(old, False)[: step.stop_old_unready],
            *_newest(old, True)[: step.stop_old_healthy],
        ]
        self._stop(service, stopping, now)
        if service.primary.rollout != Rollout.FAILED:
            self._start(service, step.start, capacity, now)

    def _stop(self, service: Service, tasks: list[Task], now: datetime) -> None:
        if not tasks:
            return
        reason = wording.scaling_activity(service.primary.id)
        for task in tasks:
            request_stop(task, StopCode.SCHEDULER, reason, now)
        service.steady = False
        service.say(now, wording.stopped_tasks(service.name, [task.id for task in tasks]))

    def _start(self, service: Service, count: int, capacity: Capacity, now: datetime) -> None:
        if count <= 0 or not self._may_start(service, now):
            return
        deployment = service.primary
        started: list[str] = []
        while len(started) < count:
            if not capacity():
                service.no_capacity_at = now
                service.say(now, wording.unable_to_place(service.name, deployment.revision.workload.launch_type or ""))
                if deployment.rollout == Rollout.IN_PROGRESS:
                    deployment.failed_tasks += 1
                    deployment.service_deployment.failure_count = deployment.failed_tasks
                break
            started.append(self._place(service, deployment, now).id)
        if started:
            service.no_capacity_at = None
            service.steady = False
            service.say(now, wording.started_tasks(service.name, started))

    def _may_start(self, service: Service, now: datetime) -> bool:
        pace = timedelta(seconds=_CAPACITY_PACE_S * self._time_scale)
        if service.no_capacity_at is not None and now < service.no_capacity_at + pace:
            return False
        deployment = service.primary
        if deployment.last_failure_at is None:
            return True
        delay = plan.restart_delay_s(deployment.failed_starts) * self._time_scale
        return now >= deployment.last_failure_at + timedelta(seconds=delay)

    def _conclude(self, service: Service, now: datetime) -> None:
        tasks = [task for task in self._store.tasks_of(service) if task.stopped_at is None]
        if service.status == "DRAINING" and not tasks:
            service.status = "INACTIVE"
            return
        if service.status != "ACTIVE":
            return
        deployment = service.primary
        serving = sum(task.serves for task in tasks if task.deployment_id == deployment.id)
        steady = serving == service.desired_count == len(tasks) and len(service.deployments) == 1
        deployment.steady_since = (deployment.steady_since or now) if steady else None
        if deployment.steady_since is None or now - deployment.steady_since < self._settle:
            return
        if deployment.rollout == Rollout.IN_PROGRESS:
            self._deployments.complete(service, now)
        if not service.steady:
            service.steady = True
            service.say(now, wording.steady(service.name))


def _newest(tasks: list[Task], serving: bool) -> list[Task]:
    chosen = [task for task in tasks if task.serves == serving and task.wanted]
    return sorted(chosen, key=lambda task: task.created_at, reverse=True)
