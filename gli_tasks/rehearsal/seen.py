"""What the twin shows after a release, apart from what the release says of itself."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from gli_tasks.rehearsal.stage import Stage

# How many answers in a row must be of one version before it counts as the one that serves.
_ANSWERS = 10


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """A service on ECS: what its running tasks are of, and whether its rollout has ended with all of them."""

    task_definitions: tuple[str, ...]
    settled: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """The twin's state: the version that answers (several: with a comma between; none: empty), its services, what the
    state bucket holds (``records``: keys).
    """

    version: str
    services: Mapping[str, ServiceSeen]
    current: str
    lock_holder: str
    records: frozenset[str]


def look(stage: Stage) -> Seen:
    """Look at the twin, by its first door."""
    return Seen(
        version=serving_version(stage),
        services=_services(stage),
        current=str((read_state(stage, "current.json") or {}).get("release", "")),
        lock_holder=str((read_state(stage, "lock.json") or {}).get("token", "")),
        records=_records(stage),
    )


def serving_version(stage: Stage) -> str:
    """Return the version that answers on the main host through the balancer; several where they take turns."""
    context = ssl.create_default_context(cafile=stage.ready.authority)
    host = next(iter(stage.loaded.settings.ecs_services.values())).host
    versions = set()
    with httpx.Client(verify=context, trust_env=False, timeout=5) as client:
        for _ in range(_ANSWERS):
            try:
                answer = client.get(
                    f"https://{stage.ready.https}/", headers={"Host": host}, extensions={"sni_hostname": host}
                )
            except httpx.HTTPError:
                continue
            if answer.status_code == 200:
                versions.add(str(answer.headers.get("X-App-Version", "")))
    return ", ".join(sorted(versions))


def read_state(stage: Stage, key: str) -> dict[str, Any] | None:
    """Return an object of the state bucket; None where there is none."""
    s3 = stage.client("s3")
    try:
        body = s3.get_object(Bucket=stage.loaded.settings.state.bucket, Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None
    found: dict[str, Any] = json.loads(body)
    return found


def _records(stage: Stage) -> frozenset[str]:
    found = stage.client("s3").list_objects_v2(Bucket=stage.loaded.settings.state.bucket, Prefix="releases/")
    return frozenset(str(one["Key"]) for one in found.get("Contents", ()))


def newest_record(stage: Stage, known: frozenset[str]) -> dict[str, Any] | None:
    """Return the record that came beside those known, of a release that printed none itself."""
    added = sorted(_records(stage) - known)
    return read_state(stage, added[-1]) if added else None


def running(before: Seen, after: Seen, new: Mapping[str, str]) -> dict[str, str]:
    """Return, by service, which task definition all its running tasks are of: ``old``, ``new``, or what they are of."""
    found = {}
    for name, service in after.services.items():
        of = service.task_definitions
        if service.settled and of == before.services[name].task_definitions:
            found[name] = "old"
        elif service.settled and of == (new.get(name),):
            found[name] = "new"
        else:
            short = ", ".join(one.rpartition("/")[2] for one in of) or "nothing"
            found[name] = short if service.settled else f"{short} (its rollout has not ended)"
    return found


def _services(stage: Stage) -> dict[str, ServiceSeen]:
    ecs, settings = stage.client("ecs"), stage.loaded.settings
    cluster, seen = settings.ecs.cluster, {}
    for name, service in settings.ecs_services.items():
        found = ecs.describe_services(cluster=cluster, services=[service.service])["services"][0]
        arns = ecs.list_tasks(cluster=cluster, serviceName=service.service, desiredStatus="RUNNING")["taskArns"]
        tasks = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
        running = [str(task["taskDefinitionArn"]) for task in tasks if task["lastStatus"] == "RUNNING"]
        whole = len(running) == int(found["desiredCount"]) == len(arns) and len(found["deployments"]) == 1
        seen[name] = ServiceSeen(tuple(sorted(set(running))), whole)
    return seen


Calls = Mapping[str, Mapping[str, int]]


def read_calls(stage: Stage) -> Calls:
    """Return how often each operation of each service was called since the twin's start."""
    calls: Calls = httpx.get(f"{stage.ready.endpoint}/_twin/calls", trust_env=False).raise_for_status().json()
    return calls


def changing_calls(before: Calls, after: Calls) -> dict[str, int]:
    """Return how often each call that changes something was carried out in between, by ``service.Operation``.

    S3's are counted by HTTP method, and named after it.
    """
    from gli_tasks.aws import is_read

    counted: dict[str, int] = {}
    for service, operations in after.items():
        for operation, count in operations.items():
            name = f"{operation.title()}Object" if operation.isupper() else operation
            more = count - before.get(service, {}).get(operation, 0)
            if more and not is_read(name):
                counted[f"{service}.{name}"] = more
    return counted
