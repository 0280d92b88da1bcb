"""The one table that binds the names in a pipeline to what the rooms do, and writes what came of it to the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gli_tasks.build.check import run_checks
from gli_tasks.build.environment import write_environment
from gli_tasks.ecs import deploy
from gli_tasks.ecs.definition import register, rendered
from gli_tasks.ecs.services import read_services, require_settled
from gli_tasks.errors import Refused
from gli_tasks.git.plan import findings, tag_name
from gli_tasks.git.repository import read_repository, tag_commit, untag_commit
from gli_tasks.health.expectations import expectations
from gli_tasks.health.plan import CheckResult
from gli_tasks.health.probe import wait_healthy
from gli_tasks.image.build import build_image
from gli_tasks.image.plan import labels
from gli_tasks.image.push import push_image
from gli_tasks.registry import ImageFacts, find_image
from gli_tasks.release.news import tell
from gli_tasks.release.record import CheckRecord, Outcome
from gli_tasks.release.run import Run
from gli_tasks.settings.model import EcsService, Service
from gli_tasks.source import Source, read_source


@dataclass(frozen=True, slots=True)
class Step:
    """A step: what it does, whether that changes anything outside, and how it is undone.

    Both return a sentence for the record and the operator.
    """

    act: Callable[[Run], str]
    changes: bool = False
    undo: Callable[[Run], str] | None = None


def _git_check(run: Run) -> str:
    git = run.settings.git

    def check(name: str, service: Service) -> tuple[str, ...]:
        facts = read_repository(service.source, git.remote, git.branch)
        _note_source(run, name, facts.source)
        found = findings(facts, git.branch, git.remote, git.subject_prefixes)
        return tuple(f"{name} ({service.source}) {sentence}" for sentence in found)

    found = [sentence for sentences in run.each(run.settings.services, check).values() for sentence in sentences]
    if found:
        raise Refused(
            "the sources are not ready to be released:\n" + "\n".join(f"  - {sentence}" for sentence in found),
            remedy="mend what is named above",
        )
    return ", ".join(f"{name} {run.service(name).commit[:12]}" for name in run.settings.services)


def _build_env(run: Run) -> str:
    written = []
    for name, service in run.settings.services.items():
        build = service.build
        if not build.environment and not build.computed:
            continue
        commit = _commit(run, name, service)
        file = write_environment(
            service.source,
            build.environment_file,
            build.environment,
            build.computed,
            commit=commit,
            branch=run.service(name).branch,
            moment=run.started,
        )
        written.append(f"{name} {file.name}")
    return ", ".join(written) or "no front end asks for one"


def _build_check(run: Run) -> str:
    def check(name: str, service: Service) -> str:
        build = service.build
        result = run_checks(
            service.source,
            build.checks,
            output=build.output,
            bundle_limit_kb=build.bundle_limit_kb,
            timeout_s=build.timeout_s,
            on_line=lambda line: run.progress.says("build.check", f"{name} | {line}"),
            stop=run.stop.is_set,
        )
        sentence = f"{name} {result.commands} checks, {result.warnings} warnings"
        if result.bundle is not None:
            sentence += f", {result.bundle.loaded_gzip_size / 1000:.1f} kB gzip"
        return sentence

    return "; ".join(run.each(run.settings.services, check).values())


def _image_build(run: Run) -> str:
    registry = run.settings.registry
    ecr = run.aws.client("ecr")

    def build(name: str, service: EcsService) -> str:
        commit = _commit(run, name, service)
        recorded = run.service(name)
        tag = recorded.image_tag
        present = None if recorded.dirty else find_image(ecr, service.repository, tag)
        if present is not None:
            _note_image(run, name, present)
            return f"{name} is in the registry already"
        build_image(
            service.source,
            f"{registry.host}/{service.repository}:{tag}",
            dockerfile=service.dockerfile,
            labels=labels(
                commit=commit, dirty=recorded.dirty, moment=run.started, source=service.source.name, version=commit[:12]
            ),
            arguments=service.build_arguments,
            platform=service.platform,
            timeout_s=registry.timeout_s,
            on_line=lambda line: run.progress.says("image.build", f"{name} | {line}"),
        )
        return f"{name} {tag[:12]}"

    return ", ".join(run.each(run.settings.ecs_services, build).values())


def _image_push(run: Run) -> str:
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


def _note_image(run: Run, name: str, image: ImageFacts) -> None:
    reference = image.reference(run.settings.registry.host)
    run.update(lambda record: record.with_service(name, image=reference, digest=image.digest))


def _ecs_register(run: Run) -> str:
    ecs = run.aws.client("ecs")

    def one(name: str, service: EcsService) -> str:
        recorded = run.service(name)
        if not recorded.image:
            raise Refused(f"{name} has no image yet", remedy="put image.push before ecs.register in the pipeline")
        definition = rendered(
            run.settings.folder / service.task_definition,
            run.settings.values,
            service.container,
            recorded.image,
            recorded.commit[:12],
        )
        registered = register(ecs, definition, {"commit": recorded.commit, "release": run.record.id})
        run.update(lambda record: record.with_service(name, task_definition=registered.arn))
        short = registered.arn.rsplit("/", 1)[-1]
        return short if registered.new else f"{short} (an equal one stood already)"

    return ", ".join(run.each(run.settings.ecs_services, one).values())


def _ecs_update(run: Run) -> str:
    ecs = run.aws.client("ecs")
    cluster = run.settings.ecs.cluster
    services = run.settings.ecs_services
    before = read_services(ecs, cluster, [service.service for service in services.values()])
    require_settled(before)
    for name, service in services.items():
        # Known before the call: a call whose answer is lost must be undone as well.
        known = before[service.service].task_definition
        run.update(lambda record, name=name, known=known: record.with_service(name, task_definition_before=known))  # type: ignore[misc]
    run.save()
    sentences = []
    for name, service in services.items():
        started = deploy.update_service(
            ecs,
            cluster,
            before[service.service],
            run.service(name).task_definition,
            minimum_healthy_percent=run.settings.rollout.minimum_healthy_percent,
            maximum_percent=run.settings.rollout.maximum_percent,
        )
        run.update(
            lambda record, name=name, started=started: record.with_service(name, deployment=started.deployment_id)  # type: ignore[misc]
        )
        change = f"{_short(started.task_definition_before)} → {_short(started.task_definition)}"
        sentences.append(change if started.changed else f"{service.service} runs it already")
    return ", ".join(sentences)


def _ecs_update_undo(run: Run) -> str:
    changed = [
        deploy.Started(service.service, recorded.deployment, recorded.task_definition, recorded.task_definition_before)
        for name, service in run.settings.ecs_services.items()
        if (recorded := run.service(name)).task_definition_before
    ]
    confirmed = deploy.restore(
        run.aws.client("ecs"),
        run.settings.ecs.cluster,
        changed,
        timeout_s=run.settings.rollout.restore_timeout_s,
        poll_s=run.settings.rollout.poll_s,
        on_change=lambda name, judgement: run.progress.says("ecs.update", f"back: {name} {judgement.sentence}"),
    )
    return "; ".join(confirmed) or "nothing had changed"


def _ecs_wait(run: Run) -> str:
    rollout = run.settings.rollout
    services = run.settings.ecs_services
    deployments = {service.service: run.service(name).deployment for name, service in services.items()}
    ecs = run.aws.client("ecs")
    ended = deploy.follow(
        ecs,
        run.settings.ecs.cluster,
        deployments,
        timeout_s=rollout.timeout_s,
        poll_s=rollout.poll_s,
        on_change=lambda name, judgement: run.progress.says("ecs.wait", f"{name}: {judgement.sentence}"),
        sleep=run.sleep,
    )
    expected = {
        service.service: deploy.Expected(service.container, run.service(name).digest)
        for name, service in services.items()
    }
    deploy.require_completed(ecs, run.settings.ecs.cluster, ended, expected, rollout.timeout_s)
    return ", ".join(f"{name} {judgement.sentence}" for name, judgement in ended.items())


def _health_check(run: Run) -> str:
    health = run.settings.health
    last: dict[str, CheckResult] = {}

    def note(result: CheckResult) -> None:
        last[result.name] = result
        found = "; ".join(result.findings) or f"{result.status} in {result.latency_ms:.0f} ms"
        run.progress.says("health.check", f"{result.name}: {found}")

    try:
        results = wait_healthy(
            expectations(health),
            certificate_days=health.certificate_days,
            connect_to=health.connect_to,
            ca_file=health.ca_file,
            request_timeout_s=health.request_timeout_s,
            timeout_s=health.timeout_s,
            interval_s=health.interval_s,
            on_result=note,
            sleep=run.sleep,
        )
    finally:
        checks = tuple(
            CheckRecord(one.name, one.url, one.status, one.latency_ms, one.certificate_days, one.findings)
            for one in last.values()
        )
        run.update(lambda record: replace(record, checks=checks))
    return f"{len(results)} checks passed"


def _git_tag(run: Run) -> str:
    git = run.settings.git
    if not git.tag_prefix:
        return "no tags are made here"
    tag = tag_name(git.tag_prefix, run.started)
    commits: dict[str, str] = {}
    for name, service in run.settings.services.items():
        commit = _commit(run, name, service)
        commits[run.service(name).root] = commit
    for root, commit in commits.items():
        tag_commit(Path(root), git.remote, tag, commit, f"release {run.record.id}")
    run.update(lambda record: replace(record, tag=tag))
    return f"{tag} in {len(commits)} repositories"


def _git_tag_undo(run: Run) -> str:
    git, tag = run.settings.git, tag_name(run.settings.git.tag_prefix, run.started)
    if not git.tag_prefix:
        return "no tags are made here"
    commits = {one.root: one.commit for one in run.record.services.values() if one.root}
    removed = sum(untag_commit(Path(root), git.remote, tag, commit) for root, commit in commits.items())
    run.update(lambda record: replace(record, tag=""))
    return f"the tag {tag} is gone from {removed} repositories"


def _notify(run: Run) -> str:
    return tell(run, Outcome.HEALTHY)


def _note_source(run: Run, name: str, source: Source) -> None:
    branch = source.branch or run.settings.git.branch
    run.update(
        lambda record: record.with_service(
            name,
            commit=source.commit,
            branch=branch,
            root=source.root,
            dirty=source.dirty,
            image_tag=source.image_tag,
        )
    )


def _commit(run: Run, name: str, service: Service) -> str:
    """Return the service's commit; read it where the pipeline has no git.check."""
    if not run.service(name).commit:
        _note_source(run, name, read_source(service.source))
    return run.service(name).commit


def _short(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


STEPS: Mapping[str, Step] = {
    "git.check": Step(_git_check),
    "build.env": Step(_build_env),
    "build.check": Step(_build_check),
    "image.build": Step(_image_build),
    "image.push": Step(_image_push, changes=True),
    "ecs.register": Step(_ecs_register, changes=True),
    "ecs.update": Step(_ecs_update, changes=True, undo=_ecs_update_undo),
    "ecs.wait": Step(_ecs_wait, changes=True),
    "health.check": Step(_health_check),
    "git.tag": Step(_git_tag, changes=True, undo=_git_tag_undo),
    "notify": Step(_notify),
}
