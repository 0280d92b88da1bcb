"""Show what a release would do."""

from __future__ import annotations

import dataclasses

from gli_tasks.console import Console
from gli_tasks.ecs.findings import Level
from gli_tasks.release.forecast import Forecast


def show_forecast(console: Console, forecast: Forecast, as_json: bool) -> None:
    """Print a forecast: the steps in their order, what changes of each service, and what is in the way."""
    if as_json:
        console.answer_json(dataclasses.asdict(forecast))
        return
    place = f"{forecast.project} {forecast.environment}"
    console.answer(f"{place}: what a release by {forecast.who} ({forecast.identity}) would do")
    console.answer(f"serving: {forecast.serving or 'no release is recorded yet'}")
    if forecast.overridden_settings:
        names = ", ".join(forecast.overridden_settings)
        console.answer(f"settings overridden by the process's environment: {names}")
    rows = []
    for step in forecast.steps:
        lines = [*step.would, *(f"STOPS: {one}" for one in step.obstacles), *filter(None, [step.stands])]
        rows += [(step.name if not number else "", line) for number, line in enumerate(lines or ["looks only"])]
    console.table(("step", "would"), rows)
    for name, service in forecast.services.items():
        console.answer(f"{name} {service.commit[:12]}")
        console.answer(f"  image now   {service.image_now or '?'}")
        console.answer(f"  image next  {service.image_next or '?'}")
        now = service.task_definition_now.rsplit("/", 1)[-1] or "?"
        console.answer(f"  task definition {now}: {len(service.changes) or 'no'} changes")
        for change in service.changes:
            console.answer(f"    {change.path}: {change.before or '(none)'} → {change.after or '(none)'}")
    _show_findings(console, forecast)
    if forecast.obstacles:
        console.answer("a release would refuse or fail now:")
        for sentence in forecast.obstacles:
            console.answer(f"  - {sentence}")
    else:
        console.answer("nothing seen is in the way of a release")


def _show_findings(console: Console, forecast: Forecast) -> None:
    if not forecast.findings:
        return
    fine = sum(one.level is Level.OK for one in forecast.findings)
    console.answer(f"references: {fine} OK")
    for one in forecast.findings:
        if one.level is not Level.OK:
            console.answer(f"  {one.level:<4} {one.subject}: {one.sentence}{f' — {one.remedy}' if one.remedy else ''}")
