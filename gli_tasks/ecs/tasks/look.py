"""`ecs.status`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import aws_for, chosen, flags, operator, pick, require_present


@task(help=flags("env", "project", "service", "json"))
@operator
def status(
    context: Context, env: str | None = None, project: str | None = None, service: str | None = None, json: bool = False
) -> None:
    """Show each service's deployments, tasks, and newest events."""
    import dataclasses

    from gli_tasks.console import Console
    from gli_tasks.ecs.services import read_services

    console = Console()
    loaded = chosen(env, project)
    require_present(loaded, "aws", "ecs", "services")
    settings = loaded.settings
    names = [one.service for one in pick(settings.ecs_services, service).values()]
    facts = read_services(aws_for(loaded).client("ecs"), settings.ecs.cluster, names)
    if json:
        console.answer_json({name: dataclasses.asdict(one) for name, one in facts.items()})
        return
    for name, one in facts.items():
        console.table(
            ("deployment", "status", "rollout", "task definition", "running", "starting", "failed"),
            [
                (
                    deployment.id,
                    deployment.status,
                    deployment.rollout_state,
                    deployment.task_definition.rsplit("/", 1)[-1],
                    f"{deployment.running}/{deployment.desired}",
                    str(deployment.pending),
                    str(deployment.failed_tasks),
                )
                for deployment in one.deployments
            ],
            name,
        )
        for event in one.events[:5]:
            console.answer(f"  {event}")
