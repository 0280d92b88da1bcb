"""The steps on images: `image.build` and `image.push`."""

from __future__ import annotations

from gli_tasks.image.content import Content
from gli_tasks.image.push import push_image
from gli_tasks.image.reuse import adopt, find_reusable
from gli_tasks.image.service import build_service, service_content
from gli_tasks.registry import ImageFacts
from gli_tasks.release.run import Run
from gli_tasks.release.steps.sources import source_of
from gli_tasks.release.steps.step import Foreseen
from gli_tasks.settings.model import EcsService


def image_build(run: Run) -> str:
    """Build the image of each service of which the registry has no equal one, by source and base images."""
    registry = run.settings.registry

    def build(name: str, service: EcsService) -> str:
        content = _content(run, name, service)
        if content.note:
            run.progress.says("image.build", f"{name} | {content.note}")
        if _reusable(run, name, service, content) is not None:
            return f"{name} is in the registry already"
        source = source_of(run, name, service)
        build_service(
            service,
            registry.host,
            source,
            content,
            timeout_s=registry.timeout_s,
            on_line=lambda line: run.progress.says("image.build", f"{name} | {line}"),
        )
        return f"{name} {source.image_tag[:12]}"

    return ", ".join(run.each(run.settings.ecs_services, build).values())


def image_build_foreseen(run: Run) -> Foreseen:
    """Say which images would be built."""

    def foresee(name: str, service: EcsService) -> str:
        if is_present(run, name, service):
            return ""
        return f"build {service.repository}:{run.service(name).image_tag[:12]} from {service.source}"

    return _foreseen(run.each(run.settings.ecs_services, foresee))


def image_push(run: Run) -> str:
    """Push each image that was built, and believe it when the registry shows its digest."""
    registry = run.settings.registry
    ecr = run.aws.client("ecr")

    def push(name: str, service: EcsService) -> str:
        source = source_of(run, name, service)
        content = _content(run, name, service)
        found = _reusable(run, name, service, content)
        if found is not None:
            _note_image(run, name, adopt(ecr, found, source.image_tag))
            return f"{name} {found.digest[:19]} was there already"
        pushed = push_image(
            ecr,
            registry.host,
            service.repository,
            source.image_tag,
            content_key=content.key,
            timeout_s=registry.timeout_s,
            on_line=lambda line: run.progress.says("image.push", f"{name} | {line}"),
        )
        _note_image(run, name, pushed)
        return f"{name} {pushed.digest[:19]}"

    return ", ".join(run.each(run.settings.ecs_services, push).values())


def image_push_foreseen(run: Run) -> Foreseen:
    """Say which images would be pushed."""

    def foresee(name: str, service: EcsService) -> str:
        tag = source_of(run, name, service).image_tag
        found = _reusable(run, name, service, _content(run, name, service))
        if found is not None:
            return "" if tag in found.tags else f"tag {service.repository}@{found.digest[:19]} as {tag[:12]} too"
        return f"push {run.settings.registry.host}/{service.repository}:{run.service(name).image_tag[:12]}"

    return _foreseen(run.each(run.settings.ecs_services, foresee))


def _foreseen(sentences: dict[str, str]) -> Foreseen:
    there = [f"{name} is in the registry already" for name, sentence in sentences.items() if not sentence]
    return Foreseen(", ".join(there), tuple(filter(None, sentences.values())))


def is_present(run: Run, name: str, service: EcsService) -> bool:
    """Tell whether the registry has an image equal to what would be built, and note it in the record where it has."""
    if run.service(name).digest:
        return True
    found = _reusable(run, name, service, _content(run, name, service))
    if found is not None:
        _note_image(run, name, found)
    return found is not None


def _content(run: Run, name: str, service: EcsService) -> Content:
    return run.content(name, lambda: service_content(service, source_of(run, name, service)))


def _reusable(run: Run, name: str, service: EcsService, content: Content) -> ImageFacts | None:
    tag = source_of(run, name, service).image_tag
    return find_reusable(run.aws.client("ecr"), service.repository, tag, content)


def _note_image(run: Run, name: str, image: ImageFacts) -> None:
    reference = image.reference(run.settings.registry.host)
    run.update(lambda record: record.with_service(name, image=reference, digest=image.digest))
