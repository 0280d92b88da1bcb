"""The steps on ECS: `ecs.verify`, `ecs.register`, `ecs.update` and `ecs.wait`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gli_tasks.ecs import deploy
from gli_tasks.ecs.definition import current, register, rendered
from gli_tasks.ecs.difference import Change, differences
from gli_tasks.ecs.equality import equal
from gli_tasks.ecs.findings import Finding, Level
from gli_tasks.ecs.plan import Rolling, ServiceFacts
from gli_tasks.ecs.services import read_services, require_settled
from gli_tasks.ecs.verify import Wanted, require_verified, verify
from gli_tasks.errors import NotRestored, Refused
from gli_tasks.release.run import Run
from gli_tasks.release.steps.images import is_present
from gli_tasks.release.steps.sources import commit_of
from gli_tasks.release.steps.step import Foreseen
from gli_tasks.settings.model import EcsService


def ecs_verify(run: Run) -> str:
    """Check every reference of the task definitions that are going to be registered. Raises Refused."""
    found = _verified(run)
    require_verified(found)
    return _counted(found)


def ecs_verify_foreseen(run: Run) -> Foreseen:
    """Say what the checks find now."""
    found = _verified(run)
    wrong = tuple(f"{one.subject}: {one.sentence}" for one in found if one.level is Level.NG)
    return Foreseen(_counted(found), obstacles=wrong, findings=found)


def _verified(run: Run) -> tuple[Finding, ...]:
    settings = run.settings
    cache = settings.cache
    wanted = [
        Wanted(
            name=name,
            service=service.service,
            definition=_definition(run, name, service),
            container=service.container,
            port=service.port,
            health_path=service.health_path,
            target_group=service.target_group,
            repository=service.repository,
            image_known=bool(run.service(name).digest),
            cache_encrypted=cache.transit_encryption if cache else None,
        )
        for name, service in settings.ecs_services.items()
    ]
    return verify(run.aws, settings.ecs.cluster, settings.registry.host, wanted)


def _counted(found: tuple[Finding, ...]) -> str:
    return ", ".join(f"{sum(one.level is level for one in found)} {level}" for level in Level)


def _definition(run: Run, name: str, service: EcsService) -> dict[str, Any]:
    """Return the task definition as it is going to be registered; with the image's tag where its digest is not known
    yet."""
    commit = commit_of(run, name, service)
    recorded = run.service(name)
    image = recorded.image or f"{run.settings.registry.host}/{service.repository}:{recorded.image_tag}"
    file = run.settings.folder / service.task_definition
    return rendered(file, run.settings.values, service.container, image, commit[:12])


def ecs_register(run: Run) -> str:
    """Register each service's task definition, unless an equal one stands already."""
    ecs = run.aws.client("ecs")

    def one(name: str, service: EcsService) -> str:
        recorded = run.service(name)
        if not recorded.image:
            raise Refused(f"{name} has no image yet", remedy="put image.push before ecs.register in the pipeline")
        registered = register(
            ecs, _definition(run, name, service), {"commit": recorded.commit, "release": run.record.id}
        )
        run.update(lambda record: record.with_service(name, task_definition=registered.arn))
        short = _short(registered.arn)
        return short if registered.new else f"{short} (an equal one stood already)"

    return ", ".join(run.each(run.settings.ecs_services, one).values())


def ecs_register_foreseen(run: Run) -> Foreseen:
    """Say which task definitions would be registered, and in what each differs from the one that serves."""
    ecs = run.aws.client("ecs")
    services = run.settings.ecs_services
    live = read_services(ecs, run.settings.ecs.cluster, [one.service for one in services.values()])

    images: dict[str, tuple[str, str]] = {}

    def foresee(name: str, service: EcsService) -> tuple[str, tuple[Change, ...]]:
        known = is_present(run, name, service)
        definition = _definition(run, name, service)
        newest = current(ecs, str(definition["family"]))
        serving = live[service.service].task_definition
        serves = newest if newest and newest["taskDefinitionArn"] == serving else current(ecs, serving)
        changes = differences(serves, definition)
        next_image = image_of(definition, service.container)
        images[name] = (
            image_of(serves or {}, service.container),
            next_image if known else f"{next_image} (its digest is known once it is pushed)",
        )
        if newest is not None and newest.get("status") == "ACTIVE" and equal(newest, definition):
            arn = str(newest["taskDefinitionArn"])
            run.update(lambda record: record.with_service(name, task_definition=arn))
            return "", changes
        after = f"after {_short(str(newest['taskDefinitionArn']))}" if newest else "the family's first"
        return f"register {definition['family']}, a new revision ({after})", changes

    seen = run.each(services, foresee)
    equal_ones = [f"{name} stands already" for name, (sentence, _) in seen.items() if not sentence]
    return Foreseen(
        ", ".join(equal_ones),
        tuple(sentence for sentence, _ in seen.values() if sentence),
        changes={name: changes for name, (_, changes) in seen.items()},
        images=images,
    )


def image_of(definition: Mapping[str, Any], container: str) -> str:
    """Return the image that a task definition gives a container; empty where it has no such container."""
    containers = definition.get("containerDefinitions", ())
    return next((str(one.get("image", "")) for one in containers if one.get("name") == container), "")


def ecs_update(run: Run) -> str:
    """Tell each service to run its new task definition; what runs before is on record before anything is told."""
    ecs = run.aws.client("ecs")
    cluster = run.settings.ecs.cluster
    services = run.settings.ecs_services
    before = read_services(ecs, cluster, [service.service for service in services.values()])
    cut_off = run.was_cut_off_in("ecs.update")
    require_settled({name: facts for name, facts in before.items() if not (cut_off and _is_ours(run, facts))})
    _require_tasks(before)
    for name, service in services.items():
        # Known before the call: a call whose answer is lost must be undone as well. And known from before the cut,
        # where there was one: the service may run the new version by now.
        if cut_off and run.service(name).task_definition_before:
            continue
        place = {"cluster": cluster, "service": service.service}
        known = {"task_definition_before": before[service.service].task_definition, **place}
        run.update(lambda record, name=name, known=known: record.with_service(name, **known))  # type: ignore[misc]
    run.save()
    sentences = []
    for name, service in services.items():
        facts = before[service.service]
        recorded = run.service(name)
        started = _adopted(service.service, facts, recorded.task_definition, recorded.task_definition_before)
        if started is None:
            started = deploy.update_service(
                ecs,
                cluster,
                facts,
                recorded.task_definition,
                minimum_healthy_percent=run.settings.rollout.minimum_healthy_percent,
                maximum_percent=run.settings.rollout.maximum_percent,
            )
        deployment = started.deployment_id
        run.update(lambda record, name=name, id=deployment: record.with_service(name, deployment=id))  # type: ignore[misc]
        change = f"{_short(started.task_definition_before)} → {_short(started.task_definition)}"
        sentences.append(change if started.changed else f"{service.service} runs it already")
    return ", ".join(sentences)


def _require_tasks(services: Mapping[str, ServiceFacts]) -> None:
    idle = [name for name, facts in services.items() if facts.desired == 0]
    if idle:
        raise Refused(
            f"no task runs of {', '.join(idle)}, so nothing could prove the new version",
            remedy="start some with `invoke ecs.scale`, then release",
        )


def _is_ours(run: Run, facts: ServiceFacts) -> bool:
    """Tell whether the rollout under way is the one that this release had started before it was cut off."""
    ours = {one.service: run.service(name).task_definition for name, one in run.settings.ecs_services.items()}
    return facts.primary is not None and facts.primary.task_definition == ours.get(facts.name)


def _adopted(service: str, facts: ServiceFacts, wanted: str, before: str) -> deploy.Started | None:
    """Return the deployment that an earlier part of this release had started; None where there is none."""
    primary = facts.primary
    if primary is None or primary.task_definition != wanted or before == wanted:
        return None
    return deploy.Started(service, primary.id, wanted, before)


def ecs_update_foreseen(run: Run) -> Foreseen:
    """Say which services would change their task definition, and from which to which."""
    services = run.settings.ecs_services
    live = read_services(
        run.aws.client("ecs"), run.settings.ecs.cluster, [service.service for service in services.values()]
    )
    would, stays = [], []
    for name, service in services.items():
        facts = live[service.service]
        wanted = run.service(name).task_definition
        run.update(
            lambda record, name=name, known=facts.task_definition: record.with_service(  # type: ignore[misc]
                name, task_definition_before=known
            )
        )
        if wanted == facts.task_definition:
            stays.append(f"{service.service} runs {_short(wanted)} already")
        else:
            next_one = _short(wanted) if wanted else "the new revision"
            would.append(f"{service.service}: {_short(facts.task_definition)} → {next_one}")
            would += [f"{service.service}: {change}" for change in _rolling_changes(run, facts)]
    try:
        require_settled(live)
        _require_tasks(live)
    except Refused as error:
        return Foreseen(", ".join(stays), tuple(would), (error.what,))
    return Foreseen(", ".join(stays), tuple(would))


def _rolling_changes(run: Run, facts: ServiceFacts) -> tuple[str, ...]:
    wanted = Rolling(run.settings.rollout.minimum_healthy_percent, run.settings.rollout.maximum_percent)
    return facts.rolling.changes_to(wanted) if facts.rolling is not None else ()


@dataclass(frozen=True, slots=True)
class _Changed:
    """A service that this release told to run something else, by the record alone."""

    cluster: str
    started: deploy.Started


def _changed(run: Run) -> list[_Changed]:
    """Return the services that the record says were told to change. Raises NotRestored where it does not say where."""
    found, unknown = [], []
    for name, recorded in run.record.services.items():
        if not recorded.task_definition_before:
            continue
        named = run.settings.ecs_services.get(name)
        service = recorded.service or (named.service if named else "")
        if not service:
            unknown.append(name)
            continue
        started = deploy.Started(
            service, recorded.deployment, recorded.task_definition, recorded.task_definition_before
        )
        found.append(_Changed(recorded.cluster or run.settings.ecs.cluster, started))
    if unknown:
        raise NotRestored(
            f"the settings no longer say which service {', '.join(unknown)} was",
            remedy="give the services their old names again in project.toml, then try once more",
        )
    return found


def ecs_update_undo(run: Run) -> str:
    """Make every service run again what it ran before. Raises NotRestored.

    A service that runs neither this release's version nor the one before is somebody else's by now, and is left alone.
    """
    ecs = run.aws.client("ecs")
    changed = [one for one in _changed(run) if one.started.changed]
    confirmed: list[str] = []
    strangers: list[str] = []
    for cluster in dict.fromkeys(one.cluster for one in changed):
        here = [one.started for one in changed if one.cluster == cluster]
        live = read_services(ecs, cluster, [one.service for one in here])
        others = {one.service for one in here if _runs_anothers(live[one.service], one)}
        strangers += [f"{name} runs {_short(live[name].task_definition)}" for name in sorted(others)]
        confirmed += deploy.restore(
            ecs,
            cluster,
            [one for one in here if one.service not in others],
            timeout_s=run.settings.rollout.restore_timeout_s,
            poll_s=run.settings.rollout.poll_s,
            on_change=lambda name, judgement: run.progress.says("ecs.update", f"back: {name} {judgement.sentence}"),
            client=run.aws.client,
        )
    if strangers:
        raise NotRestored(
            f"somebody else's version was not overwritten: {', '.join(strangers)}",
            remedy="decide what shall serve: `invoke ecs.rollback` or `invoke ecs.update` with --task-definition",
        )
    return "; ".join(confirmed) or "nothing had changed"


def _runs_anothers(facts: ServiceFacts, started: deploy.Started) -> bool:
    return facts.task_definition not in (started.task_definition, started.task_definition_before, "")


def undo_foreseen(run: Run) -> tuple[str, ...]:
    """Return what the undo of `ecs.update` would change, a sentence each service."""
    would = []
    for one in _changed(run):
        name = one.started.service
        serving = read_services(run.aws.client("ecs"), one.cluster, [name])[name]
        if _runs_anothers(serving, one.started):
            would.append(f"leave {name} alone: it runs {_short(serving.task_definition)}, which is somebody else's")
        elif serving.task_definition != one.started.task_definition_before:
            would.append(f"{name}: {_short(serving.task_definition)} → {_short(one.started.task_definition_before)}")
    return tuple(would)


def ecs_wait(run: Run) -> str:
    """Follow each service's deployment to its end, and believe it by the digests that run. Raises RolloutFailed."""
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
        client=run.aws.client,
    )
    expected: Mapping[str, deploy.Expected] = {
        service.service: deploy.Expected(service.container, run.service(name).digest)
        for name, service in services.items()
    }
    deploy.require_completed(ecs, run.settings.ecs.cluster, ended, expected, rollout.timeout_s, client=run.aws.client)
    return ", ".join(f"{name} {judgement.sentence}" for name, judgement in ended.items())


def _short(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]
