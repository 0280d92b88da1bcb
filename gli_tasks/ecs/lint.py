"""The linter of task definitions: what AWS would refuse, what would fail at run time, what must not be released.

Pure: a definition in, findings out. No value of a variable is ever in a sentence. Rules by the developer guide's pages
"Task definition parameters for Fargate", "Determine health checks", "Pass sensitive data to a container" and "Best
practices for container images".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from gli_tasks.ecs.findings import Finding, ng, ok
from gli_tasks.ecs.plain_secrets import secret_in_text, secret_in_variable
from gli_tasks.ecs.references import Wanted, execution_role, read_image, secret_uses

_GIB = 1024
# Task memory, in MiB, that Fargate offers for each CPU size ("Task size" of the parameters' page).
_FARGATE_MEMORY: Mapping[int, tuple[int, ...]] = {
    256: (512, 1 * _GIB, 2 * _GIB),
    512: tuple(range(1 * _GIB, 4 * _GIB + 1, _GIB)),
    1024: tuple(range(2 * _GIB, 8 * _GIB + 1, _GIB)),
    2048: tuple(range(4 * _GIB, 16 * _GIB + 1, _GIB)),
    4096: tuple(range(8 * _GIB, 30 * _GIB + 1, _GIB)),
    8192: tuple(range(16 * _GIB, 60 * _GIB + 1, 4 * _GIB)),
    16384: tuple(range(32 * _GIB, 120 * _GIB + 1, 8 * _GIB)),
}
_LONGEST_FARGATE_STOP_S = 120
_AWSLOGS_OPTIONS = ("awslogs-group", "awslogs-region", "awslogs-stream-prefix")

Container = Mapping[str, Any]


def lint(wanted: Wanted, region: str) -> tuple[Finding, ...]:
    """Return an NG finding for each rule that the definition breaks, or one OK finding where it breaks none.

    ``region`` is where the service runs.
    """
    found = [
        *_task_findings(wanted),
        *(one for each in wanted.containers for one in _findings_of(wanted, each, region)),
    ]
    count = len(wanted.containers)
    containers = "1 container" if count == 1 else f"{count} containers"
    return tuple(found) or (ok(_subject(wanted), f"breaks no rule of the linter ({containers})"),)


def is_fargate(definition: Mapping[str, Any]) -> bool:
    """Tell whether a definition is for Fargate."""
    return "FARGATE" in (definition.get("requiresCompatibilities") or ())


def vcpus(definition: Mapping[str, Any]) -> float:
    """Return the vCPUs of a task; 0 where its size cannot be read."""
    return (_units(str(definition.get("cpu", "")), "vCPU") or 0) / _GIB


def _subject(wanted: Wanted, container: Container | None = None) -> str:
    return f"{wanted.name} container {container.get('name', '?')}" if container else f"{wanted.name} task definition"


def _task_findings(wanted: Wanted) -> Iterator[Finding]:
    definition, subject = wanted.definition, _subject(wanted)
    names = [str(one.get("name", "")) for one in wanted.containers]
    if wanted.container not in names:
        yield ng(subject, f"has no container {wanted.container!r}", f"its containers: {', '.join(names) or 'none'}")
    if not any(one.get("essential", True) for one in wanted.containers):
        yield ng(subject, "has no essential container", 'set "essential": true on the one that serves')
    if not definition.get("family"):
        yield ng(subject, "names no family", 'add "family"')
    yield from _dependency_findings(wanted, subject)
    yield from _share_findings(wanted, subject)
    if is_fargate(definition):
        yield from _size_findings(definition, subject)
        if definition.get("networkMode") != "awsvpc":
            yield ng(subject, "is not of network mode awsvpc, the only one on Fargate", 'set "networkMode": "awsvpc"')
    logs = any((one.get("logConfiguration") or {}).get("logDriver") == "awslogs" for one in wanted.containers)
    if (logs or secret_uses(definition)) and not execution_role(definition):
        yield ng(subject, "names no execution role, and needs one for its logs or secrets", "add executionRoleArn")


def _dependency_findings(wanted: Wanted, subject: str) -> Iterator[Finding]:
    names = {str(one.get("name", "")) for one in wanted.containers}
    for one in wanted.containers:
        for other in one.get("dependsOn") or ():
            on = str(other.get("containerName", ""))
            if on not in names or on == one.get("name"):
                what = "itself" if on == one.get("name") else f"a container {on!r} that is not there"
                yield ng(subject, f"lets {one.get('name', '?')} depend on {what}", "mend dependsOn")


def _share_findings(wanted: Wanted, subject: str) -> Iterator[Finding]:
    """What containers ask for must fit into the task, where the task has a size (API reference,
    RegisterTaskDefinition: cpu, memory and memoryReservation of a container)."""
    cpu = _units(str(wanted.definition.get("cpu", "")), "vCPU")
    memory = _units(str(wanted.definition.get("memory", "")), "GB")
    asked_cpu = sum(_whole(one.get("cpu")) for one in wanted.containers)
    if cpu is not None and asked_cpu > cpu:
        yield ng(subject, f"has containers of {asked_cpu} CPU units in all, and the task has {cpu}", "lower theirs")
    if memory is None:
        return
    reserved = sum(_whole(one.get("memoryReservation")) or _whole(one.get("memory")) for one in wanted.containers)
    if reserved > memory:
        yield ng(subject, f"has containers of {reserved} MiB in all, and the task has {memory}", "lower theirs")
    else:
        for one in wanted.containers:
            if _whole(one.get("memory")) > memory:
                yield ng(subject, f"gives {one.get('name', '?')} more memory than the task's {memory} MiB", "lower it")


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _size_findings(definition: Mapping[str, Any], subject: str) -> Iterator[Finding]:
    given = str(definition.get("cpu", "")), str(definition.get("memory", ""))
    cpu, memory = _units(given[0], "vCPU"), _units(given[1], "GB")
    if cpu is None or cpu not in _FARGATE_MEMORY:
        sizes = ", ".join(str(one) for one in _FARGATE_MEMORY)
        yield ng(subject, f"asks Fargate for a CPU size of {given[0] or 'nothing'}", f"one of {sizes}")
    elif memory not in _FARGATE_MEMORY[cpu]:
        sizes = ", ".join(str(one) for one in _FARGATE_MEMORY[cpu])
        yield ng(subject, f"asks Fargate for CPU {given[0]} with memory {given[1] or 'nothing'}", f"one of {sizes} MiB")


def _units(text: str, unit: str) -> int | None:
    """Read "256", ".25 vCPU" or "2 GB" as CPU units or MiB; None for anything else."""
    match = re.fullmatch(rf"(\d*\.?\d+)\s*({unit})?", text.strip(), re.IGNORECASE)
    return int(float(match[1]) * (_GIB if match[2] else 1)) if match else None


def _findings_of(wanted: Wanted, container: Container, region: str) -> Iterator[Finding]:
    serves = container.get("name") == wanted.container
    subject = _subject(wanted, container)
    fargate = is_fargate(wanted.definition)
    yield from _image_findings(container, subject, pushed=wanted.image_known or not serves)
    yield from _secret_findings(container, subject)
    yield from _cache_findings(container, subject, wanted.cache_encrypted)
    yield from _log_findings(container, subject, region, fargate)
    if serves:
        yield from _serving_findings(container, subject, wanted.port)
    check = container.get("healthCheck")
    if check and check.get("startPeriod") is None:
        within = (_whole(check.get("interval")) or 30) * (_whole(check.get("retries")) or 3)
        yield ng(
            subject,
            f"has a health check without startPeriod: a start that takes longer than {within} s is taken for a failure",
            "add startPeriod, in seconds; 0 says that none is wanted",
        )
    if container.get("privileged"):
        yield ng(subject, "is privileged", "remove it; Fargate takes no privileged container")
    stop_s = container.get("stopTimeout")
    if fargate and isinstance(stop_s, int) and stop_s > _LONGEST_FARGATE_STOP_S:
        yield ng(subject, f"has a stopTimeout of {stop_s} s", f"Fargate takes {_LONGEST_FARGATE_STOP_S} s at most")


def _image_findings(container: Container, subject: str, pushed: bool) -> Iterator[Finding]:
    image = read_image(str(container.get("image", "")))
    remedy = "name the image by its digest, repository@sha256:..."
    if image.digest.startswith("sha256:"):
        return
    if not image.repository:
        yield ng(subject, "names no image", remedy)
    elif image.tag in ("", "latest"):
        yield ng(subject, f"names its image by {image.tag or 'no tag'}, which says nothing of what will run", remedy)
    elif pushed:
        yield ng(subject, f"names its image by the tag {image.tag}, which can move", remedy)


def _secret_findings(container: Container, subject: str) -> Iterator[Finding]:
    remedy = "move it to Secrets Manager, name it under secrets, and replace the value: it has been readable"
    for one in container.get("environment") or ():
        name = str(one.get("name", ""))
        if kind := secret_in_variable(name, str(one.get("value", ""))):
            yield ng(subject, f"holds in its environment variable {name} {kind}, in plain text", remedy)
    for place, text in _other_texts(container):
        if kind := secret_in_text(text):
            yield ng(subject, f"holds in its {place} {kind}, in plain text", remedy)
    taken = Counter(str(one.get("name")) for key in ("environment", "secrets") for one in container.get(key) or ())
    for name, count in taken.items():
        if count > 1:
            yield ng(subject, f"has {count} variables {name}", "keep one of them, under environment or secrets")


def _other_texts(container: Container) -> Iterator[tuple[str, str]]:
    for key in ("entryPoint", "command"):
        yield key, " ".join(map(str, container.get(key) or ()))
    yield "health check's command", " ".join(map(str, (container.get("healthCheck") or {}).get("command") or ()))
    for name, value in (container.get("dockerLabels") or {}).items():
        yield f"label {name}", str(value)
    for name, value in ((container.get("logConfiguration") or {}).get("options") or {}).items():
        yield f"log option {name}", str(value)


def _cache_findings(container: Container, subject: str, encrypted: bool | None) -> Iterator[Finding]:
    for one in container.get("environment") or ():
        value = str(one.get("value", "")).lower()
        if encrypted and re.search(r"\bredis://", value):
            yield ng(
                subject,
                f"reaches the cache by redis:// in {one.get('name')}, and the cache takes TLS alone",
                "write rediss://",
            )
        if encrypted is False and re.search(r"\brediss://", value):
            yield ng(
                subject,
                f"reaches the cache by rediss:// in {one.get('name')}, and the cache has no transit encryption",
                "turn transit encryption on, or write redis://",
            )


def _log_findings(container: Container, subject: str, region: str, fargate: bool) -> Iterator[Finding]:
    configuration = container.get("logConfiguration")
    if not configuration:
        yield ng(subject, "has no log configuration: what it says is lost", "add logConfiguration with awslogs")
        return
    if configuration.get("logDriver") != "awslogs":
        return
    options = configuration.get("options") or {}
    needed = _AWSLOGS_OPTIONS if fargate else _AWSLOGS_OPTIONS[:1]
    absent = [name for name in needed if not options.get(name)]
    if absent:
        yield ng(subject, f"has a log configuration without {', '.join(absent)}", "add what is missing")
    elsewhere = options.get("awslogs-region")
    if elsewhere and elsewhere != region:
        yield ng(subject, f"writes its log to {elsewhere}, and the service runs in {region}", f"write {region}")


def _serving_findings(container: Container, subject: str, port: int) -> Iterator[Finding]:
    if not container.get("healthCheck"):
        yield ng(subject, f"serves port {port} behind a load balancer and has no health check", "add healthCheck")
    if not container.get("essential", True):
        yield ng(subject, "serves, and is not essential: its end would go unnoticed", 'set "essential": true')
    mappings = container.get("portMappings") or ()
    if not any(one.get("containerPort") == port for one in mappings):
        known = ", ".join(str(one.get("containerPort")) for one in mappings) or "none"
        yield ng(
            subject, f"does not open port {port}, which the settings name", f"its ports: {known}; mend one of both"
        )
    for one in mappings:
        if one.get("containerPort") == port and one.get("protocol", "tcp") != "tcp":
            yield ng(subject, f"opens port {port} for {one['protocol']}, and the load balancer speaks tcp", "write tcp")
