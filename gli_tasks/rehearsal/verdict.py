"""What a rehearsal came to: the promise, held against what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gli_tasks.rehearsal.faults.fault import Kept, Promise, Serving


@dataclass(frozen=True, slots=True)
class StepTime:
    """A step of the release: its name, the seconds it took and how it ended."""

    name: str
    seconds: float
    outcome: str


@dataclass(frozen=True, slots=True)
class WebSocketTraffic:
    """What the generator's WebSocket connections saw. ``cut`` ended without a close frame, as a balancer ends
    those that are
    still open when a target's deregistration delay is over; a client then connects again."""

    opened: int
    failed_to_open: int
    closed_in_order: int
    cut: int
    echoed: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the load generator saw. Times in milliseconds, from the moment a request was due."""

    served: int
    failed: int
    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    by_version: Mapping[str, int]
    failed_by_version: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    websocket: WebSocketTraffic | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The release's record, as the state bucket holds it in the end; ``id`` is empty where it holds none.

    ``tries`` counts the tries of each call that changed something, by ``service.Operation``. ``task_definitions`` are
    the services' new ones.
    """

    id: str = ""
    outcome: str = ""
    steps: Mapping[str, str] = field(default_factory=dict)
    serving: tuple[str, ...] = ()
    tries: Mapping[str, int] = field(default_factory=dict)
    task_definitions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a rehearsal ended. ``broken`` holds a sentence for each promise that was not kept; none is the good end.

    ``fault_met`` counts what met the fault, where somebody counts it. ``calls`` are those that changed something in the
    twin while the release ran. ``serving`` tells, by service, whether the old or the new task definition runs whole.
    """

    project: str
    environment: str
    engine: str
    fault: str
    promise: str
    release_exit_code: int
    version_before: str
    version_new: str
    version_after: str
    serving: Mapping[str, str]
    requests_served: int
    requests_failed: int
    steps: tuple[StepTime, ...]
    record: str
    outcome: str
    cause: str
    fault_met: int | None
    calls: Mapping[str, int]
    recorded: Recorded
    current: str
    lock_left: bool
    seconds: float
    release_seconds: float
    traffic: Traffic
    said: str = ""
    broken: tuple[str, ...] = field(default=())

    @property
    def kept(self) -> bool:
        """Tell whether everything ended as promised."""
        return not self.broken


def recorded_from(record: Mapping[str, Any] | None) -> Recorded:
    """Return what a record in the state bucket says; nothing of it where there is none."""
    if record is None:
        return Recorded()
    tries: dict[str, int] = {}
    for call in record.get("calls", ()):
        name = f"{call['service']}.{call['operation']}"
        tries[name] = tries.get(name, 0) + int(call["attempts"])
    return Recorded(
        id=str(record["id"]),
        outcome=str(record["outcome"]),
        steps={step["name"]: step["outcome"] for step in record.get("steps", ())},
        serving=tuple((record.get("failure") or {}).get("serving", ())),
        tries=tries,
        task_definitions={
            name: str(one["task_definition"])
            for name, one in record.get("services", {}).items()
            if one.get("task_definition")
        },
    )


def broken_promises(
    promise: Promise, verdict: Verdict, left_over: tuple[str, ...] = (), *, time_scale: float = 1.0
) -> tuple[str, ...]:
    """Return a sentence for each promise that was not kept."""
    found = []
    if verdict.release_exit_code != promise.exit_code:
        found.append(f"the release ended with exit code {verdict.release_exit_code}, not {promise.exit_code}")
    wanted = verdict.version_before if promise.serving is Serving.OLD else verdict.version_new
    if verdict.version_after != wanted:
        found.append(f"version {verdict.version_after or 'none'} serves, not {wanted} alone")
    found += [
        f"{name} runs {runs}, not the {promise.serving} task definition alone"
        for name, runs in verdict.serving.items()
        if runs != promise.serving
    ]
    found += [
        f"the cause does not speak of {word!r}: {verdict.cause or 'none was named'}"
        for word in promise.cause
        if word.lower() not in verdict.cause.lower()
    ]
    found += [f"nobody was told {word!r}" for word in promise.told if word.lower() not in verdict.said.lower()]
    if "Traceback" in verdict.said:
        found.append("the release ended with a traceback")
    if verdict.fault_met == 0:
        found.append("nothing met the fault, so nothing was proven")
    if verdict.lock_left != promise.lock_left:
        found.append(f"the lock was {'left held' if verdict.lock_left else 'given back, which cannot be'}")
    found += _untrue_records(promise, verdict)
    found += _failed_requests(promise, verdict, time_scale)
    found.extend(f"left behind: {one}" for one in left_over)
    return tuple(found)


def _untrue_records(promise: Promise, verdict: Verdict) -> list[str]:
    """Return where the record in the state bucket is not what happened."""
    recorded, found = verdict.recorded, []
    names_it = bool(recorded.id) and verdict.current == recorded.id
    if names_it != (promise.exit_code == 0):
        found.append(f"current.json {'names' if names_it else 'does not name'} this release")
    if promise.kept is Kept.NOTHING:
        return [*found, f"there is a record that says {recorded.outcome}"] if recorded.id else found
    wanted = promise.outcome if promise.kept is Kept.ENDED else "running"
    if recorded.outcome != wanted:
        return [*found, f"the record says {recorded.outcome or 'nothing'}, not {wanted}"]
    if promise.kept is Kept.UNENDED:
        # What could not be written is at least said.
        return found if verdict.outcome == promise.outcome else [*found, "the release did not print its record"]
    if verdict.outcome != recorded.outcome:
        found.append(f"the release printed {verdict.outcome or 'nothing'}, and its record says {recorded.outcome}")
    found += [f"the record leaves step {name} {how}" for name, how in recorded.steps.items() if how == "running"]
    if promise.exit_code == 0:
        found += [f"the record says that step {name} {how}" for name, how in recorded.steps.items() if how != "done"]
    elif recorded.steps.get("ecs.update") not in (None, "undone", "failed"):
        found.append(f"the record says that ecs.update was {recorded.steps['ecs.update']}, and the old version serves")
    if recorded.steps.get("ecs.update") == "undone" and not recorded.serving:
        found.append("the record does not say what serves")
    for call, count in verdict.calls.items():
        if not call.startswith("s3.") and recorded.tries.get(call, 0) < count:
            found.append(f"{call} was carried out {count} times, and the record knows {recorded.tries.get(call, 0)}")
    return found


def _failed_requests(promise: Promise, verdict: Verdict, time_scale: float) -> list[str]:
    """Return what failed beyond the fault's own requests."""
    traffic, found = verdict.traffic, []
    asked = verdict.requests_served + verdict.requests_failed
    own = {"": set(), "new": {verdict.version_new}, "none": {"unknown"}}[promise.own.versions]
    beyond = {version: count for version, count in traffic.failed_by_version.items() if count and version not in own}
    if beyond:
        whose = ", ".join(f"{count} of {version}" for version, count in beyond.items())
        found.append(f"{sum(beyond.values())} of {asked} requests failed beyond the fault's own: {whose}")
    most = int(promise.own.seconds * time_scale * traffic.rate)
    if own and verdict.requests_failed > most:
        found.append(f"{verdict.requests_failed} of {asked} requests failed, and the fault's own are at most {most}")
    if not verdict.requests_served:
        found.append("no request was served, so nothing was proven")
    websocket = traffic.websocket
    if websocket is not None and websocket.failed_to_open and not own:
        found.append(f"{websocket.failed_to_open} WebSocket connections could not be opened")
    if websocket is not None and not websocket.echoed:
        found.append("no WebSocket message was echoed, so nothing was proven")
    return found
