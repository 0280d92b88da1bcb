"""Read and check the pipelines: known steps, each once, in an order that can work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gli_tasks.settings import validation
from gli_tasks.settings.model import STEP_NAMES, STEP_NEEDS, Pipeline


def build_pipelines(data: Any, report: validation.Report) -> dict[str, Pipeline]:
    """Return the pipelines of a ``[pipelines]`` table, having told ``report`` of everything that is wrong."""
    pipelines: dict[str, Pipeline] = {}
    if not isinstance(data, Mapping):
        report("pipelines", "expected a table of lists")
        return pipelines
    for environment, groups in data.items():
        path = f"pipelines.{environment}"
        if not isinstance(groups, list) or not groups:
            report(path, "expected a list of step names")
            continue
        pipelines[environment] = tuple(
            tuple(map(str, group)) if isinstance(group, list) else str(group) for group in groups
        )
        if () in pipelines[environment]:
            report(path, "holds an empty list; expected step names in it")
        flat = [step for group in pipelines[environment] for step in ((group,) if isinstance(group, str) else group)]
        for step in flat:
            if step not in STEP_NAMES:
                report(path, f"there is no step {step!r}{validation.nearest(step, STEP_NAMES)}")
        for step in sorted({step for step in flat if flat.count(step) > 1}):
            report(path, f"names the step {step!r} twice")
        _check_order(pipelines[environment], path, report)
    return pipelines


def _check_order(pipeline: Pipeline, path: str, report: validation.Report) -> None:
    done: set[str] = set()
    for group in pipeline:
        names = (group,) if isinstance(group, str) else group
        for name in names:
            if name in STEP_NEEDS and STEP_NEEDS[name] not in done:
                report(path, f"{name} needs {STEP_NEEDS[name]} before it")
        done.update(names)
    if "ecs.update" in done and "ecs.wait" not in done:
        report(path, "ecs.update needs ecs.wait after it, or a release would end before its rollout")
