"""`ecs.verify`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import flags, operator, pick, surroundings


@task(help=flags("env", "project", "service", "json", tag="the image's tag (default: the source's commit)"))
@operator
def verify(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    service: str | None = None,
    tag: str | None = None,
    json: bool = False,
) -> None:
    """Check everything that the services and their task definitions refer to; change nothing."""
    import dataclasses

    from gli_tasks.ecs.findings import Level
    from gli_tasks.ecs.verify import require_verified, wanted_by_tag
    from gli_tasks.ecs.verify import verify as look_and_judge
    from gli_tasks.source import read_source

    at = surroundings(env, project, "aws", "registry", "ecs", "services")
    settings = at.settings
    services = pick(settings.ecs_services, service)
    tags = {name: tag or read_source(one.source).image_tag for name, one in services.items()}
    at.aws.require_account()
    wanted = [wanted_by_tag(at.aws, settings, name, one, tags[name]) for name, one in services.items()]
    findings = look_and_judge(at.aws, settings.ecs.cluster, settings.registry.host, wanted)
    if json:
        at.console.answer_json({"findings": [dataclasses.asdict(one) for one in findings]})
    else:
        rows = [
            (one.level.value, one.subject, f"{one.sentence} ({one.remedy})" if one.remedy else one.sentence)
            for one in findings
        ]
        at.console.table(("level", "subject", "finding"), rows)
        at.console.answer(", ".join(f"{sum(one.level is level for one in findings)} {level}" for level in Level))
    require_verified(findings)
