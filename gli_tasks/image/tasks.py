"""`image.build`, `image.push` and `image.list`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import aws_for, chosen, confirm, flags, number, operator, pick, require_present


@task(help=flags("env", "project", "service"))
@operator
def build(context: Context, env: str | None = None, project: str | None = None, service: str | None = None) -> None:
    """Build each service's image, tagged with its commit."""
    from datetime import UTC, datetime

    from gli_tasks.console import Console
    from gli_tasks.image.build import build_image
    from gli_tasks.image.plan import labels
    from gli_tasks.source import read_source

    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "registry", "services")
    registry = loaded.settings.registry
    for name, one in pick(loaded.settings.ecs_services, service).items():
        source = read_source(one.source)
        reference = f"{registry.host}/{one.repository}:{source.image_tag}"
        identity = build_image(
            one.source,
            reference,
            dockerfile=one.dockerfile,
            labels=labels(
                commit=source.commit,
                dirty=source.dirty,
                moment=datetime.now(UTC),
                source=one.source.name,
                version=source.version,
            ),
            arguments=one.build_arguments,
            platform=one.platform,
            timeout_s=registry.timeout_s,
            on_line=lambda line, name=name: console.line(f"  {name} | {line}"),  # type: ignore[misc]
        )
        console.answer(f"{name}: {reference} ({identity})")


@task(help=flags("env", "project", "service", "yes"))
@operator
def push(
    context: Context, env: str | None = None, project: str | None = None, service: str | None = None, yes: bool = False
) -> None:
    """Push the image of each service's commit, and read its digest back."""
    from gli_tasks.console import Console
    from gli_tasks.image.push import push_image
    from gli_tasks.registry import find_image
    from gli_tasks.source import read_source

    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "registry", "services", "aws")
    registry = loaded.settings.registry
    services = pick(loaded.settings.ecs_services, service)
    confirm(console, f"pushing {len(services)} images to {registry.host}", loaded, yes)
    aws = aws_for(loaded)
    aws.require_account()
    for name, one in services.items():
        source = read_source(one.source)
        present = None if source.dirty else find_image(aws.client("ecr"), one.repository, source.image_tag)
        if present is not None:
            console.answer(f"{name}: {present.reference(registry.host)} (it was there already)")
            continue
        pushed = push_image(
            aws.client("ecr"),
            registry.host,
            one.repository,
            source.image_tag,
            timeout_s=registry.timeout_s,
            on_line=lambda line, name=name: console.line(f"  {name} | {line}"),  # type: ignore[misc]
        )
        console.answer(f"{name}: {pushed.reference(registry.host)}")


@task(
    name="list", help=flags("env", "project", "service", "json", limit="how many of the newest to show (default: 10)")
)
@operator
def list_(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    json: bool = False,
    limit: str = "10",
) -> None:
    """List the newest images of each service's repository."""
    import dataclasses

    from gli_tasks.console import Console
    from gli_tasks.registry import list_images

    console = Console()
    count = int(number("limit", limit, 1, 1_000))
    loaded = chosen(env, project)
    require_present(loaded, "registry", "services", "aws")
    ecr = aws_for(loaded).client("ecr")
    found = {
        name: list_images(ecr, one.repository)[:count]
        for name, one in pick(loaded.settings.ecs_services, service).items()
    }
    if json:
        console.answer_json({name: [dataclasses.asdict(image) for image in images] for name, images in found.items()})
        return
    for name, images in found.items():
        rows = [(image.pushed_at, ", ".join(image.tags), image.digest, f"{image.size / 1e6:.1f}") for image in images]
        console.table(("pushed", "tags", "digest", "MB"), rows, name)
