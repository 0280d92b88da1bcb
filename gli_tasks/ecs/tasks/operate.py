"""`ecs.scale`, `ecs.prune` and `ecs.rollback`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import flags, operator, pick, pick_one, planning, show_planned, surroundings, whole_number


@task(
    help=flags(
        "env",
        "project",
        "service",
        "yes",
        "plan",
        "json",
        count="how many tasks to run",
        min="the least that autoscaling goes down to",
        max="the most that autoscaling goes up to",
    )
)
@operator
def scale(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    count: str | None = None,
    min: str | None = None,
    max: str | None = None,
    yes: bool = False,
    plan: bool = False,
    json: bool = False,
) -> None:
    """Change how many tasks a service runs, or the range that autoscaling moves that number in."""
    plans = planning(plan)
    from gli_tasks.ecs.scale import (
        Range,
        changed_range,
        read_range,
        require_within,
        set_count,
        set_range,
        wait_scaled,
    )
    from gli_tasks.ecs.services import read_services, require_settled
    from gli_tasks.errors import Refused, UsageError

    asked = {
        flag: whole_number(flag, text, 0, 5_000)
        for flag, text in (("count", count), ("min", min), ("max", max))
        if text is not None
    }
    if not asked or ("count" in asked and len(asked) > 1):
        raise UsageError("a service is scaled either by --count, or by --min and --max", remedy="say which")
    at = surroundings(env, project, "aws", "ecs", "services")
    settings, ecs, scaling = at.settings, at.aws.client("ecs"), at.aws.client("application-autoscaling")
    name, one = pick_one(settings.ecs_services, service)
    cluster = settings.ecs.cluster
    facts = read_services(ecs, cluster, [one.service])
    require_settled(facts)
    scaled = read_range(scaling, cluster, one.service)
    if "count" in asked:
        warning = require_within(asked["count"], scaled)
        wanted = Range(asked["count"], asked["count"])
        same = facts[one.service].desired == asked["count"]
        sentence = f"{name}: run {asked['count']} tasks in place of {facts[one.service].desired}"
    else:
        warning = ""
        wanted = changed_range(scaled, asked.get("min"), asked.get("max"))
        same = wanted == scaled
        was = f"{scaled.low} to {scaled.high}" if scaled else "none"
        sentence = f"{name}: let autoscaling have {wanted.low} to {wanted.high} tasks in place of {was}"
    if warning:
        at.console.line(f"{name}: {warning}")
    if plans:
        show_planned(at.console, [] if same else [sentence], json)
        return
    at.allow(sentence, yes)
    if not same:
        with at.alone("ecs.scale"):
            # A release may have begun, or another person changed the range, while the question stood.
            require_settled(read_services(ecs, cluster, [one.service]))
            if read_range(scaling, cluster, one.service) != scaled:
                raise Refused(f"the range of {name} was changed meanwhile", remedy="start again")
            if "count" in asked:
                set_count(ecs, cluster, one.service, asked["count"])
            else:
                set_range(scaling, cluster, one.service, wanted)
    runs = wait_scaled(
        ecs,
        cluster,
        one.service,
        wanted,
        timeout_s=settings.rollout.timeout_s,
        poll_s=settings.rollout.poll_s,
        on_change=lambda said: at.console.line(f"{name}: {said}"),
    )
    if json:
        at.console.answer_json({name: {"running": runs}})
    else:
        at.console.answer(f"{name}: {runs} tasks run")


@task(
    help=flags(
        "env",
        "project",
        "service",
        "yes",
        "plan",
        "json",
        newest="how many of the newest of each family stay (default: 10)",
        releases="what this many of the newest healthy releases run on stays (default: 10)",
        delete="delete as well; a deleted one can never be run again",
    ),
    positional=[],
)
@operator
def prune(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    newest: str = "10",
    releases: str = "10",
    delete: bool = False,
    yes: bool = False,
    plan: bool = False,
    json: bool = False,
) -> None:
    """Deregister old task definitions that nothing runs and no rollback would want."""
    import dataclasses

    plans = planning(plan)
    from gli_tasks.ecs.definition import family_of
    from gli_tasks.ecs.prune import Revision, in_use, prunable, read_revisions
    from gli_tasks.ecs.prune import prune as prune_family
    from gli_tasks.releases_on_record import on_record

    kept, healthy = whole_number("newest", newest, 1, 10_000), whole_number("releases", releases, 1, 1_000)
    at = surroundings(env, project, "aws", "ecs", "services", "state")
    settings, ecs = at.settings, at.aws.client("ecs")
    files = {one.task_definition for one in pick(settings.ecs_services, service).values()}
    families = sorted({family_of(settings.folder / file, settings.values) for file in files})

    def decided() -> dict[str, tuple[Revision, ...]]:
        recorded = on_record(at.aws.client("s3"), settings.state.bucket, healthy).task_definitions
        keep = recorded | in_use(ecs, settings.ecs.cluster)
        return {family: prunable(read_revisions(ecs, family, inactive=delete), keep, kept) for family in families}

    going = decided()
    verb = "delete" if delete else "deregister"
    if plans:
        show_planned(at.console, [f"{verb} {one.short}" for found in going.values() for one in found], json)
        return
    total = sum(map(len, going.values()))
    if total:
        doing = "deleting" if delete else "deregistering"
        at.allow(f"{doing} {total} task definitions of {', '.join(families)}", yes)
    with at.alone("ecs.prune"):
        # While the question stood, a release or a task may have come to need what was to go. Nothing goes that was not
        # asked about.
        now = decided()
        done = {
            family: prune_family(
                ecs,
                family,
                [one for one in found if one in now[family]],
                delete=delete,
                on_change=at.console.line,
            )
            for family, found in going.items()
        }
    if json:
        at.console.answer_json({family: dataclasses.asdict(one) for family, one in done.items()})
        return
    for family, pruned in done.items():
        at.console.answer(f"{family}: {len(pruned.deregistered)} deregistered, {len(pruned.deleted)} deleted")


@task(
    help=flags(
        "env",
        "project",
        "service",
        "yes",
        "plan",
        "json",
        to="family:revision or ARN to go back to (default: what served before, by the releases' records)",
    )
)
@operator
def rollback(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    to: str | None = None,
    yes: bool = False,
    plan: bool = False,
    json: bool = False,
) -> None:
    """Take one service back to the task definition that served before, and believe it by running digests."""
    import dataclasses

    plans = planning(plan)
    from gli_tasks.ecs.definition import current, short
    from gli_tasks.ecs.difference import differences
    from gli_tasks.ecs.rollback import find_target, roll_back
    from gli_tasks.ecs.services import read_services
    from gli_tasks.releases_on_record import releases_on_record

    at = surroundings(env, project, "aws", "registry", "ecs", "services")
    settings, ecs, cluster = at.settings, at.aws.client("ecs"), at.settings.ecs.cluster
    name, one = pick_one(settings.ecs_services, service)
    facts = read_services(ecs, cluster, [one.service])[one.service]
    # Where the operator names the version, records that cannot be read are not in the way.
    readable = settings.state.bucket and not to
    records = list(releases_on_record(at.aws.client("s3"), settings.state.bucket, 20)) if readable else []
    target = find_target(
        ecs,
        at.aws.client("ecr"),
        facts,
        records,
        name=name,
        wanted=to or "",
        container=one.container,
        registry=settings.registry.host,
    )
    sentence = f"{name}: from {short(facts.task_definition)} back to {short(target.task_definition)} ({target.source})"
    if plans:
        changes = differences(current(ecs, facts.task_definition), current(ecs, target.task_definition) or {})
        same = facts.task_definition == target.task_definition
        show_planned(at.console, [] if same else [sentence, *(f"{name}: {change}" for change in changes)], json)
        return
    at.console.line(sentence)
    if not target.digest:
        at.console.line(f"{name}: its image is of another registry, so running digests are not compared")
    at.allow(f"taking {name} back to {short(target.task_definition)}", yes)
    started = roll_back(
        ecs,
        cluster,
        facts,
        target,
        container=one.container,
        minimum_healthy_percent=settings.rollout.minimum_healthy_percent,
        maximum_percent=settings.rollout.maximum_percent,
        timeout_s=settings.rollout.timeout_s,
        poll_s=settings.rollout.poll_s,
        on_change=lambda _, judgement: at.console.line(f"{name}: {judgement.sentence}"),
        hold=at.alone("ecs.rollback"),
        client=at.aws.client,
    )
    if json:
        at.console.answer_json({name: {**dataclasses.asdict(started), "source": target.source}})
    else:
        at.console.answer(f"{name}: {short(started.task_definition)} runs on every task")
