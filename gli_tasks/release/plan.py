"""Decide which release to go back to, and whether that is possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gli_tasks.errors import Refused


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """A release on record: whether it ended healthy, its task definitions, and what it went back to, if it did."""

    id: str
    healthy: bool
    definitions: Mapping[str, str]
    rollback_to: str = ""


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What is left of one service of a release: the state of its task definition, and whether its image is still
    there."""

    task_definition: str
    task_definition_status: str
    image: str
    image_exists: bool


def choose_target(newest_first: Sequence[ReleaseFacts], live: Mapping[str, str], wanted: str) -> str:
    """Return the id of the release to go back to: the wanted one, else the newest healthy one that does not serve now.

    ``live`` is the task definition that each service runs. Never "revision minus one": that may be one that failed, was
    pruned, or never ran. Raises Refused where there is none.
    """
    if wanted:
        named = next((release for release in newest_first if release.id == wanted), None)
        if named is None:
            raise Refused(f"there is no record of a release {wanted!r}", remedy="see `invoke release.history`")
        if not named.healthy:
            raise Refused(f"the release {wanted} did not end healthy", remedy="name one that did")
        return wanted
    gone_back_to = ""
    for release in newest_first:
        # What lies between a rollback and its target was left on purpose, however healthy it had looked.
        if gone_back_to and release.id != gone_back_to:
            continue
        gone_back_to = ""
        if not release.healthy:
            continue
        if release.definitions and not _serves(release, live):
            return release.id
        gone_back_to = release.rollback_to
    raise Refused(
        "no earlier release ended healthy, so there is nothing to go back to",
        remedy="release a commit that is known to be good",
    )


def _serves(release: ReleaseFacts, live: Mapping[str, str]) -> bool:
    return all(live.get(name) == definition for name, definition in release.definitions.items())


def obstacles(facts: Mapping[str, TargetFacts], wanted: Sequence[str], recorded: Sequence[str]) -> tuple[str, ...]:
    """Return why a release cannot be gone back to, one sentence each; none means that it can.

    ``wanted`` are the services that the settings name today, ``recorded`` those that the release had.
    """
    found = [f"{name} was not part of that release" for name in wanted if name not in recorded]
    for name, one in facts.items():
        if one.task_definition_status != "ACTIVE":
            state = one.task_definition_status or "gone"
            found.append(f"{name}: the task definition {one.task_definition.rsplit('/', 1)[-1]} is {state}")
        if not one.image_exists:
            found.append(f"{name}: the image {one.image} is no longer in the registry")
    return tuple(found)
