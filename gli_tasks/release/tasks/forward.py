"""`release.<environment>` and `release.plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke import Context, task

from gli_tasks.edge import chosen, confirm, flags, operator, planning, require_present

if TYPE_CHECKING:
    from gli_tasks.console import Console
    from gli_tasks.settings import LoadedSettings


def release_task(environment: str) -> Any:
    """Return the task that releases to one environment; each environment that a project has gets its own."""

    @task(name=environment, help=flags("project", "yes", "json", "plan"))
    @operator
    def release(
        context: Context, project: str | None = None, yes: bool = False, json: bool = False, plan: bool = False
    ) -> None:
        from gli_tasks.console import Console

        only_plan = planning(plan)
        console = Console()
        loaded = chosen(environment, project)
        require_present(loaded)
        if only_plan:
            _plan(console, loaded, json)
            return
        from gli_tasks.release.show import release_question, show_end
        from gli_tasks.release.start import start_release

        confirm(console, release_question(loaded), loaded, yes)
        show_end(console, start_release(loaded, console), json)

    release.__doc__ = f"Release the current commits to {environment}: the whole pipeline, with proof at each step."
    return release


@task(help=flags("env", "project", "json"))
@operator
def plan(context: Context, env: str | None = None, project: str | None = None, json: bool = False) -> None:
    """Show what a release would change, step by step; it cannot write. Exit 2 where something is in the way of it."""
    from gli_tasks.console import Console

    planning(True)
    console = Console()
    loaded = chosen(env, project)
    require_present(loaded)
    _plan(console, loaded, json)


def _plan(console: Console, loaded: LoadedSettings, as_json: bool) -> None:
    from gli_tasks.errors import Refused
    from gli_tasks.release.forecast import foresee_release
    from gli_tasks.release.show_forecast import show_forecast

    forecast = foresee_release(loaded, console)
    show_forecast(console, forecast, as_json)
    if forecast.obstacles:
        count = len(forecast.obstacles)
        raise Refused(f"{count} {'thing is' if count == 1 else 'things are'} in the way of a release; see above")
