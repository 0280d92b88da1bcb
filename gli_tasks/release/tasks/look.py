"""`release.status` and `release.history`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import aws_for, chosen, flags, operator, require_present, whole_number


@task(help=flags("env", "project", "json"))
@operator
def status(context: Context, env: str | None = None, project: str | None = None, json: bool = False) -> None:
    """Show what serves now: each service's task definition, tasks and rollout, and the last healthy release."""
    from gli_tasks.console import Console

    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "aws", "state", "ecs", "services")
    from gli_tasks.release.show import show_status

    show_status(console, loaded.settings, aws_for(loaded), json)


@task(help=flags("env", "project", "json", limit="how many of the newest to show (default: 10)"))
@operator
def history(
    context: Context, env: str | None = None, project: str | None = None, json: bool = False, limit: str = "10"
) -> None:
    """List the newest releases: when, who, what, and how each ended."""
    from gli_tasks.console import Console

    console = Console()
    count = whole_number("limit", limit, 1, 1_000)
    loaded = chosen(env, project)
    require_present(loaded, "aws", "state")
    from gli_tasks.release.show import show_history

    show_history(console, loaded.settings, aws_for(loaded), count, json)
