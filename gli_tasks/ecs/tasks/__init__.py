"""The collection `ecs`: what looks, what rolls out, what runs once and what cleans up, a module each."""

from gli_tasks.ecs.tasks.look import diff, status
from gli_tasks.ecs.tasks.rollout import register, update, wait

__all__ = ["diff", "register", "status", "update", "wait"]
