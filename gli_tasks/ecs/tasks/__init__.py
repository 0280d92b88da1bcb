"""The collection `ecs`: what looks, what rolls out, what runs once and what cleans up, a module each."""

from gli_tasks.ecs.tasks.look import status
from gli_tasks.ecs.tasks.rollout import register, update, wait
from gli_tasks.ecs.tasks.verify import verify

__all__ = ["register", "status", "update", "verify", "wait"]
