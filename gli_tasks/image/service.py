"""A service's image of its commit: what it is made of, built, pushed, or used again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gli_tasks.image.build import build_image
from gli_tasks.image.content import Content, content_now, read_content
from gli_tasks.image.plan import labels
from gli_tasks.image.push import push_image
from gli_tasks.image.reuse import adopt, find_reusable
from gli_tasks.registry import ImageFacts
from gli_tasks.settings.model import EcsService
from gli_tasks.source import Source, git, read_source


@dataclass(frozen=True, slots=True)
class Provided:
    """The image of a service's commit in the registry; ``built`` tells whether it had to be built for that."""

    source: Source
    content: Content
    image: ImageFacts
    built: bool


def service_content(service: EcsService, source: Source) -> Content:
    """Return what the service's image would be made of."""
    return read_content(
        service.source,
        source,
        dockerfile=service.dockerfile,
        arguments=service.build_arguments,
        platform=service.platform,
    )


def build_service(
    service: EcsService,
    host: str,
    source: Source,
    content: Content,
    *,
    timeout_s: float = 1_200,
    on_line: Callable[[str], None],
) -> str:
    """Build the service's image under its commit's tag and return the image's id. Raises as ``build_image`` does.

    Its labels say which commit and content it is of, and have the commit's time, so that equal content gives equal
    labels. The content's key is told again, of what the engine is about to be sent.
    """
    content = content_now(
        content,
        service.source,
        dockerfile=service.dockerfile,
        arguments=service.build_arguments,
        platform=service.platform,
    )
    base = content.base
    seconds = int(git(service.source, "show", "-s", "--format=%ct", source.commit).strip())
    return build_image(
        service.source,
        f"{host}/{service.repository}:{source.image_tag}",
        dockerfile=service.dockerfile,
        labels=labels(
            commit=source.commit,
            dirty=source.dirty,
            moment=datetime.fromtimestamp(seconds, UTC),
            source=service.source.name,
            version=source.version,
            content_key=content.key,
            base=(base.name, base.digest) if base else ("", ""),
        ),
        arguments=service.build_arguments,
        platform=service.platform,
        bases=content.bases,
        timeout_s=timeout_s,
        on_line=on_line,
    )


def provide_image(
    ecr: Any, service: EcsService, host: str, *, timeout_s: float = 1_200, on_line: Callable[[str], None]
) -> Provided:
    """Make sure that the registry has the image of the service's commit, by the shortest way, and return it.

    Raises UsageError, BuildFailed, PushFailed.
    """
    source = read_source(service.source)
    content = service_content(service, source)
    if content.note:
        on_line(content.note)
    found = find_reusable(ecr, service.repository, source.image_tag, content)
    if found is not None:
        return Provided(source, content, adopt(ecr, found, source.image_tag), built=False)
    build_service(service, host, source, content, timeout_s=timeout_s, on_line=on_line)
    image = push_image(
        ecr,
        host,
        service.repository,
        source.image_tag,
        content_key=content.key,
        timeout_s=timeout_s,
        on_line=on_line,
    )
    return Provided(source, content, image, built=True)
