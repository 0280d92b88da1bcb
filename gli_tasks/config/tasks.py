"""`config.show` and `config.check`."""

from __future__ import annotations

import os

from invoke import Context, task

from gli_tasks.edge import chosen, flags, operator


@task(help=flags("env", "project", "json"))
@operator
def show(context: Context, env: str | None = None, project: str | None = None, json: bool = False) -> None:
    """Print every setting with where it came from; secrets are masked."""
    from gli_tasks.config.listing import listed
    from gli_tasks.console import Console

    console = Console()
    loaded = chosen(env, project)
    rows = listed(loaded)
    if json:
        console.answer_json({row.path: {"value": row.value, "from": row.origin} for row in rows})
        return
    title = f"{loaded.settings.project} {loaded.settings.environment}"
    console.table(("setting", "value", "from"), [(row.path, row.value, row.origin) for row in rows], title)


@task(help=flags("json"))
@operator
def check(context: Context, json: bool = False) -> None:
    """Check all projects and environments, and print every problem; exit 2 if there is one."""
    from gli_tasks.console import Console
    from gli_tasks.errors import SettingsError
    from gli_tasks.settings import load_all
    from gli_tasks.settings.load import root_folder

    console = Console()
    loaded, problems = load_all(root_folder(), os.environ)
    if json:
        good = [f"{one.settings.project}/{one.settings.environment}" for one in loaded]
        absent = {f"{one.settings.project}/{one.settings.environment}": one.absent for one in loaded if one.absent}
        console.answer_json({"problems": problems, "good": good, "absent": absent})
        if problems:
            raise SystemExit(SettingsError.exit_code)
        return
    for one in loaded:
        name = f"{one.settings.project} {one.settings.environment}"
        services = len(one.settings.services)
        steps = sum(1 if isinstance(group, str) else len(group) for group in one.settings.pipeline)
        console.answer(f"OK  {name}: {services} services, {steps} steps")
        for path in one.absent:
            console.answer(f"      absent: {path}")
        for key in one.overrides:
            console.answer(f"      overridden by the process's environment: {key}")
    if problems:
        raise SettingsError(problems)
