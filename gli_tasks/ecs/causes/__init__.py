"""The causes of failed rollouts that AWS documents: how each shows, what it means and what to do. Pure data.

The order is the ranking: where several causes fit, the one that stands first is the more specific.
"""

from __future__ import annotations

from gli_tasks.ecs.causes.container import CONTAINER
from gli_tasks.ecs.causes.health import HEALTH
from gli_tasks.ecs.causes.kinds import Cause, Fault, Sign
from gli_tasks.ecs.causes.start import IMAGE, INITIALIZATION, UNTOLD
from gli_tasks.ecs.causes.surroundings import GENERAL, SURROUNDINGS

CAUSES: tuple[Cause, ...] = (*IMAGE, *INITIALIZATION, *CONTAINER, *UNTOLD, *HEALTH, *SURROUNDINGS, *GENERAL)

__all__ = ["CAUSES", "Cause", "Fault", "Sign"]
