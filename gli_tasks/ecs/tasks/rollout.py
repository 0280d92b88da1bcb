"""`ecs.register`, `ecs.update` and `ecs.wait`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import flags, operator, pick, planning, show_planned, surroundings


@task(
    help=flags("env", "project", "service", "yes", "plan", "json", tag="the image's tag (default: the source's commit)")
)
@operator
def register(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    tag: str | None = None,
    yes: bool = False,
    plan: bool = False,
    json: bool = False,
) -> None:
    """Register each service's task definition with its image by digest; an equal one is not registered twice."""
    import dataclasses

    plans = planning(plan)
    from gli_tasks.ecs.definition import current, wanted
    from gli_tasks.ecs.definition import register as register_definition
    from gli_tasks.ecs.difference import differences
    from gli_tasks.errors import UsageError
    from gli_tasks.source import read_source

    at = surroundings(env, project, "aws", "registry", "services")
    settings, ecs = at.settings, at.aws.client("ecs")
    services = pick(settings.ecs_services, service)
    if not plans:
        at.allow(f"registering {len(services)} task definitions", yes)
    found = {}
    for name, one in services.items():
        asked = tag or read_source(one.source).image_tag
        file = settings.folder / one.task_definition
        ecr, host = at.aws.client("ecr"), settings.registry.host
        found[name] = wanted(ecr, host, one.repository, asked, file, settings.values, one.container)
        if not found[name].pushed:
            raise UsageError(f"{one.repository} has no image tagged {asked}", remedy="run `invoke image.push` first")
    if plans:
        would = []
        for name, one in found.items():
            family = str(one.definition["family"])
            changes = differences(current(ecs, family), one.definition)
            if changes:
                would += [f"{name}: register the next revision of {family}", *(f"{name}: {one}" for one in changes)]
        show_planned(at.console, would, json)
        return
    done = {name: register_definition(ecs, one.definition, {"commit": one.tag}) for name, one in found.items()}
    if json:
        at.console.answer_json({name: dataclasses.asdict(one) for name, one in done.items()})
        return
    for name, registered in done.items():
        at.console.answer(f"{name}: {registered.arn}" + ("" if registered.new else " (an equal one stood already)"))


@task(
    help=flags(
        "env",
        "project",
        "service",
        "yes",
        "plan",
        "json",
        task_definition="family:revision or ARN (default: the newest of the family)",
    )
)
@operator
def update(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    task_definition: str | None = None,
    yes: bool = False,
    plan: bool = False,
    json: bool = False,
) -> None:
    """Start a rolling deployment of each service, and print the deployment to follow."""
    import dataclasses

    plans = planning(plan)
    from gli_tasks.ecs.definition import current, family_of, short
    from gli_tasks.ecs.deploy import update_service
    from gli_tasks.ecs.difference import differences
    from gli_tasks.ecs.services import read_services
    from gli_tasks.errors import UsageError

    at = surroundings(env, project, "aws", "ecs", "services")
    settings, ecs = at.settings, at.aws.client("ecs")
    services = pick(settings.ecs_services, service)
    if task_definition and len(services) > 1:
        raise UsageError("one task definition does not fit several services", remedy="add --service")
    if not plans:
        at.allow(f"updating {', '.join(services)}", yes)
    before = read_services(ecs, settings.ecs.cluster, [one.service for one in services.values()])
    found = {}
    for name, one in services.items():
        asked = task_definition or family_of(settings.folder / one.task_definition, settings.values)
        definition = current(ecs, asked)
        if definition is None:
            raise UsageError(f"there is no task definition {asked!r}", remedy="run `invoke ecs.register` first")
        found[name] = definition
    if plans:
        would = []
        for name, one in services.items():
            serving, arn = before[one.service].task_definition, str(found[name]["taskDefinitionArn"])
            if serving != arn:
                would.append(f"{name}: run {short(arn)} in place of {short(serving)}")
                would += [f"{name}: {change}" for change in differences(current(ecs, serving), found[name])]
        show_planned(at.console, would, json)
        return
    started = {
        name: update_service(
            ecs,
            settings.ecs.cluster,
            before[one.service],
            str(found[name]["taskDefinitionArn"]),
            minimum_healthy_percent=settings.rollout.minimum_healthy_percent,
            maximum_percent=settings.rollout.maximum_percent,
        )
        for name, one in services.items()
    }
    if json:
        at.console.answer_json({name: dataclasses.asdict(one) for name, one in started.items()})
        return
    for name, one in started.items():
        change = f"{short(one.task_definition_before)} → {short(one.task_definition)}"
        at.console.answer(f"{name}: {one.deployment_id} {change if one.changed else 'runs it already'}")


@task(help=flags("env", "project", "service", "json", deployment="the deployment's id (default: the primary one)"))
@operator
def wait(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    deployment: str | None = None,
    json: bool = False,
) -> None:
    """Follow each service's deployment to its end; fail with the reason if it fails or is rolled back."""
    import dataclasses

    from gli_tasks.ecs.deploy import follow, require_completed
    from gli_tasks.ecs.services import read_services
    from gli_tasks.errors import UsageError

    at = surroundings(env, project, "aws", "ecs", "services")
    settings, ecs = at.settings, at.aws.client("ecs")
    names = [one.service for one in pick(settings.ecs_services, service).values()]
    if deployment and len(names) > 1:
        raise UsageError("one deployment does not fit several services", remedy="add --service")
    facts = read_services(ecs, settings.ecs.cluster, names)
    ids = {name: deployment or (one.primary.id if one.primary else "") for name, one in facts.items()}
    ended = follow(
        ecs,
        settings.ecs.cluster,
        ids,
        timeout_s=settings.rollout.timeout_s,
        poll_s=settings.rollout.poll_s,
        on_change=lambda name, judgement: at.console.line(f"{name}: {judgement.sentence}"),
        client=at.aws.client,
    )
    require_completed(ecs, settings.ecs.cluster, ended, {}, settings.rollout.timeout_s, client=at.aws.client)
    if json:
        at.console.answer_json({name: dataclasses.asdict(one) for name, one in ended.items()})
        return
    for name in ended:
        at.console.answer(f"{name}: completed")
