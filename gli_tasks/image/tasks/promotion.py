"""`image.promote`."""

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
    from gli_tasks.image.promote import Place, Promotion
    from gli_tasks.settings.model import EcsService, Settings


@task(
    help=flags(
        "env",
        "project",
        "service",
        "yes",
        "json",
        "plan",
        from_="the environment whose image it is, and by default the one that it runs now (default: --env)",
        to="the environment whose repository gets it (default: --env)",
        digest="sha256:... of an image in the repository of --from, instead of the one that runs there",
        to_tag="the tag that it gets (default: its tags of commits and of its content)",
    )
)
@operator
def promote(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    from_: str | None = None,
    to: str | None = None,
    digest: str | None = None,
    to_tag: str | None = None,
    yes: bool = False,
    json: bool = False,
    plan: bool = False,
) -> None:
    """Give an environment's repository the image that another one has proven: the same digest, nothing built."""
    planned = planning(plan)
    from gli_tasks.console import Console
    from gli_tasks.errors import UsageError
    from gli_tasks.image.plan import require_tag
    from gli_tasks.image.promote import Place, decide_promotion
    from gli_tasks.image.promote import promote as give

    console = Console()
    if to_tag is not None:
        require_tag(to_tag)
    giving, taking = chosen(from_ or env, project), chosen(to or env, project)
    for one in (giving, taking):
        require_present(one, "registry", "services", "aws", *(() if digest else ("ecs",)))
    if giving.settings.environment == taking.settings.environment and not to_tag:
        raise UsageError(
            "this names one environment, and no tag",
            remedy="name another environment by --from or --to, or a tag by --to-tag",
        )
    services = pick(giving.settings.ecs_services, service)
    if digest and len(services) > 1:
        raise UsageError("a digest is of one service", remedy=f"name it by --service: {', '.join(services)}")
    from_aws, to_aws = aws_for(giving), aws_for(taking)
    ways: dict[str, tuple[Place, Promotion]] = {}
    for name, one in services.items():
        source = Place(from_aws.client("ecr"), giving.settings.registry.host, one.repository)
        other = pick(taking.settings.ecs_services, name)[name]
        target = Place(to_aws.client("ecr"), taking.settings.registry.host, other.repository)
        wanted = digest or _running(from_aws.client("ecs"), giving.settings, one, source)
        ways[name] = (source, decide_promotion(source, target, wanted, to_tag or ""))
    if planned:
        show_planned(console, [f"{name}: {way.sentence}" for name, (_, way) in ways.items() if way.sentence], json)
        return
    confirm(console, f"giving {len(ways)} images to {taking.settings.registry.host}", taking, yes)
    for aws in (from_aws, to_aws):
        aws.require_account()
    answers: dict[str, Any] = {}
    for name, (source, way) in ways.items():
        image = give(
            source,
            way,
            on_line=lambda line, name=name: console.line(f"  {name} | {line}"),  # type: ignore[misc]
        )
        reference = image.reference(way.target.host)
        answers[name] = {"image": reference, "tags": list(image.tags), "changed": bool(way.sentence)}
        if not json:
            console.answer(f"{name}: {reference}" + ("" if way.sentence else " (it was there already)"))
    if json:
        console.answer_json(answers)


def _running(ecs: Any, settings: Settings, service: EcsService, source: Place) -> str:
    """Return the digest that a service runs, which its rollout has proven."""
    from gli_tasks.errors import Refused
    from gli_tasks.image.running import proven_image
    from gli_tasks.registry import find_image

    image = proven_image(ecs, settings.ecs.cluster, service.service, service.container)
    name, _, digest = image.partition("@")
    tag = "latest"
    if ":" in name.rpartition("/")[2]:
        name, _, tag = name.rpartition(":")
    if name != f"{source.host}/{source.repository}":
        raise Refused(f"{service.service} runs {image}, which is not of {source.repository}", remedy="name a --digest")
    if digest:
        return digest
    found = find_image(source.ecr, source.repository, tag)
    if found is None:
        raise Refused(f"{service.service} runs {image}, which is not there any more", remedy="name a --digest")
    return found.digest
