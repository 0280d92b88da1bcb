"""The external work of a release and nothing else, for benchmarks/release.py: `python benchmarks/work_alone.py
PROJECT`."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gli_tasks.aws import Aws
from gli_tasks.build.check import run_checks
from gli_tasks.ecs.definition import rendered
from gli_tasks.git.repository import tag_commit
from gli_tasks.health.expectations import expectations
from gli_tasks.health.probe import ask_all
from gli_tasks.image.build import build_image
from gli_tasks.image.push import push_image
from gli_tasks.settings import EcsService, Settings, load
from gli_tasks.settings.load import root_folder
from gli_tasks.source import read_source


def silent(_line: str) -> None:
    """Take a line of output and say nothing."""


def work_alone(project: str) -> None:
    """Do a release's external work and nothing else."""
    settings = load(root_folder(), project, "prod", os.environ).settings
    aws = Aws(settings.aws.region, settings.aws.account)
    ecs = aws.client("ecs")
    with ThreadPoolExecutor(4) as pool:
        checks = [(one.source, one.build.checks) for one in settings.services.values()]
        list(pool.map(lambda one: run_checks(*one), checks))
        images = list(pool.map(lambda one: build_and_push(settings, aws, one), settings.ecs_services.values()))
    for service, image in zip(settings.ecs_services.values(), images, strict=True):
        template = settings.folder / service.task_definition
        definition = rendered(template, settings.values, service.container, image, "alone")
        arn = ecs.register_task_definition(**definition)["taskDefinition"]["taskDefinitionArn"]
        ecs.update_service(cluster=settings.ecs.cluster, service=service.service, taskDefinition=arn)
    names = [service.service for service in settings.ecs_services.values()]
    while True:
        services = ecs.describe_services(cluster=settings.ecs.cluster, services=names)["services"]
        if all(
            len(one["deployments"]) == 1 and one["deployments"][0]["rolloutState"] == "COMPLETED" for one in services
        ):
            break
        time.sleep(0.1)
    health = settings.health
    ask_all(
        expectations(health),
        certificate_days=health.certificate_days,
        connect_to=health.connect_to,
        ca_file=health.ca_file,
    )
    for one in settings.services.values():
        source = read_source(one.source)
        tag_commit(one.source, "origin", f"alone-{datetime.now(UTC):%H%M%S%f}", source.commit, "alone")


def build_and_push(settings: Settings, aws: Aws, service: EcsService) -> str:
    """Build and push one service's image and return its name by digest."""
    tag = read_source(service.source).commit
    build_image(
        service.source,
        f"{settings.registry.host}/{service.repository}:{tag}",
        labels={},
        arguments=service.build_arguments,
        platform=service.platform,
        on_line=silent,
    )
    pushed = push_image(aws.client("ecr"), settings.registry.host, service.repository, tag, on_line=silent)
    return pushed.reference(settings.registry.host)


if __name__ == "__main__":
    work_alone(sys.argv[1])
