"""The steps on images: `image.build` and `image.push`."""

from __future__ import annotations

from gli_tasks.image.build import build_image
from gli_tasks.image.plan import labels
from gli_tasks.image.push import push_image
from gli_tasks.registry import ImageFacts, find_image
from gli_tasks.release.run import Run
from gli_tasks.release.steps.sources import commit_of
from gli_tasks.release.steps.step import Foreseen
from gli_tasks.settings.model import EcsService


def image_build(run: Run) -> str:
    """Build the image of each service whose commit is not in the registry yet."""
    registry = run.settings.registry

    def build(name: str, service: EcsService) -> str:
        if is_present(run, name, service):
            return f"{name} is in the registry already"
        recorded = run.service(name)
        build_image(
            service.source,
            f"{registry.host}/{service.repository}:{recorded.image_tag}",
            dockerfile=service.dockerfile,
            labels=labels(
                commit=recorded.commit,
                dirty=recorded.dirty,
                moment=run.started,
                source=service.source.name,
                version=recorded.commit[:12],
            ),
            arguments=service.build_arguments,
            platform=service.platform,
            timeout_s=registry.timeout_s,
            on_line=lambda line: run.progress.says("image.build", f"{name} | {line}"),
        )
        return f"{name} {recorded.image_tag[:12]}"

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
        recorded = run.service(name)
        if recorded.digest:
            return f"{name} {recorded.digest[:19]} was there already"
        pushed = push_image(
            ecr,
            registry.host,
            service.repository,
            recorded.image_tag,
            timeout_s=registry.timeout_s,
            on_line=lambda line: run.progress.says("image.push", f"{name} | {line}"),
        )
        _note_image(run, name, pushed)
        return f"{name} {pushed.digest[:19]}"

    return ", ".join(run.each(run.settings.ecs_services, push).values())


def image_push_foreseen(run: Run) -> Foreseen:
    """Say which images would be pushed."""

    def foresee(name: str, service: EcsService) -> str:
        if is_present(run, name, service):
            return ""
        return f"push {run.settings.registry.host}/{service.repository}:{run.service(name).image_tag[:12]}"

    return _foreseen(run.each(run.settings.ecs_services, foresee))


def _foreseen(sentences: dict[str, str]) -> Foreseen:
    there = [f"{name} is in the registry already" for name, sentence in sentences.items() if not sentence]
    return Foreseen(", ".join(there), tuple(filter(None, sentences.values())))


def is_present(run: Run, name: str, service: EcsService) -> bool:
    """Tell whether the registry has the image of the service's commit, and note it in the record where it has."""
    commit_of(run, name, service)
    recorded = run.service(name)
    if recorded.digest:
        return True
    found = None if recorded.dirty else find_image(run.aws.client("ecr"), service.repository, recorded.image_tag)
    if found is not None:
        _note_image(run, name, found)
    return found is not None


def _note_image(run: Run, name: str, image: ImageFacts) -> None:
    reference = image.reference(run.settings.registry.host)
    run.update(lambda record: record.with_service(name, image=reference, digest=image.digest))
