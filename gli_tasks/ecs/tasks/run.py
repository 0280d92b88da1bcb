"""`ecs.run`, `ecs.exec` and `ecs.logs`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import (
    ended_as_by_ctrl_c,
    flags,
    number,
    operator,
    pick,
    pick_one,
    planning,
    show_planned,
    surroundings,
    whole_number,
)


@task(
    help=flags(
        "env",
        "project",
        "service",
        "yes",
        "plan",
        "json",
        command="what to run, as one string; quoted as for a shell",
        default_command="run the image's own command, which for a service is its server",
        task_definition="family:revision or ARN (default: the one that serves)",
        cpu="CPU units of the task, such as 512 (default: the task definition's)",
        memory="MiB of the task, such as 1024 (default: the task definition's)",
        timeout="seconds until the task is stopped (default: 3600)",
    ),
    positional=[],
)
@operator
def run(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    command: str | None = None,
    default_command: bool = False,
    task_definition: str | None = None,
    cpu: str | None = None,
    memory: str | None = None,
    timeout: str = "3600",
    yes: bool = False,
    plan: bool = False,
    json: bool = False,
) -> None:
    """Run a one-off task where a service's tasks run: its lines as they come, and success only with exit code 0."""
    import dataclasses
    import shlex

    plans = planning(plan)
    from gli_tasks.ecs.definition import short
    from gli_tasks.ecs.one_off import placement_of, require_no_secrets, require_success, run_once
    from gli_tasks.errors import UsageError

    timeout_s = number("timeout", timeout, 1, 86_400)
    try:
        words = shlex.split(command or "")
    except ValueError as error:
        raise UsageError(f"--command is not quoted as for a shell: {error}") from None
    if bool(words) == default_command:
        raise UsageError("a task runs either --command, or the image's own with --default-command", remedy="say which")
    at = surroundings(env, project, "aws", "ecs", "services")
    settings, ecs = at.settings, at.aws.client("ecs")
    name, one = pick_one(settings.ecs_services, service)
    require_no_secrets(words, {})
    if not plans:
        at.allow(f"running {shlex.join(words) or 'the image itself'} as a task of {name}", yes)
    placement = placement_of(ecs, settings.ecs.cluster, one.service)
    if task_definition:
        placement = dataclasses.replace(placement, task_definition=task_definition)
    if plans:
        what = shlex.join(words) or "the image's own command"
        show_planned(at.console, [f"{name}: run {what} in {short(placement.task_definition)}, one task"], json)
        return
    with ended_as_by_ctrl_c():
        done = run_once(
            ecs,
            at.aws.client("logs"),
            placement,
            container=one.container,
            command=words,
            environment={},
            cpu=cpu or "",
            memory=memory or "",
            timeout_s=timeout_s,
            poll_s=settings.rollout.poll_s,
            on_line=at.console.line if json else at.console.answer,
        )
    if json:
        at.console.answer_json(dataclasses.asdict(done))
    require_success(done)
    at.console.line(f"task {done.task} ended with exit code 0 after {done.seconds:.1f} s")


@task(
    name="exec",
    help=flags(
        "env",
        "project",
        "service",
        "yes",
        "plan",
        task="the task's id, or what it begins with (default: the newest that runs)",
        container="the container (default: the service's own)",
        command="what to execute (default: /bin/sh)",
    ),
    positional=[],
)
@operator
def exec_(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    task: str | None = None,
    container: str | None = None,
    command: str = "/bin/sh",
    yes: bool = False,
    plan: bool = False,
) -> None:
    """Open a shell in a running task, or execute a command there, on this terminal."""
    import os

    plans = planning(plan)
    from gli_tasks.ecs.session import choose_door, open_session, read_doors, require_open, require_plugin

    at = surroundings(env, project, "aws", "ecs", "services")
    settings, ecs = at.settings, at.aws.client("ecs")
    name, one = pick_one(settings.ecs_services, service)
    cluster = settings.ecs.cluster
    door = choose_door(read_doors(ecs, cluster, one.service, container or one.container, task or ""), task or "")
    require_open(door, cluster, one.service)
    if plans:
        show_planned(at.console, [f"{name}: execute {command} in {door.container} of task {door.task}"])
        return
    require_plugin()
    at.allow(f"executing {command} in task {door.task} of {name}", yes)
    at.console.line(f"{name}: {door.container} of task {door.task}")
    open_session(
        ecs,
        cluster,
        door,
        command,
        region=settings.aws.region,
        profile=os.environ.get("AWS_PROFILE", ""),
        ssm_endpoint=str(at.aws.client("ssm").meta.endpoint_url),
    )


@task(
    help=flags(
        "env",
        "project",
        "service",
        "json",
        since="how far back: 30s, 10m, 2h or 1d (default: 10m)",
        lines="how many of the last lines of each service (default: 100)",
        follow="go on with new lines as they come, until Ctrl-C",
        filter="only lines that match this pattern of CloudWatch Logs",
    ),
    positional=[],
)
@operator
def logs(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    since: str = "10m",
    lines: str = "100",
    follow: bool = False,
    filter: str | None = None,
    json: bool = False,
) -> None:
    """Show the last lines of each service's tasks, and with --follow the new ones as they come."""
    import json as encoding
    import time
    from datetime import UTC, datetime

    from gli_tasks.ecs.logs import LogLine, LogReader, follow_lines, last_lines, places_of, seconds_of

    count = whole_number("lines", lines, 0, 10_000)
    since_ms = int((time.time() - seconds_of(since)) * 1_000)
    at = surroundings(env, project, "aws", "ecs", "services")
    services = {name: one.service for name, one in pick(at.settings.ecs_services, service).items()}
    places = places_of(at.aws.client("ecs"), at.settings.ecs.cluster, services)

    def show(line: LogLine) -> None:
        if json:
            moment = datetime.fromtimestamp(line.at_ms / 1_000, UTC).isoformat(timespec="milliseconds")
            one = {"time": moment, "service": line.service, "task": line.task, "text": line.text}
            at.console.answer(encoding.dumps(at.console.redactor.clean_tree(one), ensure_ascii=False))
        else:
            at.console.answer(f"{line.service}/{line.task[:8]} {line.text}")

    readers = [LogReader(at.aws.client("logs"), place, since_ms, pattern=filter or "") for place in places]
    try:
        for line in last_lines(readers, count):
            show(line)
        if follow:
            follow_lines(readers, poll_s=at.settings.rollout.poll_s, on_line=show)
    except KeyboardInterrupt:
        # How following ends; there is nothing to say on it.
        raise SystemExit(130) from None
