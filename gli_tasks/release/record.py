"""The record of one release: what was released, what was done for it, and how it ended. Plain facts, written to S3 as
JSON.

A field may be added with a default; a field never changes its meaning. So a record of an older version can always be
read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

SCHEMA = 1


class Outcome(StrEnum):
    """How a release or a step stands."""

    RUNNING = "running"
    HEALTHY = "healthy"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class StepOutcome(StrEnum):
    """How a step stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"
    NOT_UNDONE = "not undone"


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """What became of one service. Commits are full; ``image`` is by digest; ``..._before`` is what served before."""

    commit: str = ""
    branch: str = ""
    root: str = ""
    dirty: bool = False
    image_tag: str = ""
    image: str = ""
    digest: str = ""
    task_definition: str = ""
    task_definition_before: str = ""
    deployment: str = ""
    #: Where it runs, by ECS's names: what is undone must not depend on settings that changed meanwhile.
    cluster: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step: ISO 8601 start in UTC, seconds it took, and a sentence on what came of it."""

    name: str
    outcome: StepOutcome
    started_at: str
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One AWS call that changed something."""

    at: str
    service: str
    operation: str
    request_id: str
    status: int
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """One health check as it was last answered."""

    name: str
    url: str
    status: int
    latency_ms: float
    certificate_days: float | None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a release failed: the step, what happened, what to do next, and what serves now."""

    step: str
    what: str
    remedy: str = ""
    serving: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One release."""

    id: str
    project: str
    environment: str
    who: str
    identity: str
    started_at: str
    outcome: Outcome = Outcome.RUNNING
    schema: int = SCHEMA
    ended_at: str = ""
    seconds: float = 0.0
    services: Mapping[str, ServiceRecord] = field(default_factory=dict)
    steps: tuple[StepRecord, ...] = ()
    calls: tuple[CallRecord, ...] = ()
    checks: tuple[CheckRecord, ...] = ()
    overridden_settings: tuple[str, ...] = ()
    tag: str = ""
    #: The release that this one went back to; empty for a release of new commits.
    rollback_to: str = ""
    failure: Failure | None = None
    #: How the release ends once its undo is done, ``failed`` or ``interrupted``; empty while nothing is being undone.
    undoing: str = ""
    #: Who took this release up again after it was cut off, and when (ISO 8601), each time.
    resumed: tuple[str, ...] = ()
    #: The newest migration that the database had when this release ended; empty where none is known.
    migration_head: str = ""

    def with_service(self, name: str, **changes: object) -> Record:
        """Return the record with these fields of one service changed."""
        changed = replace(self.services.get(name, ServiceRecord()), **changes)  # type: ignore[arg-type]
        return replace(self, services={**self.services, name: changed})

    def with_step(self, step: StepRecord) -> Record:
        """Return the record with a step added, or put in the place of the one of the same name."""
        if any(one.name == step.name for one in self.steps):
            return replace(self, steps=tuple(step if one.name == step.name else one for one in self.steps))
        return replace(self, steps=(*self.steps, step))


def encode(record: Record) -> bytes:
    """Return a record as JSON, for people to read as well."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(record), indent=2)


def decode(data: bytes) -> Record:
    """Return the record that JSON holds. Raises ValueError where it holds none."""
    import msgspec

    try:
        return msgspec.json.decode(data, type=Record)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
