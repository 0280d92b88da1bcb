"""Faults that a rehearsal can put into the new version, and how each must end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gli_tasks.errors import UsageError
from gli_tasks.settings.validation import nearest


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: what it is, what it puts into the new version's source, and what the cause must speak of.

    ``unpullable`` lets the registry refuse every image that is pushed from now on.
    """

    name: str
    description: str
    cause: str
    files: Mapping[str, str]
    unpullable: bool = False


FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            "bad-image",
            "the new image cannot be pulled",
            "CannotPullContainerError",
            {},
            unpullable=True,
        ),
        Fault(
            "crash-at-start",
            "the new version's container exits at once",
            "exited with 1",
            {"FAULTS": "CRASH_AT_START=1\n"},
        ),
        Fault(
            "health-check-never-passes",
            "the new version answers its health check with 503",
            "health checks",
            {"FAULTS": "HEALTH_FAILS=1\n"},
        ),
    )
}


def fault_named(name: str) -> Fault:
    """Return a fault by its name. Raises UsageError for an unknown one."""
    if name not in FAULTS:
        raise UsageError(
            f"there is no fault {name!r}{nearest(name, FAULTS)}", remedy=f"name one of: {', '.join(FAULTS)}"
        )
    return FAULTS[name]
