"""The collection `ecs`: what looks, what rolls out, what runs once and what cleans up, a module each."""

from gli_tasks.ecs.tasks.look import diff, status
from gli_tasks.ecs.tasks.operate import prune, rollback, scale
from gli_tasks.ecs.tasks.rollout import register, update, wait
from gli_tasks.ecs.tasks.run import exec_, logs, run
from gli_tasks.ecs.tasks.verify import verify

__all__ = [
    "diff",
    "exec_",
    "logs",
    "prune",
    "register",
    "rollback",
    "run",
    "scale",
    "status",
    "update",
    "verify",
    "wait",
]
