"""The collection `image`: what is made, what is shown, what goes on to another repository and what is deleted."""

from gli_tasks.image.tasks.look import list_
from gli_tasks.image.tasks.make import build, push
from gli_tasks.image.tasks.promotion import promote
from gli_tasks.image.tasks.pruning import prune

__all__ = ["build", "list_", "promote", "prune", "push"]
