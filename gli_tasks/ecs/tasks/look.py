"""`ecs.status` and `ecs.diff`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import flags, operator, pick, surroundings


@task(help=flags("env", "project", "service", "json"))
@operator
def status(
    context: Context, env: str | None = None, project: str | None = None, service: str | None = None, json: bool = False
) -> None:
    """Show each service's deployments, tasks, and newest events."""
    import dataclasses

    from gli_tasks.ecs.definition import short
    from gli_tasks.ecs.services import read_services

    at = surroundings(env, project, "aws", "ecs", "services")
    console = at.console
    names = [one.service for one in pick(at.settings.ecs_services, service).values()]
    facts = read_services(at.aws.client("ecs"), at.settings.ecs.cluster, names)
    if json:
        console.answer_json({name: dataclasses.asdict(one) for name, one in facts.items()})
        return
    for name, one in facts.items():
        console.table(
            ("deployment", "status", "rollout", "task definition", "running", "starting", "failed"),
            [
                (
                    deployment.id,
                    deployment.status,
                    deployment.rollout_state,
                    short(deployment.task_definition),
                    f"{deployment.running}/{deployment.desired}",
                    str(deployment.pending),
                    str(deployment.failed_tasks),
                )
                for deployment in one.deployments
            ],
            name,
        )
        for event in one.events[:5]:
            console.answer(f"  {event}")


@task(help=flags("env", "project", "service", "json", tag="the image's tag (default: the source's commit)"))
@operator
def diff(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    tag: str | None = None,
    json: bool = False,
) -> None:
    """Show what differs between the task definition that each service runs and the one that would be registered now."""
    import dataclasses

    from gli_tasks.ecs.definition import current, short, wanted
    from gli_tasks.ecs.difference import differences
    from gli_tasks.ecs.services import read_services
    from gli_tasks.source import read_source

    at = surroundings(env, project, "aws", "registry", "ecs", "services")
    settings, ecs, console = at.settings, at.aws.client("ecs"), at.console
    services = pick(settings.ecs_services, service)
    serving = read_services(ecs, settings.ecs.cluster, [one.service for one in services.values()])
    answer = {}
    for name, one in services.items():
        runs = serving[one.service].task_definition
        asked = tag or read_source(one.source).image_tag
        file = settings.folder / one.task_definition
        ecr, host = at.aws.client("ecr"), settings.registry.host
        found = wanted(ecr, host, one.repository, asked, file, settings.values, one.container)
        changes = differences(current(ecs, runs), found.definition)
        answer[name] = {"serving": runs, "image": found.image, "image_pushed": found.pushed, "changes": changes}
        if json:
            continue
        note = "" if found.pushed else f" (its image, tagged {asked}, is not in the registry yet)"
        console.answer(f"{name}: {short(runs)} → what would be registered{note}")
        for change in changes or ("nothing differs",):
            console.answer(f"  {change}")
    if json:
        console.answer_json(
            {
                name: {**one, "changes": [dataclasses.asdict(change) for change in one["changes"]]}  # type: ignore[attr-defined]
                for name, one in answer.items()
            }
        )
