"""`image.build` and `image.push`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke import Context, task

from gli_tasks.edge import (
    aws_for,
    chosen,
    confirm,
    flags,
    operator,
    pick,
    planning,
    require_present,
    show_planned,
)

if TYPE_CHECKING:
    from gli_tasks.console import Console
    from gli_tasks.image.content import Content
    from gli_tasks.registry import ImageFacts
    from gli_tasks.settings.model import EcsService
    from gli_tasks.source import Source


@task(
    help=flags(
        "env", "project", "service", "json", rebuild="build even what the registry has an equal image of; asks no AWS"
    )
)
@operator
def build(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    rebuild: bool = False,
    json: bool = False,
) -> None:
    """Build each service's image, tagged with its commit, unless the registry has an equal one."""
    from gli_tasks.console import Console
    from gli_tasks.image.service import build_service

    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "registry", "services", *(() if rebuild else ("aws",)))
    registry = loaded.settings.registry
    ecr = None if rebuild else aws_for(loaded).client("ecr")
    answers: dict[str, Any] = {}
    for name, one in pick(loaded.settings.ecs_services, service).items():
        source, content, found = _look(console, name, one, ecr)
        reference = f"{registry.host}/{one.repository}:{source.image_tag}"
        if found is not None:
            said = f"{found.reference(registry.host)} (an equal image is there: nothing to build)"
            answers[name] = _answer(found, registry.host, content, built=False)
        else:
            identity = build_service(
                one,
                registry.host,
                source,
                content,
                timeout_s=registry.timeout_s,
                on_line=lambda line, name=name: console.line(f"  {name} | {line}"),  # type: ignore[misc]
            )
            said = f"{reference} ({identity})"
            answers[name] = {"image": reference, "id": identity, "content": content.key, "built": True}
        if not json:
            console.answer(f"{name}: {said}")
    if json:
        console.answer_json(answers)


@task(
    help=flags(
        "env",
        "project",
        "service",
        "yes",
        "json",
        "plan",
        rebuild="push the engine's image also where the registry has an equal one, and give it that one's tags",
    )
)
@operator
def push(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    rebuild: bool = False,
    yes: bool = False,
    json: bool = False,
    plan: bool = False,
) -> None:
    """Push the image of each service's commit, unless the registry has an equal one, and read its digest back."""
    planned = planning(plan)
    from gli_tasks.console import Console
    from gli_tasks.image.push import push_image
    from gli_tasks.image.reuse import adopt

    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "registry", "services", "aws")
    registry = loaded.settings.registry
    services = pick(loaded.settings.ecs_services, service)
    aws = aws_for(loaded)
    ecr = aws.client("ecr")
    if planned:
        would = [_would_push(console, name, one, ecr, registry.host, rebuild) for name, one in services.items()]
        show_planned(console, [sentence for sentence in would if sentence], json)
        return
    confirm(console, f"pushing {len(services)} images to {registry.host}", loaded, yes)
    aws.require_account()
    answers: dict[str, Any] = {}
    for name, one in services.items():
        source, content, found = _look(console, name, one, None if rebuild else ecr)
        if found is not None:
            image = adopt(ecr, found, source.image_tag)
        else:
            image = push_image(
                ecr,
                registry.host,
                one.repository,
                source.image_tag,
                content_key=content.key,
                replacing=rebuild,
                timeout_s=registry.timeout_s,
                on_line=lambda line, name=name: console.line(f"  {name} | {line}"),  # type: ignore[misc]
            )
        if source.image_tag not in image.tags:
            console.line(f"  {name} | another image has {source.image_tag} for good; the tags: {', '.join(image.tags)}")
        answers[name] = _answer(image, registry.host, content, built=found is None)
        if not json:
            there = "" if found is None else " (it was there already)"
            console.answer(f"{name}: {image.reference(registry.host)}{there}")
    if json:
        console.answer_json(answers)


def _look(console: Console, name: str, service: EcsService, ecr: Any) -> tuple[Source, Content, ImageFacts | None]:
    """Return the service's source, what its image would be made of, and the image that is there, if ECR is asked."""
    from gli_tasks.image.reuse import find_reusable
    from gli_tasks.image.service import service_content
    from gli_tasks.source import read_source

    source = read_source(service.source)
    content = service_content(service, source)
    if content.note:
        console.line(f"  {name} | {content.note}")
    found = None if ecr is None else find_reusable(ecr, service.repository, source.image_tag, content)
    return source, content, found


def _would_push(console: Console, name: str, service: EcsService, ecr: Any, host: str, rebuild: bool) -> str:
    """Return what a push of the service's image would change; empty for nothing."""
    from gli_tasks.image.push import local_image

    source, content, found = _look(console, name, service, None if rebuild else ecr)
    reference = f"{host}/{service.repository}"
    if found is not None and source.image_tag in found.tags:
        return ""
    if found is not None:
        return f"{name}: {reference}@{found.digest} would be tagged {source.image_tag}; nothing would be pushed"
    local = local_image(f"{reference}:{source.image_tag}")
    if local is None:
        return f"{name}: {reference}:{source.image_tag} would have to be built first (`invoke image.build`)"
    if content.key and local.content_key != content.key:
        return f"{name}: {local.identity} is made of something else and would have to be built (`invoke image.build`)"
    tags = " and ".join(tag for tag in (content.tag, source.image_tag) if tag)
    return f"{name}: {local.identity} would be pushed to {reference} as {tags}"


def _answer(image: ImageFacts, host: str, content: Content, *, built: bool) -> dict[str, Any]:
    return {
        "image": image.reference(host),
        "digest": image.digest,
        "tags": list(image.tags),
        "content": content.key,
        "built": built,
    }
