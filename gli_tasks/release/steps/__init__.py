"""The one table that binds the names in a pipeline to what the rooms do, and writes what came of it to the record."""

from __future__ import annotations

from collections.abc import Mapping

from gli_tasks.release.steps import checks, images, rollout, sources
from gli_tasks.release.steps.step import Foreseen, Step

__all__ = ["STEPS", "Foreseen", "Step"]

STEPS: Mapping[str, Step] = {
    "git.check": Step(sources.git_check, sources.git_check_foreseen, local=True),
    "build.env": Step(sources.build_env, sources.build_env_foreseen, local=True),
    "build.check": Step(sources.build_check, sources.build_check_foreseen, local=True),
    "image.build": Step(images.image_build, images.image_build_foreseen, local=True),
    "image.push": Step(images.image_push, images.image_push_foreseen, changes=True, takes_local=True),
    "ecs.verify": Step(rollout.ecs_verify, rollout.ecs_verify_foreseen, looks=True),
    "ecs.register": Step(rollout.ecs_register, rollout.ecs_register_foreseen, changes=True),
    "ecs.update": Step(rollout.ecs_update, rollout.ecs_update_foreseen, changes=True, undo=rollout.ecs_update_undo),
    "ecs.wait": Step(rollout.ecs_wait, changes=True, looks=True),
    "health.check": Step(checks.health_check, checks.health_check_foreseen, looks=True),
    "git.tag": Step(sources.git_tag, sources.git_tag_foreseen, changes=True, undo=sources.git_tag_undo, tidies=True),
    "notify": Step(checks.notify, checks.notify_foreseen),
}
