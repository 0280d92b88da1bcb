"""`release.<environment>`, `release.status` and `release.history`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from invoke import Collection, Context, task

from gli_tasks.edge import aws_for, chosen, confirm, flags, number, operator, require_present


def release_task(environment: str) -> Any:
    """Return the task that releases to one environment; each environment that a project has gets its own."""

    @task(name=environment, help=flags("project", "yes", "json"))
    @operator
    def release(context: Context, project: str | None = None, yes: bool = False, json: bool = False) -> None:
        from gli_tasks.console import Console

        console = Console()
        loaded = chosen(environment, project)
        require_present(loaded)
        from gli_tasks.release.show import release_question, show_end
        from gli_tasks.release.start import start_release

        confirm(console, release_question(loaded), loaded, yes)
        record, error, place = start_release(loaded, console)
        show_end(console, record, place, json)
        if error is not None:
            raise error

    release.__doc__ = f"Release the current commits to {environment}: the whole pipeline, with proof at each step."
    return release


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
    count = int(number("limit", limit, 1, 1_000))
    loaded = chosen(env, project)
    require_present(loaded, "aws", "state")
    from gli_tasks.release.show import show_history

    show_history(console, loaded.settings, aws_for(loaded), count, json)


@task(help=flags("env", "project", "yes", "json", to="the release to go back to (default: the last other healthy one)"))
@operator
def rollback(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    to: str = "",
    yes: bool = False,
    json: bool = False,
) -> None:
    """Go back at once to the last release that ended healthy and does not serve now, or to another one."""
    from gli_tasks.console import Console

    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "aws", "state", "ecs", "services")
    from gli_tasks.release.rollback import find_target
    from gli_tasks.release.show import show_end, show_target
    from gli_tasks.release.start import start_rollback

    target = find_target(loaded.settings, aws_for(loaded), to)
    show_target(console, target)
    confirm(console, f"going back to release {target.id}", loaded, yes)
    record, error, place = start_rollback(loaded, console, target.id)
    show_end(console, record, place, json)
    if error is not None:
        raise error


@task(
    help=flags("env", "project", "yes", reason="why the holder will not come back; it is written down"),
    positional=[],
)
@operator
def unlock(
    context: Context, reason: str = "", env: str | None = None, project: str | None = None, yes: bool = False
) -> None:
    """Free the environment's lock that a dead release holds, without waiting for its lease to run out."""
    from gli_tasks.console import Console
    from gli_tasks.edge import operator_name
    from gli_tasks.errors import UsageError

    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "aws", "state")
    if not reason.strip():
        raise UsageError("a lock is broken open for a reason", remedy="add --reason '...'")
    from gli_tasks.release.lock import Lock

    lock = Lock(aws_for(loaded).client("s3"), loaded.settings.state.bucket)
    seen = lock.look()
    if seen is not None and seen.holder.token:
        holder = seen.holder
        console.line(
            f"{holder.who} holds it since {holder.since} for release {holder.release}; renewed {seen.age_s:.0f} s ago"
        )
    confirm(console, "breaking the lock open", loaded, yes)
    broken = lock.break_open(operator_name(), reason)
    console.answer(f"freed; it was {broken.who}'s for release {broken.release}")


def collection(settings_folder: Path) -> Collection:
    """Return the collection, with one release task for each environment that any project has."""
    folder = Path(os.environ.get("GLI_ENV_FOLDER") or settings_folder)
    # The names that settings/load.py takes for environments; importing it would slow down `invoke --list`.
    environments = sorted({file.stem for file in folder.glob("*/*.env") if re.fullmatch("[a-z][a-z0-9-]*", file.stem)})
    return Collection(status, history, rollback, unlock, *(release_task(environment) for environment in environments))
