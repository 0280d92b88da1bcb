"""`image.list`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import aws_for, chosen, flags, operator, pick, require_present, whole_number


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
    count = whole_number("limit", limit, 1, 1_000)
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
