"""Run a one-off task where a service's own tasks run: followed to its end, its lines as they come, its exit code."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gli_tasks.aws import as_gli_error, error_code
from gli_tasks.console import masked
from gli_tasks.ecs.definition import current
from gli_tasks.ecs.diagnose import Log, Symptoms, diagnose
from gli_tasks.ecs.difference import is_secret, without_secrets
from gli_tasks.ecs.logs import LogPlace, LogReader, log_places
from gli_tasks.ecs.plain_secrets import secret_in_text
from gli_tasks.ecs.plan import TaskFacts, stop_sentences, task_facts
from gli_tasks.errors import AwsCallFailed, CommandFailed, GliError, Interrupted, Refused, UsageError

_TAIL = 20
# DescribeTasks may not know a task yet that RunTask has just answered with (both are eventually consistent).
_LOOKS_UNTIL_KNOWN = 10
# How often in a row AWS may fail to answer, each time after the SDK's own retries, before the task is given up on.
_BLIND_LOOKS = 5
# The last lines may reach CloudWatch Logs a little after the task has stopped.
_LAST_LOOKS = 3
# SIGTERM, Fargate's longest stop timeout, SIGKILL, and the network's end.
_STOP_S = 150.0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how tasks of a service run: what RunTask wants to know of it."""

    cluster: str
    task_definition: str
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OneOff:
    """A one-off task that ended. ``exit_code`` is None where its container never started; ``next_step`` says what to do
    about a failure, and is empty for exit code 0."""

    task: str
    exit_code: int | None
    reason: str
    log_tail: tuple[str, ...]
    seconds: float
    next_step: str = ""


def placement_of(ecs: Any, cluster: str, service: str) -> Placement:
    """Return where a service's tasks run, and the task definition that serves: of the newest completed deployment.

    Raises UsageError where there is no such service.
    """
    from gli_tasks.ecs.services import read_services, serving_definition

    facts = read_services(ecs, cluster, [service])[service]
    description = ecs.describe_services(cluster=cluster, services=[service])["services"][0]
    request = {key: description[key] for key in ("networkConfiguration", "platformVersion") if description.get(key)}
    # One excludes the other (API reference, RunTask).
    if description.get("capacityProviderStrategy"):
        request["capacityProviderStrategy"] = description["capacityProviderStrategy"]
    elif description.get("launchType"):
        request["launchType"] = description["launchType"]
    return Placement(cluster, serving_definition(facts), request)


def require_no_secrets(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Refuse what looks like a secret: a task's overrides are shown to everyone who may describe it. Raises Refused."""
    found = [
        f"the variable {key}"
        for key, value in environment.items()
        if is_secret(key, value) or without_secrets(value) != value
    ]
    # A flag and the value after it are two words.
    text = " ".join(command)
    if without_secrets(text) != text or secret_in_text(text) or any(map(_names_secret, command, command[1:])):
        found.append("the command")
    if found:
        raise Refused(
            f"what looks like a secret stands in {', '.join(dict.fromkeys(found))}; all who may see tasks can read it",
            remedy="let the task definition's secrets bring it into the environment, and read it there",
        )


def _names_secret(flag: str, value: str) -> bool:
    return flag.startswith("-") and "=" not in flag and masked({flag: value})[flag] != value


def run_once(
    ecs: Any,
    logs: Any,
    placement: Placement,
    *,
    container: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    timeout_s: float,
    poll_s: float,
    on_line: Callable[[str], None],
    cpu: str = "",
    memory: str = "",
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> OneOff:
    """Run one task of the placement's task definition to its end, and return how it ended; no exit code is an error.

    ``command`` (empty: the image's own) and ``environment`` are given to the named container, ``cpu`` and ``memory`` to
    the task. ``on_line`` gets each line of that container's log as it comes. The task is stopped when ``timeout_s`` is
    over, on Ctrl-C, and when ``stop`` says so. RunTask carries a client token, so a lost answer starts nothing twice.
    Raises Refused for secrets in the open, UsageError for a container that is not there, AwsCallFailed where nothing
    was started, CommandFailed when the time is over, Interrupted when it was stopped.
    """
    require_no_secrets(command, environment)
    definition = current(ecs, placement.task_definition)
    names = [str(one["name"]) for one in (definition or {}).get("containerDefinitions", ())]
    if container not in names:
        raise UsageError(
            f"the task definition {placement.task_definition!r} has no container {container!r}",
            remedy=f"its containers: {', '.join(names) or 'none'}",
        )
    began = clock()
    override: dict[str, Any] = {"name": container}
    if command:
        override["command"] = list(command)
    if environment:
        override["environment"] = [{"name": key, "value": value} for key, value in environment.items()]
    sizes = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    run = _Run(ecs, placement, {"containerOverrides": [override], **sizes}, clock, sleep, poll_s)
    try:
        run.start()
        places = [
            one for one in log_places(container, definition or {}) if one.stream_prefix.endswith(f"/{container}/")
        ]
        lines = _Lines(logs, places, run.id, on_line)
        facts = run.follow(began + timeout_s, lines, stop)
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(f"stopped by Ctrl-C; {run.stop('stopped by a person')}") from None
    if facts is None:
        said = run.stop(f"did not end within {timeout_s:g} s")
        lines.read()
        raise CommandFailed(
            f"task {run.id} did not end within {timeout_s:g} s; {said}{_tail(lines.tail)}",
            returncode=1,
            remedy="allow it more time with --timeout, or see why it hangs",
        )
    for look in range(_LAST_LOOKS):
        if not lines.read() and look:
            break
        sleep(min(poll_s, 1.0))
    exit_code = facts.exit_codes.get(container)
    tail = tuple(lines.tail)
    step = "" if exit_code == 0 else diagnose(Symptoms(stopped=(facts,), log=Log(container, tail))).next_step
    return OneOff(run.id, exit_code, "; ".join(stop_sentences([facts])), tail, clock() - began, step)


def require_success(one_off: OneOff) -> None:
    """Raise CommandFailed, with exit code, stop reason and last lines, unless a one-off task ended with exit code 0."""
    if one_off.exit_code == 0:
        return
    how = "never started" if one_off.exit_code is None else f"ended with exit code {one_off.exit_code}"
    raise CommandFailed(
        f"task {one_off.task} {how}: {one_off.reason or 'no reason was given'}{_tail(one_off.log_tail)}",
        returncode=1 if one_off.exit_code is None else one_off.exit_code,
        remedy=one_off.next_step,
    )


def _tail(lines: Sequence[str]) -> str:
    return "; its last lines:\n" + "\n".join(f"    {line}" for line in lines) if lines else "; it left no lines"


class _Lines:
    """The task's own lines, handed on as they come; a log that cannot be read is said once, and stops nothing."""

    def __init__(self, logs: Any, places: Sequence[LogPlace], task: str, on_line: Callable[[str], None]) -> None:
        self._readers = [LogReader(logs, place, 0, task=task) for place in places]
        self._on_line = on_line
        self._said = False
        self.tail: deque[str] = deque(maxlen=_TAIL)

    def read(self) -> int:
        """Hand on what is new; return how many lines that were."""
        count = 0
        for reader in self._readers:
            try:
                lines = reader.read()
            except Exception as error:
                if (known := as_gli_error(error)) is None:
                    raise
                if not self._said:
                    self._on_line(f"(its log cannot be read: {known.what})")
                self._said = True
                continue
            for line in lines:
                self.tail.append(line.text)
                self._on_line(line.text)
            count += len(lines)
        return count


class _Run:
    """One task, from RunTask to STOPPED."""

    def __init__(
        self,
        ecs: Any,
        placement: Placement,
        overrides: Mapping[str, Any],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        poll_s: float,
    ) -> None:
        self._ecs, self._placement, self._overrides = ecs, placement, overrides
        self._clock, self._sleep, self._poll_s = clock, sleep, poll_s
        self._token = uuid.uuid4().hex
        self._arn = ""

    @property
    def id(self) -> str:
        """Return the task's id; empty before it is known."""
        return self._arn.rsplit("/", 1)[-1]

    def start(self) -> None:
        """Start the task. Raises AwsCallFailed where ECS answers that it started none."""
        try:
            answer = self._ecs.run_task(
                cluster=self._placement.cluster,
                taskDefinition=self._placement.task_definition,
                overrides=dict(self._overrides),
                clientToken=self._token,
                startedBy=self._started_by,
                count=1,
                **self._placement.request,
            )
        except Exception as error:
            # All attempts carried the same token; whether one of them arrived can be seen by who started it.
            if not _answer_lost(error) or not self._find():
                raise
            return
        if not answer["tasks"]:
            reasons = ", ".join(str(one.get("reason", "")) for one in answer.get("failures", ())) or "no reason given"
            raise AwsCallFailed(
                f"ECS started no task: {reasons}", remedy="check the network configuration and quotas, then start again"
            )
        self._arn = str(answer["tasks"][0]["taskArn"])

    @property
    def _started_by(self) -> str:
        return f"one-off-{self._token[:20]}"

    def _find(self) -> bool:
        for status in ("RUNNING", "STOPPED"):
            answer = self._ecs.list_tasks(
                cluster=self._placement.cluster, startedBy=self._started_by, desiredStatus=status
            )
            if answer["taskArns"]:
                self._arn = str(answer["taskArns"][0])
                return True
        return False

    def follow(self, deadline: float, lines: _Lines, stop: Callable[[], bool]) -> TaskFacts | None:
        """Follow the task until it has stopped; None says that the deadline came first. Raises Interrupted."""
        unknown = blind = 0
        while True:
            lines.read()
            try:
                found = self._look()
                blind = 0
            except Exception as error:
                if (known := as_gli_error(error)) is None:
                    raise
                found, blind = None, blind + 1
                if blind >= _BLIND_LOOKS:
                    raise self._lost(known) from None
            else:
                unknown += found is None
                if unknown > _LOOKS_UNTIL_KNOWN:
                    raise self._lost(AwsCallFailed("ECS does not know it"))
            if found is not None and found.last_status == "STOPPED":
                return found
            if stop():
                raise Interrupted("stopped by Ctrl-C")
            if self._clock() >= deadline:
                return None
            self._sleep(self._poll_s)

    def _look(self) -> TaskFacts | None:
        tasks = self._ecs.describe_tasks(cluster=self._placement.cluster, tasks=[self._arn])["tasks"]
        return task_facts(tasks[0]) if tasks else None

    def _lost(self, error: GliError) -> AwsCallFailed:
        return AwsCallFailed(
            f"task {self.id} cannot be followed any further, and may run on: {error.what}",
            remedy=f"see how it ends: `aws ecs describe-tasks --cluster {self._placement.cluster} --tasks {self.id}`",
        )

    def stop(self, reason: str) -> str:
        """Stop the task and return a sentence on what a read says of it. Raises AwsCallFailed where it may run on."""
        try:
            if not self._arn and not self._find():
                return "no task was started"
            self._ecs.stop_task(cluster=self._placement.cluster, task=self._arn, reason=reason)
            deadline = self._clock() + _STOP_S
            while self._clock() < deadline:
                found = self._look()
                if found is not None and found.last_status == "STOPPED":
                    return f"task {self.id} was stopped"
                self._sleep(self._poll_s)
        except KeyboardInterrupt:
            return f"task {self.id} was told to stop, and is not seen to have done so"
        except Exception as error:
            if (known := as_gli_error(error)) is None:
                raise
            raise AwsCallFailed(
                f"task {self.id} could not be stopped, and may run on: {known.what}",
                remedy=f"stop it: `aws ecs stop-task --cluster {self._placement.cluster} --task {self.id}`",
            ) from None
        return f"task {self.id} was told to stop, and has not done so within {_STOP_S:g} s"


def _answer_lost(error: Exception) -> bool:
    """Tell whether a call may have been carried out though no answer, or only a failure of AWS itself, came back."""
    known = as_gli_error(error)
    status = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return known is not None and (status >= 500 or not error_code(error))
