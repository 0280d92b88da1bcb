"""Change how many tasks a service runs, with respect for Application Auto Scaling."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gli_tasks.ecs.plan import ServiceFacts, stop_sentences
from gli_tasks.ecs.services import read_services, read_tasks
from gli_tasks.errors import Refused, RolloutFailed, UsageError

_DIMENSION = "ecs:service:DesiredCount"


@dataclass(frozen=True, slots=True)
class Range:
    """How many tasks Application Auto Scaling lets a service have."""

    low: int
    high: int


def read_range(scaling: Any, cluster: str, service: str) -> Range | None:
    """Return the range of a service's scalable target, or None where nothing scales it."""
    answer = scaling.describe_scalable_targets(
        ServiceNamespace="ecs", ResourceIds=[_resource(cluster, service)], ScalableDimension=_DIMENSION
    )
    targets = answer.get("ScalableTargets") or []
    return Range(int(targets[0]["MinCapacity"]), int(targets[0]["MaxCapacity"])) if targets else None


def require_within(count: int, scaled: Range | None) -> str:
    """Return a warning for a count that autoscaling may change, empty without autoscaling. Raises Refused outside of
    its range: it would move the count at its next look."""
    if scaled is None:
        return ""
    if not scaled.low <= count <= scaled.high:
        raise Refused(
            f"Application Auto Scaling holds the service between {scaled.low} and {scaled.high} tasks, and would not"
            f" leave it at {count}",
            remedy="change the range with --min and --max",
        )
    return f"Application Auto Scaling may move it again, between {scaled.low} and {scaled.high}"


def changed_range(scaled: Range | None, low: int | None, high: int | None) -> Range:
    """Return the range with its least or greatest changed. Raises UsageError where there is none, or none is left."""
    if scaled is None:
        raise UsageError("nothing scales this service, so it has no range", remedy="use --count")
    new = Range(scaled.low if low is None else low, scaled.high if high is None else high)
    if new.low > new.high:
        raise UsageError(f"a range from {new.low} to {new.high} is empty", remedy="check --min and --max")
    return new


def set_range(scaling: Any, cluster: str, service: str, new: Range) -> None:
    """Change the range of a service's scalable target, and believe it when it is read back. Raises RolloutFailed."""
    scaling.register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=_resource(cluster, service),
        ScalableDimension=_DIMENSION,
        MinCapacity=new.low,
        MaxCapacity=new.high,
    )
    found = read_range(scaling, cluster, service)
    if found != new:
        raise RolloutFailed(f"{service}'s range reads {found}, and not {new}", remedy="see it in the AWS console")


def set_count(ecs: Any, cluster: str, service: str, count: int) -> None:
    """Tell a service how many tasks to run; nothing else of it changes."""
    ecs.update_service(cluster=cluster, service=service, desiredCount=count)


def wait_scaled(
    ecs: Any,
    cluster: str,
    service: str,
    wanted: Range,
    *,
    timeout_s: float,
    poll_s: float,
    on_change: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Wait until a service runs as many tasks as it is meant to, a number within ``wanted``; return it.

    Raises RolloutFailed when ``timeout_s`` is over, with why tasks stopped, and when the number, once within, is moved
    away by someone else.
    """
    deadline = clock() + timeout_s
    said, was_within = "", False
    while True:
        facts = read_services(ecs, cluster, [service])[service]
        sentence = f"{facts.running}/{facts.desired} running" + (f", {facts.pending} starting" if facts.pending else "")
        if sentence != said:
            on_change(sentence)
            said = sentence
        # Until then the number may be an old one: what was just told may not be read yet.
        within = wanted.low <= facts.desired <= wanted.high
        if was_within and not within:
            raise RolloutFailed(
                f"{service} is meant to run {facts.desired} tasks by now: autoscaling or another person moved it",
                remedy="see who scales it, then start again",
            )
        was_within = within
        if within and facts.running == facts.desired and not facts.pending:
            return facts.desired
        if clock() >= deadline:
            raise RolloutFailed(_why(ecs, cluster, facts, timeout_s, sentence), remedy="see `invoke ecs.status`")
        sleep(poll_s)


def _why(ecs: Any, cluster: str, facts: ServiceFacts, timeout_s: float, sentence: str) -> str:
    reasons = stop_sentences(read_tasks(ecs, cluster, facts.name, "STOPPED"))
    lines = [f"    stopped: {one}" for one in reasons] + [f"    event: {one}" for one in facts.events[:5]]
    return "\n".join((f"{facts.name} did not get there within {timeout_s:g} s ({sentence})", *lines))


def _resource(cluster: str, service: str) -> str:
    return f"service/{cluster.rsplit('/', 1)[-1]}/{service}"
