"""Capture why a rollout fails the moment it shows: AWS forgets stopped tasks, and targets forget why they were ill."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from gli_tasks.aws import as_gli_error
from gli_tasks.console import MASK, PROCESS_REDACTOR
from gli_tasks.ecs.diagnose import (
    Log,
    Symptoms,
    TargetFacts,
    diagnose,
    is_failure,
    is_trouble,
    repeated_failure,
)
from gli_tasks.ecs.difference import without_secrets
from gli_tasks.ecs.logs import log_places
from gli_tasks.ecs.plan import Attempt, Diagnosis, Event, ServiceFacts, TaskFacts
from gli_tasks.ecs.services import describe_tasks, list_tasks, read_attempt, read_tasks, require

Client = Callable[[str], Any]
"""Gives the client of an AWS service by boto3's name for it."""

_LOG_LINES = 10
_LONGEST_LINE = 500
_TASKS_WITH_LOGS = 2
# A deployment whose tasks all run for so long and is not completed waits for its targets.
_TARGETS_LATE_S = 5.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
# What programs print besides what `without_secrets` knows: other names of secrets, and headers.
_MORE_SECRETS = (
    (
        re.compile(r"((?:\bpwd|passphrase|api[_-]?key)[\w-]*[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&)}]+", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
)


def masked_line(line: str) -> str:
    """Return a line of a program's output without escapes, cut to a length, with what looks like a secret masked."""
    text = without_secrets(PROCESS_REDACTOR.clean(_ESCAPES.sub("", line.rstrip())))
    for pattern, mask in _MORE_SECRETS:
        text = pattern.sub(mask, text)
    return text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + " …"


class Witness:
    """What was seen of one service's deployment; to be told of every poll, and asked in the end.

    ``client`` gives the clients of CloudWatch Logs and of the load balancer; without it their evidence is left out.
    Nothing here fails a rollout: what cannot be read is named in the diagnosis.
    """

    def __init__(self, ecs: Any, cluster: str, service: str, deployment: str, client: Client | None = None) -> None:
        self._ecs, self._cluster, self._service, self._deployment = ecs, cluster, service, deployment
        self._client = client
        self._facts: ServiceFacts | None = None
        self._begun: datetime | None = None
        self._attempt = ""
        self._events: dict[str, Event] = {}
        self._tasks: dict[str, TaskFacts] = {}
        self._settled: set[str] = set()
        self._targets: dict[tuple[str, int], TargetFacts] = {}
        self._definitions: dict[str, Mapping[str, Any]] = {}
        self._unread: dict[str, None] = {}
        self._all_run_since: float | None = None
        self._targets_seen_at = 0.0

    def note(self, facts: ServiceFacts, now_s: float) -> bool:
        """Take what a poll saw; return whether the stopped tasks are worth a look."""
        before, self._facts = self._facts, facts
        mine = facts.deployment(self._deployment)
        if mine is not None:
            self._begun = mine.created_at or self._begun
            if mine.status == "PRIMARY" and facts.attempt:
                self._attempt = facts.attempt
            all_run = 0 < mine.desired <= mine.running and mine.rollout_state == "IN_PROGRESS"
            self._all_run_since = (self._all_run_since or now_s) if all_run else None
        for event in facts.history:
            if event.at is None or self._begun is None or event.at >= self._begun:
                self._events.setdefault(event.id or event.message, event)
        return is_trouble(before, facts, self._deployment) or not self._settled.issuperset(self._tasks)

    def look(self) -> None:
        """Read the deployment's tasks that stopped; two calls, one where there is none that was not seen before."""
        with self._reading("the stopped tasks"):
            arns = list_tasks(self._ecs, self._cluster, self._service, "STOPPED")
            new = [arn for arn in arns if arn.rsplit("/", 1)[-1] not in self._settled]
            for task in describe_tasks(self._ecs, self._cluster, new):
                if task.started_by == self._deployment:
                    self._tasks[task.id] = task
                # Another deployment's task says nothing on this one, however it ends.
                if task.last_status == "STOPPED" or task.id not in self._tasks:
                    self._settled.add(task.id)
        if self._says_unhealthy():
            self.look_at_targets(self._targets_seen_at)

    def waits_for_targets(self, now_s: float) -> bool:
        """Tell whether all tasks run for a while, the deployment is not completed, and its targets were not seen of
        late."""
        since = self._all_run_since
        if since is None or now_s - since < _TARGETS_LATE_S or self._client is None:
            return False
        balanced = self._facts is not None and bool(self._facts.balanced)
        return balanced and now_s - self._targets_seen_at >= _TARGETS_LATE_S

    def look_at_targets(self, now_s: float) -> None:
        """Read the health of the service's targets; what an ill one's reason was is kept though it goes away."""
        self._targets_seen_at = now_s
        if self._client is None or self._facts is None:
            return
        for group in dict.fromkeys(one.target_group for one in self._facts.balanced):
            with self._reading("the targets' health"):
                answer = self._client("elbv2").describe_target_health(TargetGroupArn=group)
                require(answer, "DescribeTargetHealth", "TargetHealthDescriptions")
                for one in map(_target_facts, answer["TargetHealthDescriptions"]):
                    if one.state not in ("draining", "healthy"):
                        self._targets[one.address, one.port] = one
                    elif one.state == "healthy":
                        self._targets.pop((one.address, one.port), None)

    def repeated(self, times: int) -> Diagnosis | None:
        """Return the diagnosis once ``times`` tasks have stopped by the same fault of their own; None before."""
        failed = self._failed()
        if len(failed) < max(1, times):
            return None
        events = tuple(event.message for event in self._newest_events())
        seen = Symptoms(stopped=failed, targets=self._own_targets(failed), events=events)
        return self.explain("") if repeated_failure(seen, times) else None

    def attempt(self) -> Attempt | None:
        """Return AWS's own account of the deployment; None where it is not known."""
        if self._attempt:
            with self._reading("the service deployment"):
                return read_attempt(self._ecs, self._attempt)
        return None

    def explain(self, rollout: str) -> Diagnosis:
        """Return why the deployment fails, by all that was seen. ``rollout`` is what is said of it as a whole."""
        failed = self._failed()
        facts = self._facts
        if not failed or self._says_unhealthy():
            self.look_at_targets(self._targets_seen_at)
        symptoms = Symptoms(
            stopped=failed,
            log=self._log(failed),
            targets=self._own_targets(failed),
            events=tuple(event.message for event in self._newest_events()),
            rollout=rollout or self._rollout(),
            balanced=facts.balanced if facts is not None else (),
            grace_s=facts.grace_s if facts is not None else 0,
            unread=tuple(self._unread),
        )
        return diagnose(symptoms)

    def _failed(self) -> tuple[TaskFacts, ...]:
        """Return the tasks that failed, in the order in which they stopped; one whose exit code is not told yet is not
        among them."""
        told = [
            task
            for task in self._tasks.values()
            if is_failure(task)
            and (task.exit_codes or task.last_status == "STOPPED" or task.stop_code != "EssentialContainerExited")
        ]
        return tuple(sorted(told, key=lambda task: task.stopping_at.timestamp() if task.stopping_at else 0.0))

    def _says_unhealthy(self) -> bool:
        return any("is unhealthy in" in event.message for event in self._events.values()) or any(
            "ELB health checks" in task.stopped_reason for task in self._tasks.values()
        )

    def _newest_events(self) -> list[Event]:
        # DescribeServices gives the newest first, but those of several polls must be put in order.
        order = {key: number for number, key in enumerate(self._events)}
        return sorted(
            self._events.values(),
            key=lambda event: (-(event.at.timestamp() if event.at else 0.0), order[event.id or event.message]),
        )

    def _rollout(self) -> str:
        mine = self._facts.deployment(self._deployment) if self._facts is not None else None
        if mine is None or mine.rollout_state != "IN_PROGRESS":
            return ""
        return (
            f"{len(self._failed())} tasks have failed, so this was given up; ECS's circuit breaker had not acted yet "
            f"(it counts {mine.failed_tasks})"
        )

    def _own_targets(self, failed: Sequence[TaskFacts]) -> tuple[TargetFacts, ...]:
        own = {task.address for task in failed if task.address}
        mine = tuple(one for one in self._targets.values() if one.address in own)
        return mine or tuple(self._targets.values())

    def _log(self, failed: Sequence[TaskFacts]) -> Log | None:
        """Return the last lines of the newest failed task that left any; where none has failed, of a running one."""
        if self._client is None:
            return None
        tasks = list(reversed(failed))
        if not tasks:
            with self._reading("the running tasks"):
                running = read_tasks(self._ecs, self._cluster, self._service, "RUNNING")
                tasks = [task for task in running if task.started_by == self._deployment]
        with self._reading("the log"):
            for task in tasks[:_TASKS_WITH_LOGS]:
                for group, stream in self._streams(task):
                    lines = self._lines(group, stream)
                    if lines:
                        return Log(f"{group} {stream}", lines)
        return None

    def _streams(self, task: TaskFacts) -> list[tuple[str, str]]:
        """Return the log groups and streams of a task's containers, those that ended with a failure first."""
        places = log_places(self._service, self._definition(task.task_definition))
        return [
            (place.group, place.stream_prefix + task.id)
            for place in sorted(places, key=lambda one: not task.exit_codes.get(one.stream_prefix.split("/")[-2]))
        ]

    def _definition(self, arn: str) -> Mapping[str, Any]:
        if arn not in self._definitions:
            answer = self._ecs.describe_task_definition(taskDefinition=arn)
            require(answer, "DescribeTaskDefinition", "taskDefinition")
            self._definitions[arn] = answer["taskDefinition"]
        return self._definitions[arn]

    def _lines(self, group: str, stream: str) -> tuple[str, ...]:
        assert self._client is not None
        logs = self._client("logs")
        try:
            answer = logs.get_log_events(
                logGroupName=group, logStreamName=stream, limit=_LOG_LINES, startFromHead=False
            )
        except logs.exceptions.ResourceNotFoundException:
            # A container that never started has no stream.
            return ()
        events = answer.get("events", ())
        return tuple(masked_line(str(event.get("message", ""))) for event in events)[-_LOG_LINES:]

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Evidence is for people: that a part of it cannot be had must not end what it is about.
            if (known := as_gli_error(error)) is None:
                raise
            self._unread.setdefault(f"{what}: {known.what}")


def _target_facts(description: Mapping[str, Any]) -> TargetFacts:
    target, health = description.get("Target") or {}, description.get("TargetHealth") or {}
    return TargetFacts(
        str(target.get("Id", "")),
        int(target.get("Port") or 0),
        str(health.get("State", "")),
        str(health.get("Reason", "")),
        str(health.get("Description", "")),
    )
