"""Render a task definition from its file, and register it unless an equal one stands already."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gli_tasks.ecs.plan import equal, render
from gli_tasks.errors import AwsCallFailed, UsageError


@dataclass(frozen=True, slots=True)
class Registered:
    """A task definition that AWS holds; ``new`` tells whether this registration made it."""

    arn: str
    new: bool


def rendered(file: Path, values: Mapping[str, str], container: str, image: str, version: str) -> dict[str, Any]:
    """Return the task definition of a file with its ``${KEY}`` filled and the image in place.

    Raises UsageError where the file is not JSON, a key is unknown or the container is missing.
    """
    from gli_tasks.settings.interpolation import fill_tree, wants

    unknown: list[str] = []
    try:
        template = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot be read: {error}", where=str(file)) from None
    known = {**values, "IMAGE": image, "VERSION": version}
    filled = fill_tree(template, known, lambda path, key: unknown.append(f"{path} {wants(key)}"), {})
    if unknown:
        raise UsageError("; ".join(unknown), where=str(file), remedy="add the keys to the .env file")
    try:
        return render(filled, container, image)
    except (KeyError, TypeError):
        raise UsageError(f"holds no container {container!r}", where=str(file)) from None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The task definition that would be registered now. ``image`` is by digest, or by ``tag`` where the registry does
    not hold it yet."""

    definition: Mapping[str, Any]
    image: str
    tag: str
    pushed: bool


def wanted(
    ecr: Any, host: str, repository: str, tag: str, file: Path, values: Mapping[str, str], container: str
) -> Wanted:
    """Return a file's task definition with the registry's image of a tag, which begins with a commit.

    Raises UsageError as ``rendered`` does, and where the repository does not exist.
    """
    from gli_tasks.registry import find_image

    found = find_image(ecr, repository, tag)
    image = found.reference(host) if found else f"{host}/{repository}:{tag}"
    return Wanted(rendered(file, values, container, image, tag[:12]), image, tag, found is not None)


def short(arn: str) -> str:
    """Return ``family:revision`` of a task definition's ARN."""
    return arn.rsplit("/", 1)[-1]


def family_of(file: Path, values: Mapping[str, str]) -> str:
    """Return the family that a file's task definition belongs to. Raises UsageError where it names none."""
    from gli_tasks.settings.interpolation import fill

    try:
        family = json.loads(file.read_text(encoding="utf-8-sig"))["family"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"names no family ({type(error).__name__}: {error})", where=str(file)) from None
    return fill(str(family), values, lambda _: None)


def current(ecs: Any, family_or_arn: str) -> dict[str, Any] | None:
    """Return the newest active definition of a family, or the one of an ARN; None where there is none."""
    try:
        return dict(ecs.describe_task_definition(taskDefinition=family_or_arn)["taskDefinition"])
    except ecs.exceptions.ClientException as error:
        if "Unable to describe task definition" in str(error):
            return None
        raise


def register(ecs: Any, definition: Mapping[str, Any], tags: Mapping[str, str]) -> Registered:
    """Register a definition; where the family's newest one is equal, return that one and register nothing.

    Raises AwsCallFailed where the answer was cut short and the family's newest one is not this definition.
    """
    newest = current(ecs, str(definition["family"]))
    if newest is not None and newest.get("status") == "ACTIVE" and equal(newest, definition):
        return Registered(str(newest["taskDefinitionArn"]), new=False)
    own = {str(one["key"]): str(one["value"]) for one in definition.get("tags") or ()}
    every = {**own, **{key: value for key, value in tags.items() if value}}
    answer = ecs.register_task_definition(
        **{**definition, "tags": [{"key": key, "value": value} for key, value in every.items()]}
    )
    # An answer that was cut in its middle comes out of the SDK as one with fields missing.
    made = answer.get("taskDefinition") or current(ecs, str(definition["family"]))
    if made is None or not equal(made, definition):
        raise AwsCallFailed(
            f"the answer to RegisterTaskDefinition of {definition['family']} was cut short, and it is not registered",
            remedy="start again",
        )
    return Registered(str(made["taskDefinitionArn"]), new=True)
