"""`build.check` and `build.env`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import chosen, flags, operator, pick, planning, show_planned


@task(help=flags("env", "project", "service", "json"))
@operator
def check(
    context: Context, env: str | None = None, project: str | None = None, service: str | None = None, json: bool = False
) -> None:
    """Run each service's own checks; show warnings and bundle sizes."""
    from gli_tasks.build.check import run_checks
    from gli_tasks.console import Console

    console = Console()
    settings = chosen(env, project).settings
    answer = {}
    for name, one in pick(dict(settings.services), service).items():
        build = one.build
        console.line(f"{name}: {one.source}")
        result = run_checks(
            one.source,
            build.checks,
            output=build.output,
            bundle_limit_kb=build.bundle_limit_kb,
            timeout_s=build.timeout_s,
            on_line=lambda line: console.line(f"  | {line}"),
        )
        answer[name] = {"commands": result.commands, "warnings": result.warnings, "seconds": round(result.seconds, 2)}
        if result.bundle is not None:
            answer[name] |= {
                "loaded_gzip_bytes": result.bundle.loaded_gzip_size,
                "folder_bytes": result.bundle.folder_size,
            }
        if json:
            continue
        console.answer(f"OK  {name}: {result.commands} checks, {result.warnings} warnings, {result.seconds:.1f} s")
        if result.bundle is not None:
            rows = [
                (asset.path, f"{asset.size / 1000:.1f}", f"{asset.gzip_size / 1000:.1f}", "yes" if asset.loaded else "")
                for asset in result.bundle.assets
            ]
            console.table(("asset", "kB", "kB gzip", "loaded by index.html"), rows)
            console.answer(
                f"      index.html loads {result.bundle.loaded_gzip_size / 1000:.1f} kB gzip"
                f" (limit {build.bundle_limit_kb:g} kB); the folder is {result.bundle.folder_size / 1000:.1f} kB"
            )
    if json:
        console.answer_json(answer)


@task(name="env", help=flags("env", "project", "service", "plan"))
@operator
def environment(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    plan: bool = False,
) -> None:
    """Write the environment file of each front end (`.env.production`)."""
    plans = planning(plan)
    from datetime import UTC, datetime

    from gli_tasks.build.environment import write_environment
    from gli_tasks.console import Console
    from gli_tasks.source import read_source

    console = Console()
    settings = chosen(env, project).settings
    would = []
    for name, one in pick(dict(settings.services), service).items():
        if not one.build.environment and not one.build.computed:
            continue
        if plans:
            would.append(f"{name}: write {one.source / one.build.environment_file}")
            continue
        source = read_source(one.source)
        written = write_environment(
            one.source,
            one.build.environment_file,
            one.build.environment,
            one.build.computed,
            commit=source.commit,
            branch=source.branch or settings.git.branch,
            moment=datetime.now(UTC),
        )
        console.answer(f"{name}: {written}")
    if plans:
        show_planned(console, would)
