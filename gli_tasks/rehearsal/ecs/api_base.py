"""What every part of ECS's API needs."""

from __future__ import annotations

from typing import Any

from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from gli_tasks.rehearsal.ecs.model import Store

Wire = dict[str, Any]


class ApiPart:
    """A part of the API; ``EcsService`` puts the parts together."""

    plane: EcsControlPlane

    @property
    def store(self) -> Store:
        """Return the records; hold ``plane.lock``."""
        return self.plane.store


def missing(arn: str, reason: str = "MISSING") -> Wire:
    """Make one item of ``failures``."""
    return {"arn": arn, "reason": reason}
