"""Diagnose a failing rollout: what was seen in, a cause and a next step out. Pure, like a plan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from gli_tasks.ecs.causes import CAUSES, Cause, Fault, Sign
from gli_tasks.ecs.plan import Balanced, Diagnosis, ServiceFacts, TaskFacts, stop_sentences

_LOG_LINES = 10
_EVENTS = 5
_LONGEST_WORDS = 300
# Events that every rollout has, a good one too (page "Amazon ECS service event messages").
_ROUTINE = re.compile(
    r"has (started|stopped) \d+|registered \d+ targets|deregistered \d+ targets|has begun draining|"
    r"has reached a steady state|deployment completed|AZ balanced|AZ rebalanc",
    re.IGNORECASE,
)
_STARTED = re.compile(r"has started (\d+) tasks")
_TARGET_REASON = re.compile(r"is unhealthy in \(?target-group.*due to \(reason (?P<reason>.*)\)", re.IGNORECASE)
_TARGET_PORT = re.compile(r"\(port (\d+)\) is unhealthy")
# How servers say where they listen: "Listening at: http://0.0.0.0:8000", "listening on port 3000", "running on :8080".
_LISTENS = re.compile(
    r"(?:listen|serving|running|started|ready|bound|accepting)[^\n]{0,80}?(?:port[ =:]+|:)(?P<port>\d{2,5})\b",
    re.IGNORECASE,
)
# Where others listen: "ready redis://cache:6379", "started with db:5432"; not "http://0.0.0.0:3000", "localhost:3000".
_ELSEWHERE = re.compile(
    r"(?!(?:https?|wss?|tcp|grpc)://(?:0\.0\.0\.0|127\.[\d.]+|localhost|\*|\[[0-9a-f:]*\]):)\b[a-z][a-z\d+.-]*://[^\s,;]+|"
    r"(?<![\w./-])(?!(?:localhost|port|at|on|listening|listens|serving|running|started|ready):)[a-z_][\w.-]*:\d{2,5}\b",
    re.IGNORECASE,
)
_OPEN = re.compile(r"listen|serving|running on|ready to|accepting|startup complete", re.IGNORECASE)
# What tells two stops apart though they have the same reason: ids, digests, addresses, times.
_INCIDENTAL = re.compile(r"[0-9a-f]{8,}|\d+(\.\d+)*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """A target's health, as describe_target_health shows it."""

    address: str
    port: int
    state: str
    reason: str
    description: str

    @property
    def sentence(self) -> str:
        """Return the health in one line."""
        details = ", ".join(filter(None, (self.reason, self.description)))
        return f"target {self.address}:{self.port} {self.state}" + (f": {details}" if details else "")


@dataclass(frozen=True, slots=True)
class Log:
    """The last lines of one container's log stream, secrets masked."""

    stream: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Symptoms:
    """All that was seen of a failing deployment.

    ``stopped`` are its own tasks that did not stop in the course of scaling, ``events`` those since it began, the
    newest first, ``rollout`` what AWS or the follower says of it, ``unread`` what could not be read and why.
    """

    stopped: tuple[TaskFacts, ...] = ()
    log: Log | None = None
    targets: tuple[TargetFacts, ...] = ()
    events: tuple[str, ...] = ()
    rollout: str = ""
    balanced: tuple[Balanced, ...] = ()
    grace_s: int = 0
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """A cause that fits, and the words that fill its sentence."""

    cause: Cause
    words: Mapping[str, str]


def diagnose(symptoms: Symptoms) -> Diagnosis:
    """Say why a rollout fails, and what to do next.

    The stopped tasks speak first, those most numerous and of our own fault before others; then events, then targets.
    Where several causes fit, the most specific wins; where none does, the raw reasons are the cause, in order.
    """
    evidence = _evidence(symptoms)
    found = _find(symptoms)
    if found is None:
        return Diagnosis(
            _raw(symptoms),
            "see the service's tasks and events in the AWS console; AWS keeps stopped tasks for about an hour",
            evidence,
        )
    return Diagnosis(_filled(found.cause.sentence, found.words), _filled(found.cause.next_step, found.words), evidence)


def repeated_failure(symptoms: Symptoms, times: int) -> tuple[TaskFacts, ...]:
    """Return the tasks that stopped by the same fault of their own, where there are at least ``times`` of them.

    What AWS, the network or a person did to a task is no fault of its own, nor is what nobody knows; and one stray
    crash is no repetition. ``times`` 0 means never.
    """
    if times <= 0:
        return ()
    groups = [tasks for tasks in _groups(symptoms.stopped) if len(tasks) >= times and _own_fault(tasks, symptoms)]
    return max(groups, key=len, default=())


def enough_to_give_up(desired: int) -> int:
    """Return how many tasks of a service must stop by the same fault of their own before it is taken for the version's.

    Two of two are no accident; two of a hundred may be. One in ten of the desired count, at least 2 and at most 10.
    """
    return min(10, max(2, -(-desired // 10)))


def is_failure(task: TaskFacts) -> bool:
    """Tell whether a task's stop says anything on a failure: the scheduler's own scaling does not."""
    return bool(task.stopped_reason or task.stop_code) and not task.stopped_reason.startswith("Scaling activity")


def is_trouble(before: ServiceFacts | None, now: ServiceFacts, deployment_id: str) -> bool:
    """Tell whether a service shows more than a healthy rollout does, so that its stopped tasks are worth a look.

    A rising failedTasks is the plain sign, but counts only tasks that never ran (API reference, Deployment). A task
    that crashes later shows by fewer running ones, by more tasks started than are wanted, and by events out of the
    routine.
    """
    mine = now.deployment(deployment_id)
    if mine is None:
        return True
    earlier = before.deployment(deployment_id) if before is not None else None
    known = {event.id for event in before.history} if before is not None else set()
    new = [event for event in now.history if event.id not in known and _since(event.at, mine.created_at)]
    if any(not _ROUTINE.search(event.message) for event in new):
        return True
    if earlier is not None and (mine.failed_tasks > earlier.failed_tasks or mine.running < earlier.running):
        return True
    if earlier is None and mine.failed_tasks:
        return True
    return bool(new) and _started(now, deployment_id) > max(mine.desired, mine.running + mine.pending)


def worth_telling(events: Iterable[str]) -> tuple[str, ...]:
    """Return the events that are out of the routine."""
    return tuple(event for event in events if not _ROUTINE.search(event))


def _since(at: object, begun: object) -> bool:
    return at is None or begun is None or at >= begun  # type: ignore[operator]


def _started(service: ServiceFacts, deployment_id: str) -> int:
    mine = service.deployment(deployment_id)
    begun = mine.created_at if mine is not None else None
    found = [_STARTED.search(event.message) for event in service.history if _since(event.at, begun)]
    return sum(int(one.group(1)) for one in found if one is not None)


def _find(symptoms: Symptoms) -> _Found | None:
    groups = sorted(_groups(symptoms.stopped), key=lambda tasks: (not _own_fault(tasks, symptoms), -len(tasks)))
    events = "\n".join(symptoms.events)
    rollout = f"{symptoms.rollout}\n{events}"
    for general in (False, True):
        for tasks in groups:
            if found := _first(_task_text(tasks), symptoms, tasks, general=general):
                return found
        if found := _first(rollout if general else events, symptoms, (), general=general):
            return found
        if not general and (found := _by_targets(symptoms)):
            return found
    return None


def _by_targets(symptoms: Symptoms) -> _Found | None:
    """Return what the targets alone tell, before ECS stopped any task for it."""
    unhealthy = [one for one in symptoms.targets if one.state not in ("healthy", "initial", "draining")]
    if not unhealthy:
        return None
    return _first("is unhealthy in (target-group", symptoms, (), general=False)


def _first(text: str, symptoms: Symptoms, tasks: Sequence[TaskFacts], *, general: bool) -> _Found | None:
    for cause in CAUSES:
        if cause.general is general and (words := _fits(cause, text, symptoms, tasks)) is not None:
            return _Found(cause, words)
    return None


def _fits(cause: Cause, text: str, symptoms: Symptoms, tasks: Sequence[TaskFacts]) -> dict[str, str] | None:
    """Return the words that fill the cause's sentence, where all of its signs hold; None where one does not."""
    said = _search(cause.text, text)
    if said is None and any(map(_ended_itself, tasks)):
        said = _search(cause.log, _log_text(symptoms))
    of_targets = _search(cause.target, _target_text(symptoms)) if cause.target else {}
    if said is None or of_targets is None:
        return None
    port, listens = _port(symptoms), _listens(symptoms)
    if cause.sign is Sign.OTHER_PORT and (not listens or not port or port in listens):
        return None
    if cause.sign is Sign.STILL_STARTING and not _still_starting(symptoms):
        return None
    exited = _exited(tasks)
    return {
        "role": "that is named below",
        "status": "another status than expected",
        **said,
        **of_targets,
        "exited": f": {exited}" if exited else "",
        "line": _last_line(symptoms),
        "port": port or "of the target group",
        "listens": listens[-1] if listens else "",
        "grace": str(symptoms.grace_s),
    }


def _search(pattern: str, text: str) -> dict[str, str] | None:
    """Return the pattern's named groups where it is found; None where it is not, or there is no pattern."""
    found = _compiled(pattern).search(text) if pattern else None
    return {key: value for key, value in found.groupdict().items() if value} if found is not None else None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


def _filled(sentence: str, words: Mapping[str, str]) -> str:
    for key, value in words.items():
        sentence = sentence.replace("{" + key + "}", value[: _LONGEST_WORDS + 40])
    return sentence


def _groups(stopped: Iterable[TaskFacts]) -> list[tuple[TaskFacts, ...]]:
    """Return the tasks that failed, those of the same reason together, in the order in which reasons appeared."""
    groups: dict[tuple[str, str, tuple[tuple[str, int], ...]], list[TaskFacts]] = {}
    for task in stopped:
        if not is_failure(task):
            continue
        reason = _INCIDENTAL.sub("#", " ".join((task.stopped_reason, *sorted(task.reasons))))
        # What a container exits with once ECS stops it says nothing on why it was stopped.
        codes = tuple(sorted(task.exit_codes.items())) if _ended_itself(task) else ()
        groups.setdefault((task.stop_code, reason, codes), []).append(task)
    return [tuple(tasks) for tasks in groups.values()]


def _own_fault(tasks: Sequence[TaskFacts], symptoms: Symptoms) -> bool:
    found = _first(_task_text(tasks), symptoms, tasks, general=False)
    if found is not None:
        return found.cause.fault is Fault.OURS
    # A task that did not get as far as its containers, for a reason that nobody knows, may well start the next time.
    return all(task.stop_code in ("", "EssentialContainerExited") for task in tasks)


def _ended_itself(task: TaskFacts) -> bool:
    return task.stop_code == "EssentialContainerExited" or "essential container" in task.stopped_reason.lower()


def _exited(tasks: Sequence[TaskFacts]) -> str:
    """Say which containers ended, with what; of those that ECS stopped beside them, nothing."""
    pairs = {pair for task in tasks if _ended_itself(task) for pair in task.exit_codes.items()}
    # Beside the container that crashed, others end as ECS stops them: with 0, 137 (SIGKILL) or 143 (SIGTERM).
    telling = {pair for pair in pairs if pair[1] not in (0, 137, 143)} or {pair for pair in pairs if pair[1]} or pairs
    return ", ".join(f"{name} exited with {code}" for name, code in sorted(telling))


def _task_text(tasks: Sequence[TaskFacts]) -> str:
    lines = [line for task in tasks for line in (f"{task.stop_code}: {task.stopped_reason}", *task.reasons)]
    return "\n".join(dict.fromkeys(" ".join(line.split()) for line in [*lines, _exited(tasks)]))


def _target_text(symptoms: Symptoms) -> str:
    ill = [one for one in symptoms.targets if one.state not in ("healthy", "draining")]
    reasons = [f"{one.reason} {one.description}" for one in ill]
    reasons += [found["reason"] for found in map(_TARGET_REASON.search, symptoms.events) if found]
    return "\n".join([*reasons, *(event for event in symptoms.events if "associated load balancer" in event)])


def _log_text(symptoms: Symptoms) -> str:
    return "\n".join(symptoms.log.lines) if symptoms.log is not None else ""


def _last_line(symptoms: Symptoms) -> str:
    lines = [line.strip() for line in symptoms.log.lines if line.strip()] if symptoms.log is not None else []
    return f'; its log ends with "{lines[-1][:_LONGEST_WORDS]}"' if lines else ""


def _port(symptoms: Symptoms) -> str:
    named = [found.group(1) for found in map(_TARGET_PORT.search, symptoms.events) if found]
    ports = named or [str(one.port) for one in symptoms.balanced] or [str(one.port) for one in symptoms.targets]
    return ports[0] if ports else ""


def _listens(symptoms: Symptoms) -> list[str]:
    log = _ELSEWHERE.sub("", _log_text(symptoms))
    return [found["port"] for found in _LISTENS.finditer(log) if int(found["port"]) >= 80]


def _still_starting(symptoms: Symptoms) -> bool:
    log = _log_text(symptoms)
    if not symptoms.grace_s or not log.strip() or _OPEN.search(log):
        return False
    # A task that lived far longer than its grace period had time enough.
    lives = [
        (task.stopping_at - task.started_at).total_seconds()
        for task in symptoms.stopped
        if task.started_at is not None and task.stopping_at is not None
    ]
    return all(life <= 2 * symptoms.grace_s + 60 for life in lives)


def _raw(symptoms: Symptoms) -> str:
    reasons = _reasons(symptoms)
    said = "; ".join(filter(None, (*reasons, *worth_telling(symptoms.events)[:_EVENTS])))
    if said:
        return f"no cause that this tool knows; AWS says: {said}"
    stands = f", and the rollout stands at: {symptoms.rollout}" if symptoms.rollout else ""
    return f"AWS gives no reason: no task of the deployment has failed, no event is out of the routine{stands}"


def _reasons(symptoms: Symptoms) -> tuple[str, ...]:
    # The exit code of a container that ECS stopped is ECS's doing, and comes later than the reason.
    failed = [task for task in symptoms.stopped if is_failure(task)]
    return stop_sentences([task if _ended_itself(task) else replace(task, exit_codes={}) for task in failed])


def _evidence(symptoms: Symptoms) -> tuple[str, ...]:
    lines = [f"stopped: {reason}" for reason in _reasons(symptoms)]
    if symptoms.rollout:
        lines.append(f"rollout: {symptoms.rollout}")
    lines += [one.sentence for one in symptoms.targets if one.state != "healthy"][:_EVENTS]
    if symptoms.log is not None and symptoms.log.lines:
        lines.append(f"log {symptoms.log.stream}:")
        lines += [f"  | {line}" for line in symptoms.log.lines[-_LOG_LINES:]]
    # Where nothing else is known, what ECS does as ever says at least how far it came.
    events = tuple(dict.fromkeys(worth_telling(symptoms.events))) or (() if symptoms.stopped else symptoms.events)
    lines += [f"event: {event}" for event in events[:_EVENTS]]
    lines += [f"not read: {line}" for line in symptoms.unread]
    return tuple(lines)
