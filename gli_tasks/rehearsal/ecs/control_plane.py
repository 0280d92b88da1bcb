"""The control plane: all state, one loop that moves it, and bounded pools for what blocks."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gli_tasks.rehearsal.ecs import wording
from gli_tasks.rehearsal.ecs.addresses import Addresses
from gli_tasks.rehearsal.ecs.containers import ContainerWorker
from gli_tasks.rehearsal.ecs.deployments import Deployments
from gli_tasks.rehearsal.ecs.lifecycle import Lifecycle
from gli_tasks.rehearsal.ecs.logs import LogShipper
from gli_tasks.rehearsal.ecs.model import Store, Task, TaskContainer, TaskStatus
from gli_tasks.rehearsal.ecs.placement import Placement
from gli_tasks.rehearsal.ecs.ports import (
    Capacity,
    Clock,
    LogSink,
    RegistryLookup,
    SecretResolver,
    TargetRegistrar,
)
from gli_tasks.rehearsal.ecs.scheduler import ServiceScheduler, TargetFacts
from gli_tasks.rehearsal.runtime.contract import ContainerExit, ContainerHealth, RunningContainer, Runtime

# ECS shows stopped tasks for about an hour; https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopTask.html
_STOPPED_TASKS_KEPT = timedelta(hours=1)
_END_DEADLINE_S = 30.0
_STOP_WORKERS = 16
_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


def always() -> bool:
    """Say that there is capacity."""
    return True


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What a look at a container found."""

    exit: ContainerExit | None
    health: ContainerHealth


class EcsControlPlane:
    """ECS: state, and the loop that moves it.

    Durations are AWS's own seconds and are multiplied by ``time_scale`` here, except ``pace_s`` (the loop's) and
    containers' stop timeouts, which are upper bounds on real work. ``capacity`` may be replaced while it runs.
    """

    def __init__(
        self,
        runtime: Runtime,
        registry_lookup: RegistryLookup,
        targets: TargetRegistrar,
        logs: LogSink,
        secrets: SecretResolver,
        clock: Clock = utc_now,
        time_scale: float = 0.05,
        account: str = "123456789012",
        region: str = "ap-northeast-2",
        *,
        capacity: Capacity = always,
        provisioning_delay_s: float = 10.0,
        settle_s: float = 20.0,
        pace_s: float = 0.05,
        start_workers: int = 4,
    ) -> None:
        self.store = Store(account, region)
        self.lock = threading.RLock()
        self.clock, self.capacity = clock, capacity
        self._targets, self._pace_s = targets, pace_s
        self._addresses, self._unseen = Addresses(), set[str]()
        self._shipper = LogShipper(logs, clock)
        self._worker = ContainerWorker(runtime, registry_lookup, secrets, self._shipper, time_scale)
        self._starts = ThreadPoolExecutor(start_workers, "ecs-start")
        self._stops = ThreadPoolExecutor(_STOP_WORKERS, "ecs-stop")
        self.placement = Placement(self.store, self._addresses)
        self.deployments = Deployments(self.store)
        self._lifecycle = Lifecycle(
            self.store,
            self._worker,
            targets,
            starts=self._starts,
            stops=self._stops,
            provisioning_delay_s=provisioning_delay_s,
            time_scale=time_scale,
        )
        self._scheduler = ServiceScheduler(
            self.store, self.deployments, self.placement.place_for_service, time_scale, settle_s
        )
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="ecs-reconcile", daemon=True)

    def start(self) -> None:
        """Begin to reconcile."""
        self._shipper.start()
        self._thread.start()

    def stop(self) -> None:
        """End the loop, kill every container, deliver the last output. The runtime stays its owner's to close."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_END_DEADLINE_S)
        self._starts.shutdown(wait=False, cancel_futures=True)
        with self.lock:
            containers = [item for task in self.store.tasks.values() for item in task.containers]
        starting = [item.starting for item in containers if item.starting is not None]
        # A start that was cancelled before its turn is never done in the eyes of wait().
        wait([future for future in starting if not future.cancelled()], _END_DEADLINE_S)
        running = [item.running for item in containers if item.running is not None]
        running += [future.result() for future in starting if _succeeded(future)]
        wait([self._stops.submit(_kill, item) for item in running], _END_DEADLINE_S)
        self._stops.shutdown(wait=False, cancel_futures=True)
        self._shipper.stop()
        self._addresses.close()

    def has_capacity(self) -> bool:
        """Say whether a task may be placed now."""
        return self._addresses.available and self.capacity()

    def poke(self) -> None:
        """Look at once instead of at the next pace."""
        self._wake.set()

    def now(self) -> datetime:
        """Return the clock's time."""
        return self.clock()

    def tick(self) -> None:
        """Look at everything once and take every step that is due."""
        with self.lock:
            live = [task for task in self.store.tasks.values() if task.stopped_at is None]
        container_facts: dict[tuple[str, str], ContainerFacts] = {}
        target_facts: TargetFacts = {}
        for task in live:
            try:
                self._look_at(task, container_facts, target_facts)
            except Exception:  # noqa: BLE001 - part of the thread's top: one task that cannot be seen must not stall all
                if task.id not in self._unseen:
                    self._unseen.add(task.id)
                    _log.exception("task %s cannot be looked at", task.id)
        with self.lock:
            now = self.clock()
            for task in live:
                for item in task.containers:
                    facts = container_facts.get((task.id, item.definition.name))
                    if facts is not None:
                        _note(item, facts)
                self._note_targets(task, target_facts)
                self._lifecycle.advance(task, now)
                if task.status == TaskStatus.STOPPED:
                    self._retire(task)
            for service in list(self.store.services.values()):
                if service.status != "INACTIVE":
                    self._scheduler.reconcile(service, target_facts, self.has_capacity, now)
            self._forget_old_tasks(now)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.tick()
            except Exception:  # noqa: BLE001 - a thread's top: one bad look must not end the control plane
                _log.exception("a look of the ECS control plane failed")
            self._wake.wait(self._pace_s)
            self._wake.clear()

    def _look_at(
        self, task: Task, container_facts: dict[tuple[str, str], ContainerFacts], target_facts: TargetFacts
    ) -> None:
        for item in task.containers:
            if item.running is not None and not item.ended:
                container_facts[task.id, item.definition.name] = _look(item.running)
        for target in task.targets:
            if target.registered:
                state = self._targets.state(target.target_group_arn, task.address, target.port)
                target_facts[task.id, target.target_group_arn] = state

    @staticmethod
    def _note_targets(task: Task, facts: TargetFacts) -> None:
        for target in task.targets:
            seen = facts.get((task.id, target.target_group_arn))
            if seen is not None:
                target.state = seen.state

    def _retire(self, task: Task) -> None:
        self._addresses.free(task.address)
        self._stops.submit(self._worker.close_logs, task)

    def _forget_old_tasks(self, now: datetime) -> None:
        for task_id, task in list(self.store.tasks.items()):
            if task.stopped_at is not None and now - task.stopped_at > _STOPPED_TASKS_KEPT:
                del self.store.tasks[task_id]
                self.store.tags.pop(task.arn, None)


def _look(running: RunningContainer) -> ContainerFacts:
    # Health first: a container that ends in between must not be read as one that never became healthy.
    health = running.health()
    return ContainerFacts(running.exited(), health)


def _note(container: TaskContainer, facts: ContainerFacts) -> None:
    container.health = facts.health
    if facts.exit is not None:
        container.status, container.exit_code = "STOPPED", facts.exit.code
        container.reason = wording.OUT_OF_MEMORY if facts.exit.out_of_memory else None


def _succeeded(future: Future[RunningContainer]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _kill(running: RunningContainer) -> None:
    if running.exited() is None:
        running.kill()
