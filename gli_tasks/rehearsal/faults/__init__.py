"""Faults that a rehearsal can put into a release's world, and how each must end."""

from __future__ import annotations

from gli_tasks.errors import UsageError
from gli_tasks.rehearsal.faults.aws_calls import AWS_FAULTS, CHANGING_CALLS, FIRST_ONLY, MET_AT_ONCE
from gli_tasks.rehearsal.faults.fault import Fault, Kept, Own, Promise, Serving, Workstation
from gli_tasks.rehearsal.faults.surroundings import SURROUNDING_FAULTS
from gli_tasks.rehearsal.faults.versions import VERSION_FAULTS
from gli_tasks.settings.validation import nearest

__all__ = [
    "CHANGING_CALLS",
    "FAULTS",
    "MATRIX",
    "Fault",
    "Kept",
    "Own",
    "Promise",
    "Serving",
    "Workstation",
    "fault_named",
]

FAULTS = {fault.name: fault for fault in (*VERSION_FAULTS, *SURROUNDING_FAULTS, *AWS_FAULTS)}
#: What `invoke rehearse.faults` rehearses. Where a release goes on, one meets a fault on all its calls; where it ends,
#: it takes one release for each call.
MATRIX = tuple(
    name for name in FAULTS if not name.startswith(tuple(f"{kind}:" for kind in MET_AT_ONCE)) and name not in FIRST_ONLY
)


def fault_named(name: str) -> Fault:
    """Return a fault by its name. Raises UsageError for an unknown one, with the nearest right name."""
    if name not in FAULTS:
        raise UsageError(
            f"there is no fault {name!r}{nearest(name, FAULTS)}", remedy="`invoke rehearse --list-faults` lists them"
        )
    return FAULTS[name]
