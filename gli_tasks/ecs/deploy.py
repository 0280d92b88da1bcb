"""Start a rollout, follow it by its own deployment id, and put the old version back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gli_tasks.aws import as_gli_error
from gli_tasks.ecs.evidence import Client, Witness
from gli_tasks.ecs.following import Following, OnChange
from gli_tasks.ecs.plan import Diagnosis, Judgement, Progress, ServiceFacts, service_facts, wrong_digests
from gli_tasks.ecs.services import is_passing, patiently, read_services, read_tasks, side_by_side
from gli_tasks.errors import NotRestored, RolloutFailed

_RESTORE_ROUNDS = 3
# How long polls and proofs may fail in passing before the release does.
TOLERATE_S = 60.0


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
    after = _as_updated(ecs, cluster, before.name, answer)
    if after.primary is None or after.primary.task_definition != task_definition:
        raise RolloutFailed(f"{before.name} did not take {task_definition}", remedy="see `invoke ecs.status`")
    return Started(before.name, after.primary.id, task_definition, before.task_definition)


def _as_updated(ecs: Any, cluster: str, name: str, answer: Mapping[str, Any]) -> ServiceFacts:
    """Return the service as UpdateService shows it, or as it is read where that answer has holes.

    An answer with holes does not say whether the call was carried out; the service does.
    """
    described = answer.get("service") or {}
    if "serviceName" in described and described.get("deployments"):
        return service_facts(described)
    return read_services(ecs, cluster, [name])[name]


def follow(
    ecs: Any,
    cluster: str,
    deployments: Mapping[str, str],
    *,
    timeout_s: float,
    poll_s: float,
    on_change: OnChange,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    client: Client | None = None,
    give_up_after: int | None = None,
    tolerate_s: float = TOLERATE_S,
) -> dict[str, Judgement]:
    """Follow deployments, by service name, until each has ended or one has failed; one describe call a poll for
    ten services.

    Returns how each stands; one that still runs when ``timeout_s`` is over, or when another has failed, comes
    back as running. Whatever failed says why, in its diagnosis: evidence is read as soon as a poll shows trouble, and
    with ``client`` (boto3's name of a service → its client) logs and target health belong to it. A deployment
    counts as failed as soon as ``give_up_after`` of its tasks have stopped by the same fault of their own, without
    waiting for ECS's circuit breaker; None goes by the service's size, 0 waits for the breaker. Polls may fail in
    passing for ``tolerate_s`` seconds on end; then AwsCallFailed is raised.
    """
    following = Following(ecs, cluster, deployments, on_change, clock, client, give_up_after, tolerate_s)
    deadline = clock() + timeout_s
    while True:
        asked = clock()
        following.poll()
        if following.ended:
            return following.judgements()
        if clock() >= deadline:
            return following.explained()
        sleep(max(0.0, poll_s - (clock() - asked)))


def require_completed(
    ecs: Any,
    cluster: str,
    ended: Mapping[str, Judgement],
    expected: Mapping[str, Expected],
    timeout_s: float,
    *,
    client: Client | None = None,
    tolerate_s: float = TOLERATE_S,
) -> None:
    """Believe a rollout only when every deployment was completed and every running task has the expected digest.

    Where tasks are expected and none runs, nothing is proven: a service that is scaled to none completes at once.
    Raises RolloutFailed: for each service that failed, the cause, then what was seen, and as the remedy the next step.
    """
    one_failed = any(one.progress in (Progress.FAILED, Progress.REPLACED) for one in ended.values())
    failures: list[str] = []
    steps: dict[str, str] = {}

    def wrong(name: str) -> tuple[str, ...]:
        tasks = patiently(lambda: read_tasks(ecs, cluster, name, "RUNNING"), tolerate_s)
        if not any(task.last_status == "RUNNING" for task in tasks):
            desired = patiently(lambda: read_services(ecs, cluster, [name]), tolerate_s)[name].desired
            if not desired:
                steps[name] = f"scale it first (`invoke ecs.scale -s {name} --count 1`), then start again"
            return (f"no task runs, so nothing is proven (its desired count is {desired})",)
        return wrong_digests(tasks, expected[name].container, expected[name].digest)

    completed = [name for name, one in ended.items() if one.progress is Progress.COMPLETED and name in expected]
    for name, sentences in zip(completed, side_by_side(wrong, completed), strict=True):
        failures.extend(f"{name}: {sentence}" for sentence in sentences)
    for name, judgement in ended.items():
        running = judgement.progress is Progress.RUNNING
        if judgement.progress is Progress.COMPLETED or (running and one_failed):
            continue
        diagnosis = judgement.diagnosis or _diagnosed(ecs, cluster, name, judgement, client)
        late = f"did not end within {timeout_s:g} s ({judgement.sentence}): " if running else ""
        failures.append("\n".join([f"{name}: {late}{diagnosis.cause}", *(f"    {one}" for one in diagnosis.evidence)]))
        steps[name] = diagnosis.next_step
    if failures:
        only = next(iter(steps.values())) if len(set(steps.values())) == 1 else ""
        remedy = only or "; ".join(f"{name}: {step}" for name, step in steps.items())
        raise RolloutFailed("\n".join(failures), remedy=remedy or "see `invoke ecs.status` for what serves now")


def _diagnosed(ecs: Any, cluster: str, name: str, judgement: Judgement, client: Client | None) -> Diagnosis:
    witness = Witness(ecs, cluster, name, judgement.deployment, client)
    witness.note(read_services(ecs, cluster, [name])[name], 0.0)
    witness.look()
    return witness.explain(judgement.sentence)


def restore(
    ecs: Any,
    cluster: str,
    started: Sequence[Started],
    *,
    timeout_s: float,
    poll_s: float,
    on_change: OnChange,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    client: Client | None = None,
    tolerate_s: float = TOLERATE_S,
) -> tuple[str, ...]:
    """Make every service run what it ran before, and return a sentence for each once reads confirm it.

    Where ECS's circuit breaker is already bringing the old version back, its deployment is followed; else one is
    started, whether or not the breaker has seen the failure. Calls that fail in passing are made again while there is
    time.
    Raises NotRestored, naming each service whose old version is not serving.
    """
    left = {one.service: one for one in started if one.changed}
    confirmed: dict[str, str] = {}
    failed: dict[str, str] = {}
    deadline = clock() + timeout_s

    def round_of_restoring() -> None:
        ids, refused = _start_restoring(ecs, cluster, left)
        failed.update(refused)
        ended = follow(
            ecs,
            cluster,
            ids,
            timeout_s=max(0.0, deadline - clock()),
            poll_s=poll_s,
            on_change=on_change,
            clock=clock,
            sleep=sleep,
            client=client,
            # The old version has served before: it is given all the time that there is.
            give_up_after=0,
            tolerate_s=tolerate_s,
        )
        for name, one in list(left.items()):
            sentence = _not_restored(ecs, cluster, one, ended.get(name), refused.get(name, "has no deployment"))
            if sentence:
                failed[name] = f"{name}: {sentence}"
            else:
                confirmed[name] = f"{name} runs {one.task_definition_before.rsplit('/', 1)[-1]} again"
                del left[name]

    rounds = 0
    # The circuit breaker may start a rollback of its own while ours begins, and take its place; then that one is
    # followed.
    while left and rounds < _RESTORE_ROUNDS:
        if rounds or failed:
            sleep(poll_s)
        rounds += 1
        try:
            round_of_restoring()
        except Exception as error:
            if (known := as_gli_error(error)) is None:
                raise
            failed.update({name: f"{name}: {known.what}" for name in left})
            if is_passing(error) and clock() < deadline:
                rounds -= 1
    if left:
        raise NotRestored(
            "the old version could not be put back:\n" + "\n".join(f"  - {failed[name]}" for name in left),
            remedy="see `invoke ecs.status` and the service's events in the AWS console, now",
        )
    return tuple(confirmed.values())


def _not_restored(ecs: Any, cluster: str, one: Started, judgement: Judgement | None, otherwise: str) -> str:
    """Return why a service does not run what it ran before; empty where reads say that it does."""
    strangers = [
        task.id
        for task in read_tasks(ecs, cluster, one.service, "RUNNING")
        if task.task_definition != one.task_definition_before
    ]
    if judgement is not None and judgement.progress is Progress.COMPLETED and not strangers:
        return ""
    sentence = judgement.sentence if judgement is not None else otherwise
    if judgement is not None and judgement.diagnosis is not None:
        sentence += f" ({judgement.diagnosis.cause})"
    return f"{sentence}; tasks of another version: {', '.join(strangers) or 'none'}"


def _start_restoring(ecs: Any, cluster: str, left: Mapping[str, Started]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the deployment to follow of each service, and why the others have none. What fails in passing is
    raised."""
    ids: dict[str, str] = {}
    refused: dict[str, str] = {}
    facts = read_services(ecs, cluster, list(left))
    for name, one in left.items():
        primary = facts[name].primary
        if primary is None or primary.task_definition != one.task_definition_before:
            try:
                answer = ecs.update_service(cluster=cluster, service=name, taskDefinition=one.task_definition_before)
            except Exception as error:
                known = as_gli_error(error)
                if known is None or is_passing(error):
                    raise
                # One service that cannot go back must not keep the others from it.
                refused[name] = known.what
                continue
            primary = _as_updated(ecs, cluster, name, answer).primary
        if primary is not None:
            ids[name] = primary.id
    return ids, refused
