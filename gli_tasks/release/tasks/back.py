"""`release.rollback`, `release.resume`, `release.abort` and `release.unlock`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import aws_for, chosen, confirm, flags, operator, planning, require_present, show_planned


@task(
    help=flags(
        "env", "project", "yes", "json", "plan", to="the release to go back to (default: the last other healthy one)"
    ),
    positional=[],
)
@operator
def rollback(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    to: str = "",
    yes: bool = False,
    json: bool = False,
    plan: bool = False,
) -> None:
    """Go back at once to the last release that ended healthy and does not serve now, or to another one."""
    from gli_tasks.console import Console

    only_plan = planning(plan)
    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "aws", "state", "ecs", "services")
    from gli_tasks.release.rollback import find_target, sentences_of
    from gli_tasks.release.show import show_end, show_target
    from gli_tasks.release.start import start_rollback

    aws = aws_for(loaded)
    target = find_target(loaded.settings, aws, to)
    if only_plan:
        show_planned(console, sentences_of(loaded.settings, aws, target), json)
        return
    show_target(console, target)
    confirm(console, f"going back to release {target.id}", loaded, yes)
    show_end(console, start_rollback(loaded, console, target.id), json)


@task(
    help=flags("env", "project", "yes", "json", "plan", release="its id (default: the newest, which alone can go on)"),
    positional=[],
)
@operator
def resume(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    release: str = "",
    yes: bool = False,
    json: bool = False,
    plan: bool = False,
) -> None:
    """Go on with a release that was cut off or interrupted, to the end that it would have had."""
    from gli_tasks.console import Console

    only_plan = planning(plan)
    console = Console()
    loaded = chosen(env, project)
    require_present(loaded)
    from gli_tasks.release.open import find_open, require_same_sources, resume_release, steps_left
    from gli_tasks.release.show import show_end, show_open

    settings = loaded.settings
    found = find_open(settings, aws_for(loaded), release)
    left = steps_left(settings, found)
    require_same_sources(settings, found)
    if only_plan:
        show_planned(console, [f"do {step}" for step in left] or ["put back what it had changed"], json)
        return
    show_open(console, found, left)
    confirm(console, f"going on with release {found.id}", loaded, yes)
    show_end(console, resume_release(loaded, console, found.id), json)


@task(
    help=flags(
        "env",
        "project",
        "yes",
        "json",
        "plan",
        release="its id (default: the newest, which alone can be given up)",
        reason="why it is given up; it is written down",
    ),
    positional=[],
)
@operator
def abort(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    release: str = "",
    reason: str = "",
    yes: bool = False,
    json: bool = False,
    plan: bool = False,
) -> None:
    """Give up a release that was cut off: put back what it had changed, and close its record."""
    from gli_tasks.console import Console
    from gli_tasks.errors import UsageError

    only_plan = planning(plan)
    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "aws", "state", "ecs", "services")
    if not reason.strip() and not only_plan:
        raise UsageError("a release is given up for a reason", remedy="add --reason '...'")
    from gli_tasks.release.open import abort_release, find_open, plan_of_abort
    from gli_tasks.release.show import show_end, show_open

    found = find_open(loaded.settings, aws_for(loaded), release)
    if only_plan:
        would = plan_of_abort(loaded, console, found)
        show_planned(console, [*would, "close its record"], json)
        return
    show_open(console, found, ())
    confirm(console, f"giving up release {found.id}", loaded, yes)
    show_end(console, abort_release(loaded, console, found.id, reason), json)


@task(
    help=flags("env", "project", "yes", "plan", reason="why the holder will not come back; it is written down"),
    positional=[],
)
@operator
def unlock(
    context: Context,
    reason: str = "",
    env: str | None = None,
    project: str | None = None,
    yes: bool = False,
    plan: bool = False,
) -> None:
    """Free the environment's lock that a dead release holds, without waiting for its lease to run out."""
    from gli_tasks.console import Console
    from gli_tasks.edge import operator_name
    from gli_tasks.errors import UsageError

    only_plan = planning(plan)
    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "aws", "state")
    if not reason.strip() and not only_plan:
        raise UsageError("a lock is broken open for a reason", remedy="add --reason '...'")
    from gli_tasks.lock import Lock

    lock = Lock(aws_for(loaded).client("s3"), loaded.settings.state.bucket)
    seen = lock.look()
    held = seen is not None and bool(seen.holder.token)
    if seen is not None and held:
        holder = seen.holder
        console.line(
            f"{holder.who} holds it since {holder.since} for release {holder.release}; renewed {seen.age_s:.0f} s ago"
        )
    if only_plan:
        show_planned(console, ["free the lock"] if held else [])
        return
    confirm(console, "breaking the lock open", loaded, yes)
    broken = lock.break_open(operator_name(), reason)
    console.answer(f"freed; it was {broken.who}'s for release {broken.release}")
