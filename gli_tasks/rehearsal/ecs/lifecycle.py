"""One task's way from PROVISIONING to STOPPED. Never blocks: what takes time is a job on a worker thread."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from gli_tasks.rehearsal.ecs import wording
from gli_tasks.rehearsal.ecs.containers import ContainerWorker, StartRefused
from gli_tasks.rehearsal.ecs.definitions import Dependency
from gli_tasks.rehearsal.ecs.model import Service, StopCode, Store, Task, TaskContainer, TaskStatus
from gli_tasks.rehearsal.ecs.ports import TargetRegistrar
from gli_tasks.rehearsal.runtime.contract import CannotPullContainer, CannotStartContainer, ContainerHealth

# ELBv2's longest deregistration delay, and some: a registrar that never says "gone" must not hold a task for ever.
_LONGEST_DRAINING_S = 3600.0
_DRAINING_MARGIN_S = 30.0
_STOP_ATTEMPTS = 3
_log = logging.getLogger(__name__)


def request_stop(task: Task, code: StopCode, reason: str, now: datetime, *, failure: bool = False) -> None:
    """Ask a task to stop; the first reason stands. ``failure``: its deployment counts it as failed."""
    if not task.wanted:
        return
    task.desired, task.failed = TaskStatus.STOPPED, failure
    task.stop_code, task.stopped_reason, task.stopping_at = code, reason, now
    task.version += 1


class Lifecycle:
    """Moves tasks on, one step a tick. The caller holds the control plane's lock."""

    def __init__(
        self,
        store: Store,
        worker: ContainerWorker,
        registrar: TargetRegistrar,
        *,
        starts: ThreadPoolExecutor,
        stops: ThreadPoolExecutor,
        provisioning_delay_s: float,
        time_scale: float,
    ) -> None:
        self._store, self._worker, self._registrar = store, worker, registrar
        self._starts, self._stops = starts, stops
        self._provisioning_delay = timedelta(seconds=provisioning_delay_s * time_scale)
        self._draining_limit = timedelta(seconds=_LONGEST_DRAINING_S * time_scale + _DRAINING_MARGIN_S)

    def advance(self, task: Task, now: datetime) -> None:
        """Take the task's next step, if it is due."""
        self._notice_exits(task, now)
        match task.status:
            case TaskStatus.PROVISIONING:
                self._provisioning(task, now)
            case TaskStatus.PENDING:
                self._pending(task, now)
            case TaskStatus.ACTIVATING:
                self._activating(task, now)
            case TaskStatus.RUNNING:
                if not task.wanted:
                    self._leave(task, now)
            case TaskStatus.DEACTIVATING:
                self._deactivating(task, now)
            case TaskStatus.STOPPING:
                self._stopping(task, now)
            case TaskStatus.DEPROVISIONING:
                task.stopped_at = now
                task.enter(TaskStatus.STOPPED)
            case TaskStatus.STOPPED:
                pass

    def _provisioning(self, task: Task, now: datetime) -> None:
        if not task.wanted:
            self._deprovision(task, now)
        elif now >= task.created_at + self._provisioning_delay:
            task.pull_started_at = now
            task.job = self._starts.submit(self._worker.prepare, task)
            task.enter(TaskStatus.PENDING)

    def _pending(self, task: Task, now: datetime) -> None:
        if task.job is not None:
            if not task.job.done():
                return
            error, task.job = task.job.exception(), None
            if error is not None:
                request_stop(task, StopCode.FAILED_TO_START, self._explain(error), now, failure=True)
        self._notice_starts(task, now)
        if not task.wanted:
            self._leave(task, now)
            return
        for container in task.containers:
            if container.starting is None and container.running is None and not container.ended:
                self._start_when_ready(task, container, now)
        if not task.wanted or any(item.running is None and not item.ended for item in task.containers):
            return
        task.pull_stopped_at = task.pull_stopped_at or now
        if task.targets:
            task.job = self._stops.submit(self._register, task)
            task.enter(TaskStatus.ACTIVATING)
        else:
            self._run(task, now)

    def _start_when_ready(self, task: Task, container: TaskContainer, now: datetime) -> None:
        by_name = {item.definition.name: item for item in task.containers}
        for dependency in container.definition.depends_on:
            other = by_name[dependency.container]
            if _hopeless(other, dependency):
                reason = wording.dependency_failed(
                    container.definition.name, dependency.container, dependency.condition
                )
                container.status, container.reason = "STOPPED", reason
                request_stop(task, StopCode.FAILED_TO_START, reason, now, failure=True)
                return
            if not _satisfied(other, dependency):
                return
        container.start_began_at = now
        container.started_order = 1 + max(item.started_order for item in task.containers)
        container.starting = self._starts.submit(self._worker.start, task, container)

    def _notice_starts(self, task: Task, now: datetime) -> None:
        for container in task.containers:
            if container.starting is None or not container.starting.done():
                continue
            future, container.starting = container.starting, None
            error = future.exception()
            if error is not None:
                container.status, container.reason = "STOPPED", self._explain(error)
                request_stop(task, StopCode.FAILED_TO_START, container.reason, now, failure=True)
                continue
            container.running, container.status = future.result(), "RUNNING"
            container.runtime_id = container.running.runtime_id
            container.image_digest = container.running.image_digest
            if task.revision is not None:
                task.revision.digests.setdefault(container.definition.name, container.image_digest)

    def _notice_exits(self, task: Task, now: datetime) -> None:
        for container in task.containers:
            if container.status == "STOPPED" and container.exit_code is not None and container.definition.essential:
                request_stop(task, StopCode.ESSENTIAL_EXITED, wording.ESSENTIAL_CONTAINER_EXITED, now, failure=True)

    def _activating(self, task: Task, now: datetime) -> None:
        if task.job is None or not task.job.done():
            return
        error, task.job = task.job.exception(), None
        service = self._service(task)
        if error is not None:
            detail = self._explain(error)
            if service is not None:
                service.say(now, wording.register_failed(service.name, task.targets[0].target_group_arn, detail))
            request_stop(task, StopCode.SCHEDULER, detail, now, failure=True)
        elif service is not None:
            for target in task.targets:
                service.say(now, wording.registered_targets(service.name, 1, target.target_group_arn))
        if task.wanted:
            self._run(task, now)
        else:
            self._leave(task, now)

    @staticmethod
    def _run(task: Task, now: datetime) -> None:
        task.started_at = now
        task.enter(TaskStatus.RUNNING)

    def _leave(self, task: Task, now: datetime) -> None:
        if any(item.starting is not None for item in task.containers):
            return
        registered = [target for target in task.targets if target.registered]
        if not registered:
            self._stop_containers(task)
            return
        task.deactivating_at = now
        task.job = self._stops.submit(self._deregister, task)
        task.enter(TaskStatus.DEACTIVATING)
        service = self._service(task)
        if service is not None:
            for target in registered:
                service.say(now, wording.deregistered_targets(service.name, 1, target.target_group_arn))
            if any(not item.ended for item in task.containers):
                service.say(now, wording.draining(service.name, 1))

    def _deactivating(self, task: Task, now: datetime) -> None:
        if task.job is not None:
            if not task.job.done():
                return
            error, task.job = task.job.exception(), None
            if error is not None:
                _log.error("targets of task %s could not be deregistered", task.id, exc_info=error)
        drained = all(target.state == "gone" for target in task.targets if target.registered)
        dead = all(item.ended for item in task.containers if item.definition.essential)
        late = task.deactivating_at is not None and now > task.deactivating_at + self._draining_limit
        if drained or dead or late:
            self._stop_containers(task)

    def _stop_containers(self, task: Task) -> None:
        task.job = self._stops.submit(self._worker.stop, task)
        task.enter(TaskStatus.STOPPING)

    def _stopping(self, task: Task, now: datetime) -> None:
        if task.job is not None:
            if not task.job.done():
                return
            error, task.job = task.job.exception(), None
            if error is not None:
                task.stop_attempts += 1
                _log.error("containers of task %s could not be stopped", task.id, exc_info=error)
                if task.stop_attempts < _STOP_ATTEMPTS:
                    task.job = self._stops.submit(_kill, task)
                    return
        if task.stop_attempts < _STOP_ATTEMPTS and any(item.running and not item.ended for item in task.containers):
            return  # their exits are noticed on the next look
        self._deprovision(task, now)

    def _deprovision(self, task: Task, now: datetime) -> None:
        task.execution_stopped_at = now
        for container in task.containers:
            container.status = "STOPPED"
        task.secrets.clear()
        task.enter(TaskStatus.DEPROVISIONING)

    def _register(self, task: Task) -> None:
        for target in task.targets:
            self._registrar.register(target.target_group_arn, task.address, target.port)
            target.registered = True

    def _deregister(self, task: Task) -> None:
        for target in task.targets:
            if target.registered:
                self._registrar.deregister(target.target_group_arn, task.address, target.port)

    def _service(self, task: Task) -> Service | None:
        return self._store.services.get(task.service_arn) if task.service_arn else None

    @staticmethod
    def _explain(error: BaseException) -> str:
        if isinstance(error, StartRefused | CannotPullContainer | CannotStartContainer):
            return str(error)
        _log.error("a step of a task failed inside the twin", exc_info=error)
        return wording.internal_error(f"{type(error).__name__}: {error}")


def _kill(task: Task) -> None:
    for container in task.containers:
        if container.running is not None and container.running.exited() is None:
            container.running.kill()


def _satisfied(other: TaskContainer, dependency: Dependency) -> bool:
    match dependency.condition:
        case "START":
            return other.running is not None or other.ended
        case "HEALTHY":
            return other.running is not None and other.health == ContainerHealth.HEALTHY
        case "COMPLETE":
            return other.ended and other.exit_code is not None
        case _:
            return other.ended and other.exit_code == 0


def _hopeless(other: TaskContainer, dependency: Dependency) -> bool:
    match dependency.condition:
        case "HEALTHY":
            return other.ended or other.health == ContainerHealth.UNHEALTHY
        case "SUCCESS":
            return other.ended and other.exit_code != 0
        case _:
            return other.ended and other.exit_code is None
