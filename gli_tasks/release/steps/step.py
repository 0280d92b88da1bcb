"""What a step of a pipeline is, and what a plan says of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gli_tasks.ecs.difference import Change
from gli_tasks.ecs.findings import Finding
from gli_tasks.release.run import Run


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a step would do: a sentence on how things stand, what it would change, and what would stop it.

    ``changes`` are those of each service's task definition, ``images`` the image that each runs now and would run next.
    """

    stands: str = ""
    would: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()
    changes: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    images: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A step: what it does, what a plan says of it, whether it changes anything outside, and how it is undone.

    ``act`` and ``undo`` return a sentence for the record and the operator. ``looks`` marks a step that only observes,
    and so is done again when a release is resumed; ``local`` one whose work is on this machine alone, and is done again
    as long as a step that ``takes_local`` work has not been done; one that ``tidies`` has an undo on which nothing
    depends that serves.
    """

    act: Callable[[Run], str]
    foresee: Callable[[Run], Foreseen] = lambda _: Foreseen()
    changes: bool = False
    undo: Callable[[Run], str] | None = None
    looks: bool = False
    local: bool = False
    takes_local: bool = False
    tidies: bool = False
