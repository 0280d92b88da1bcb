"""`ecs.register`, `ecs.update` and `ecs.wait`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import aws_for, chosen, confirm, flags, operator, pick, require_present


@task(help=flags("env", "project", "service", "yes", tag="the image's tag (default: the source's commit)"))
@operator
def register(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    tag: str | None = None,
    yes: bool = False,
) -> None:
    """Register each service's task definition with its image by digest; an equal one is not registered twice."""
    from gli_tasks.console import Console
    from gli_tasks.ecs.definition import register as register_definition
    from gli_tasks.ecs.definition import rendered
    from gli_tasks.errors import UsageError
    from gli_tasks.registry import find_image
    from gli_tasks.source import read_source

    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "aws", "registry", "services")
    settings = loaded.settings
    services = pick(settings.ecs_services, service)
    aws = aws_for(loaded)
    confirm(console, f"registering {len(services)} task definitions", loaded, yes)
    aws.require_account()
    for name, one in services.items():
        wanted = tag or read_source(one.source).image_tag
        image = find_image(aws.client("ecr"), one.repository, wanted)
        if image is None:
            raise UsageError(f"{one.repository} has no image tagged {wanted}", remedy="run `invoke image.push` first")
        reference = image.reference(settings.registry.host)
        definition = rendered(
            settings.folder / one.task_definition, settings.values, one.container, reference, wanted[:12]
        )
        done = register_definition(aws.client("ecs"), definition, {"commit": wanted})
        console.answer(f"{name}: {done.arn}" + ("" if done.new else " (an equal one stood already)"))


@task(
    help=flags(
        "env", "project", "service", "yes", task_definition="family:revision or ARN (default: the newest of the family)"
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
) -> None:
    """Start a rolling deployment of each service, and print the deployment to follow."""
    import json

    from gli_tasks.console import Console
    from gli_tasks.ecs.definition import current
    from gli_tasks.ecs.deploy import update_service
    from gli_tasks.ecs.services import read_services
    from gli_tasks.errors import UsageError
    from gli_tasks.settings.interpolation import fill

    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "aws", "ecs", "services")
    settings = loaded.settings
    services = pick(settings.ecs_services, service)
    if task_definition and len(services) > 1:
        raise UsageError("one task definition does not fit several services", remedy="add --service")
    aws = aws_for(loaded)
    ecs = aws.client("ecs")
    confirm(console, f"updating {', '.join(services)}", loaded, yes)
    aws.require_account()
    before = read_services(ecs, settings.ecs.cluster, [one.service for one in services.values()])
    for name, one in services.items():
        template = json.loads((settings.folder / one.task_definition).read_text(encoding="utf-8-sig"))
        wanted = task_definition or fill(str(template["family"]), settings.values, lambda _: None)
        found = current(ecs, wanted)
        if found is None:
            raise UsageError(f"there is no task definition {wanted!r}", remedy="run `invoke ecs.register` first")
        started = update_service(
            ecs,
            settings.ecs.cluster,
            before[one.service],
            str(found["taskDefinitionArn"]),
            minimum_healthy_percent=settings.rollout.minimum_healthy_percent,
            maximum_percent=settings.rollout.maximum_percent,
        )
        console.answer(
            f"{name}: {started.deployment_id} {started.task_definition_before.rsplit('/', 1)[-1]}"
            f" → {started.task_definition.rsplit('/', 1)[-1]}"
        )


@task(help=flags("env", "project", "service", deployment="the deployment's id (default: the primary one)"))
@operator
def wait(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    deployment: str | None = None,
) -> None:
    """Follow each service's deployment to its end; fail with the reason if it fails or is rolled back."""
    from gli_tasks.console import Console
    from gli_tasks.ecs.deploy import follow, require_completed
    from gli_tasks.ecs.services import read_services
    from gli_tasks.errors import UsageError

    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "aws", "ecs", "services")
    settings = loaded.settings
    names = [one.service for one in pick(settings.ecs_services, service).values()]
    if deployment and len(names) > 1:
        raise UsageError("one deployment does not fit several services", remedy="add --service")
    ecs = aws_for(loaded).client("ecs")
    facts = read_services(ecs, settings.ecs.cluster, names)
    ids = {name: deployment or (one.primary.id if one.primary else "") for name, one in facts.items()}
    ended = follow(
        ecs,
        settings.ecs.cluster,
        ids,
        timeout_s=settings.rollout.timeout_s,
        poll_s=settings.rollout.poll_s,
        on_change=lambda name, judgement: console.line(f"{name}: {judgement.sentence}"),
    )
    require_completed(ecs, settings.ecs.cluster, ended, {}, settings.rollout.timeout_s)
    for name in ended:
        console.answer(f"{name}: completed")
