"""What a fault is, and what a release under it promises. Plain facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Serving(StrEnum):
    """The version that serves wholly in the end: every answer and every running task is of it."""

    OLD = "old"
    NEW = "new"


class Kept(StrEnum):
    """What the state bucket holds of a release in the end."""

    #: Its record, with its true end.
    ENDED = "ended"
    #: Its record as it was when the bucket could last be written; it names no end, and nothing names it healthy.
    UNENDED = "unended"
    #: Nothing: the release ended before it began to write.
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Own:
    """The failed requests that a fault causes by itself, and no release can prevent.

    ``versions``: only answers of the new version (``new``), or of no version at all (``none``: the balancer had nobody
    to ask). ``seconds``: at most as many as come in within so many of AWS's seconds.
    """

    versions: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Promise:
    """How a release under a fault must end.

    ``cause`` are the words that the reason must hold; ``told`` are words that the operator must have been told in
    passing, where the release goes on.
    """

    exit_code: int
    serving: Serving
    kept: Kept = Kept.ENDED
    cause: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    own: Own = Own()
    lock_left: bool = False

    @property
    def outcome(self) -> str:
        """Return what the release's record says of its end."""
        return "healthy" if self.exit_code == 0 else "failed"

    def sentence(self) -> str:
        """Return the promise in words."""
        record = {
            Kept.ENDED: f"the record says {self.outcome}",
            Kept.UNENDED: "the record cannot be ended, and nothing names it healthy",
            Kept.NOTHING: "there is no record",
        }[self.kept]
        parts = [f"exit code {self.exit_code}", f"the {self.serving} version serves wholly", record]
        if self.cause:
            parts.append("the cause speaks of " + " and ".join(f"“{word}”" for word in self.cause))
        if self.told:
            parts.append("the operator is told " + " and ".join(f"“{word}”" for word in self.told))
        parts.append(_own_sentence(self.own))
        if self.lock_left:
            parts.append("the lock is left to run out")
        return "; ".join(parts)


def _own_sentence(own: Own) -> str:
    if not own.versions:
        return "no request fails"
    whose = "the new version answered" if own.versions == "new" else "the balancer had nobody to ask"
    return f"only requests fail that {whose}, for at most {own.seconds:g} s of AWS's time"


@dataclass(frozen=True, slots=True)
class Workstation:
    """What is wrong where the release runs: its clock's error in seconds, and the bytes that its temporary folder
    holds (0: as many as the disk).
    """

    clock_s: float = 0.0
    temporary_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, where it is put, and its promise.

    ``version``: lines of the new version's FAULTS file; ``scaled`` names those whose seconds are AWS's. ``twin``: what
    the twin is told. ``rules``: what the proxy before AWS is told. ``secret_keys``: keys that the database's secret
    loses. ``when``: the step with whose beginning the fault comes; empty: before the release.
    """

    name: str
    description: str
    promise: Promise
    version: Mapping[str, float] = field(default_factory=dict)
    twin: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[Mapping[str, Any], ...] = ()
    secret_keys: tuple[str, ...] = ()
    workstation: Workstation = Workstation()
    when: str = ""

    def files(self, time_scale: float) -> dict[str, str]:
        """Return the files that put the fault into the new version's source; ``*_S`` of them are scaled."""
        lines = [
            f"{key}={value * time_scale if key.endswith('_S') else value:g}\n" for key, value in self.version.items()
        ]
        return {"FAULTS": "".join(lines)}
