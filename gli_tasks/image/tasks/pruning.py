"""`image.prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke import Context, task

from gli_tasks.edge import (
    aws_for,
    chosen,
    confirm,
    flags,
    number,
    operator,
    pick,
    planning,
    require_present,
    show_planned,
    whole_number,
)

if TYPE_CHECKING:
    from gli_tasks.console import Console
    from gli_tasks.image.plan import Stored
    from gli_tasks.settings import LoadedSettings

_TAGS_SHOWN = 3


@task(
    positional=[],
    help=flags(
        "env",
        "project",
        "service",
        "yes",
        "json",
        "plan",
        newest="how many of the newest stay (default: 30)",
        days="stays what is younger than so many days (default: 14)",
        records="stays what so many of the newest healthy releases ran (default: 20)",
    ),
)
@operator
def prune(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    newest: str = "30",
    days: str = "14",
    records: str = "20",
    yes: bool = False,
    json: bool = False,
    plan: bool = False,
) -> None:
    """Delete old images that no service, task or healthy release on record needs, in any environment.

    What has a tag that a person chose stays (`image.promote --to-tag`).
    """
    planned = planning(plan)
    from datetime import UTC, datetime, timedelta

    from gli_tasks.console import Console
    from gli_tasks.image.plan import kept_digests, prunable
    from gli_tasks.image.retention import delete_images, stored_images

    console = Console()
    stay = whole_number("newest", newest, 1, 10_000)
    young = timedelta(days=number("days", days, 0, 3_650))
    releases = whole_number("records", records, 1, 1_000)
    loaded = chosen(env, project)
    require_present(loaded, "registry", "services", "aws", "ecs", "state")
    aws = aws_for(loaded)
    ecr = aws.client("ecr")
    repositories = sorted({one.repository for one in pick(loaded.settings.ecs_services, service).values()})

    def decide() -> dict[str, tuple[tuple[Stored, ...], ...]]:
        needed = _needed(console, loaded, repositories, releases)
        found = {}
        for repository in repositories:
            images = stored_images(ecr, repository)
            keep = kept_digests(images, needed, repository)
            found[repository] = prunable(images, keep, stay, young, datetime.now(UTC))
        return found

    decided = decide()
    count = sum(len(wave) for waves in decided.values() for wave in waves)
    if planned or not count:
        show_planned(console, [line for name, waves in decided.items() for line in _sentences(name, waves)], json)
        return
    size = sum(image.size for waves in decided.values() for wave in waves for image in wave)
    confirm(console, f"deleting {count} images ({size / 1e6:.1f} MB) for good", loaded, yes)
    aws.require_account()
    # Looked at again, since a person took a while to answer: goes only what might go then and now.
    now = decide()
    answers: dict[str, Any] = {}
    for repository, waves in decided.items():
        still = {image for wave in now[repository] for image in wave}
        going = [[image for image in wave if image in still] for wave in waves]
        delete_images(ecr, repository, [[image.digest for image in wave] for wave in going])
        gone = [image for wave in going for image in wave]
        freed = sum(image.size for image in gone)
        answers[repository] = {"deleted": [image.digest for image in gone], "bytes": freed}
        if not json:
            console.answer(f"{repository}: {len(gone)} images deleted ({freed / 1e6:.1f} MB)")
    if json:
        console.answer_json(answers)


def _needed(console: Console, loaded: LoadedSettings, repositories: list[str], releases: int) -> frozenset[str]:
    """Return the images that any environment runs or has on record whose services share one of the repositories."""
    import os

    from gli_tasks.errors import Refused
    from gli_tasks.image.running import images_in_use
    from gli_tasks.releases_on_record import on_record
    from gli_tasks.settings import load_all
    from gli_tasks.settings.load import root_folder

    every, problems = load_all(root_folder(), os.environ)
    if problems:
        raise Refused(
            "the settings of other environments hold problems, so nobody can tell whose images these are",
            remedy="see `invoke config.check`",
        )
    needed: set[str] = set()
    for one in every:
        settings = one.settings
        mine = (settings.project, settings.environment) == (loaded.settings.project, loaded.settings.environment)
        shares = settings.registry.host == loaded.settings.registry.host and any(
            other.repository in repositories for other in settings.ecs_services.values()
        )
        if not (mine or shares):
            continue
        if not mine:
            console.line(f"  {settings.project} {settings.environment} has images there too")
        aws = aws_for(one)
        needed |= images_in_use(aws.client("ecs"), settings.ecs.cluster)
        needed |= on_record(aws.client("s3"), settings.state.bucket, releases).images
    return frozenset(needed)


def _sentences(repository: str, waves: tuple[tuple[Stored, ...], ...]) -> list[str]:
    images = [image for wave in waves for image in wave]
    if not images:
        return []
    lines = []
    for image in images:
        tags = ", ".join(image.tags[:_TAGS_SHOWN]) or "no tag"
        pushed = f"{image.pushed_at:%Y-%m-%d}" if image.pushed_at else "at no known time"
        lines.append(f"{repository}: {image.digest} ({tags}; pushed {pushed}, {image.size / 1e6:.1f} MB) would go")
    total = sum(image.size for image in images)
    return [*lines, f"{repository}: {len(images)} images, {total} bytes at most (layers may be shared)"]
