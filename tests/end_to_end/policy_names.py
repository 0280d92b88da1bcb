"""What the placeholders of a policy stand for in an environment's settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gli_tasks.ecs.references import SecretUse, execution_role, log_groups, role_name, secret_uses, task_role
from gli_tasks.settings import Settings
from gli_tasks.settings.interpolation import fill_tree
from tests.end_to_end.policy_rules import Place, secret_name


@dataclass(frozen=True, slots=True)
class Placeholder:
    """The kind of thing that it is a name of (empty: of none), what a reader is told of it, whether none will do."""

    kind: str
    meaning: str
    optional: bool = False


PLACEHOLDERS = {
    "Account": Placeholder("", "the AWS account's twelve digits: `aws.account`"),
    "Region": Placeholder("", "`aws.region`"),
    "Cluster": Placeholder("Cluster", "the ECS cluster: `ecs.cluster`"),
    "Service": Placeholder("Service", "each ECS service: `services.<name>.service`"),
    "TaskFamily": Placeholder("TaskFamily", "each family of task definitions: `family` in `taskdefs/<name>.json`"),
    "Repository": Placeholder("Repository", "each ECR repository: `services.<name>.repository`"),
    "TargetRepository": Placeholder(
        "Repository", "each repository of another environment that `image.promote` gives images to, if any", True
    ),
    "StateBucket": Placeholder("Bucket", "the bucket of records and lock: `state.bucket`"),
    "LogGroup": Placeholder("LogGroup", "each log group that a task definition names", True),
    "ExecutionRole": Placeholder("Role", "the name of each role that starts tasks: `executionRoleArn`"),
    "TaskRole": Placeholder("Role", "the name of each role that the containers have, if any: `taskRoleArn`", True),
    "ServiceSecret": Placeholder(
        "Secret", "each secret that a task definition takes, if any: its name without the six characters", True
    ),
    "SlackSecret": Placeholder("Secret", "the secret that `notify.slack_webhook` names, if any", True),
}


def names_of(settings: Settings, others: Settings | None = None) -> dict[str, tuple[str, ...]]:
    """Return what stands for each placeholder in an environment; ``others`` are those that images are promoted to."""
    services = list(settings.ecs_services.values())
    definitions = []
    for service in services:
        template = json.loads((settings.folder / service.task_definition).read_text(encoding="utf-8"))
        definitions.append(fill_tree(template, {**settings.values, "IMAGE": "", "VERSION": ""}, lambda *_: None, {}))
    uses = [use for one in definitions for use in secret_uses(one) if isinstance(use, SecretUse)]
    slack = settings.notify.slack_webhook
    found: dict[str, Sequence[str]] = {
        "Account": [settings.aws.account],
        "Region": [settings.aws.region],
        "Cluster": [settings.ecs.cluster],
        "Service": [one.service for one in services],
        "TaskFamily": [str(one["family"]) for one in definitions],
        "Repository": [one.repository for one in services],
        "TargetRepository": [one.repository for one in others.ecs_services.values()] if others else [],
        "StateBucket": [settings.state.bucket],
        "LogGroup": [group.name for one in definitions for group in log_groups(one)],
        "ExecutionRole": [role_name(execution_role(one)) for one in definitions],
        "TaskRole": [role_name(task_role(one)) for one in definitions],
        "ServiceSecret": [secret_name(use.secret.id) for use in uses],
        "SlackSecret": [slack.removeprefix("aws-sm:").partition("#")[0]] if slack.startswith("aws-sm:") else [],
    }
    return {key: tuple(dict.fromkeys(one for one in values if one)) for key, values in found.items()}


def known_of(names: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str]]:
    """Return the placeholder that stands for each name, by kind."""
    known: dict[str, dict[str, str]] = {}
    for placeholder, values in names.items():
        kind = PLACEHOLDERS[placeholder].kind
        for name in values if kind else ():
            known.setdefault(kind, {}).setdefault(name, f"${{{placeholder}}}")
    return known


def place_of(names: Mapping[str, Sequence[str]]) -> Place:
    """Return the place that these names are of."""
    return Place(names["Account"][0], names["Region"][0], tuple(names["ExecutionRole"]), tuple(names["TaskRole"]))
