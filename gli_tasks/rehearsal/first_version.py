"""Bring the old version up, as the first release of a stack does: ``python -m gli_tasks.rehearsal.first_version``.

Builds, pushes and registers by the same functions as a release, creates the services, and publishes the front ends.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from gli_tasks.aws import Aws
from gli_tasks.build.check import run_checks
from gli_tasks.console import Console
from gli_tasks.ecs.definition import register, rendered
from gli_tasks.ecs.deploy import follow, require_completed
from gli_tasks.ecs.plan import service_facts
from gli_tasks.errors import GliError
from gli_tasks.image.service import provide_image
from gli_tasks.rehearsal.provision import publish_site, static_sites
from gli_tasks.settings import EcsService, Settings, load
from gli_tasks.settings.load import root_folder

_TASKS = 2
_TIMEOUT_S = 90.0


def bring_up(settings: Settings, aws: Aws) -> None:
    """Bring every service and front end up, and wait until all services are steady. Raises GliError."""
    for site, place in zip(settings.sites.values(), static_sites(settings), strict=True):
        run_checks(site.source, site.build.checks[:1])
        publish_site(aws.client("s3"), place.bucket, site.source / site.build.output)
    deployments = {
        service.service: _create(settings, aws, service, _definition(settings, aws, service))
        for service in settings.ecs_services.values()
    }
    ecs = aws.client("ecs")
    ended = follow(
        ecs,
        settings.ecs.cluster,
        deployments,
        timeout_s=_TIMEOUT_S,
        poll_s=0.2,
        on_change=lambda name, judgement: print(f"{name}: {judgement.sentence}", file=sys.stderr),
    )
    require_completed(ecs, settings.ecs.cluster, ended, {}, _TIMEOUT_S)


def _definition(settings: Settings, aws: Aws, service: EcsService) -> str:
    provided = provide_image(
        aws.client("ecr"),
        service,
        settings.registry.host,
        on_line=lambda line: print(line, file=sys.stderr),
    )
    definition = rendered(
        settings.folder / service.task_definition,
        settings.values,
        service.container,
        provided.image.reference(settings.registry.host),
        provided.source.version,
    )
    return register(aws.client("ecs"), definition, {"commit": provided.source.commit}).arn


def _create(settings: Settings, aws: Aws, service: EcsService, task_definition: str) -> str:
    """Create the service with its network and load balancer, and return its first deployment."""
    elbv2, ec2 = aws.client("elbv2"), aws.client("ec2")
    group = elbv2.describe_target_groups(Names=[service.target_group])["TargetGroups"][0]
    inside = [{"Name": "vpc-id", "Values": [group["VpcId"]]}]
    subnets = [one["SubnetId"] for one in ec2.describe_subnets(Filters=inside)["Subnets"]]
    groups = [one["GroupId"] for one in ec2.describe_security_groups(Filters=inside)["SecurityGroups"]]
    answer: dict[str, Any] = aws.client("ecs").create_service(
        cluster=settings.ecs.cluster,
        serviceName=service.service,
        taskDefinition=task_definition,
        desiredCount=_TASKS,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": subnets, "securityGroups": groups}},
        loadBalancers=[
            {
                "targetGroupArn": group["TargetGroupArn"],
                "containerName": service.container,
                "containerPort": service.port,
            }
        ],
        healthCheckGracePeriodSeconds=60,
        deploymentConfiguration={
            "minimumHealthyPercent": settings.rollout.minimum_healthy_percent,
            "maximumPercent": settings.rollout.maximum_percent,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        },
    )
    primary = service_facts(answer["service"]).primary
    assert primary is not None
    return primary.id


def main(arguments: list[str]) -> int:
    """Bring the old version of one environment up."""
    parser = argparse.ArgumentParser(prog="first_version", description="Bring the old version up.")
    parser.add_argument("--project", required=True)
    parser.add_argument("--environment", required=True)
    options = parser.parse_args(arguments)
    try:
        settings = load(root_folder(), options.project, options.environment, os.environ).settings
        bring_up(settings, Aws(settings.aws.region, settings.aws.account))
    except GliError as error:
        Console().error(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
