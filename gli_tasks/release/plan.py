"""Decide which release to go back to, and whether that is possible."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class StepKind:
    """What a step is to a release that goes on: it only looks, its work is on this machine, or it takes such work."""

    looks: bool = False
    local: bool = False
    takes_local: bool = False


def already_done(kinds: Mapping[str, StepKind], done: Collection[str]) -> frozenset[str]:
    """Return the steps that a resumed release leaves out, of a pipeline's ``kinds`` and those ``done`` before.

    What only looks is done again, since the world moved on meanwhile. What left its work on a machine is done again
    as long as a step that takes this work has not been done: it may be another machine, or a cleaned one.
    """
    local_needed = any(kind.takes_local and name not in done for name, kind in kinds.items())
    return frozenset(
        name for name, kind in kinds.items() if name in done and not kind.looks and not (kind.local and local_needed)
    )


@dataclass(frozen=True, slots=True)
class OpenFacts:
    """A release as its record tells: how it stands, and whether ``current.json`` names it."""

    id: str
    outcome: str
    is_current: bool = False


def choose_open(newest_first: Sequence[OpenFacts], wanted: str) -> str:
    """Return the id of the release that was cut off or interrupted: the newest one, which alone can go on.

    One that could not put the old version back counts too, and one that is recorded healthy and was cut off before
    ``current.json`` named it. Raises Refused.
    """
    newest = newest_first[0] if newest_first else None
    if newest is None:
        raise Refused("no release is on record here, so none was cut off")
    if wanted and wanted != newest.id:
        if all(one.id != wanted for one in newest_first):
            raise Refused(f"there is no record of a release {wanted!r}", remedy="see `invoke release.history`")
        raise Refused(
            f"{wanted} cannot go on, because {newest.id} came after it",
            remedy="release again; a new release begins from what serves now",
        )
    if newest.outcome in ("running", "interrupted", "not put back") or (
        newest.outcome == "healthy" and not newest.is_current
    ):
        return newest.id
    raise Refused(
        f"the newest release {newest.id} is {newest.outcome}, so there is nothing to go on with",
        remedy="see `invoke release.history`",
    )


@dataclass(frozen=True, slots=True)
class HalfDone:
    """How the newest release on record stands: cut off or not, which of its steps that change something had begun, and
    which could not be undone."""

    id: str
    cut_off: bool
    begun: tuple[str, ...]
    not_put_back: tuple[str, ...]


def obstacle_to_begin(newest: HalfDone) -> Refused | None:
    """Return why no release may begin after this one, or None: what serves now must have been proven once."""
    if newest.cut_off and newest.begun:
        return Refused(
            f"the release {newest.id} was cut off in {newest.begun[-1]} and stands half done",
            remedy="go on with `invoke release.resume`, or put the old version back with `invoke release.abort`",
        )
    if newest.not_put_back:
        return Refused(
            f"the release {newest.id} could not put back what {', '.join(newest.not_put_back)} had changed",
            remedy="try once more with `invoke release.abort`, or go back to another with `invoke release.rollback`",
        )
    return None


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


def obstacles(
    facts: Mapping[str, TargetFacts],
    wanted: Sequence[str],
    recorded: Sequence[str],
    *,
    migration_head: str = "",
    migration_head_now: str = "",
) -> tuple[str, ...]:
    """Return why a release cannot be gone back to, one sentence each; none means that it can.

    ``wanted`` are the services that the settings name today, ``recorded`` those that the release had; the heads are the
    newest migration that the database had then and has now, empty where it is not known.
    """
    found = []
    if migration_head and migration_head != migration_head_now:
        now = migration_head_now or "an unknown one"
        found.append(f"the database was at migration {migration_head} then, and is at {now} now")
    found += [f"{name} was not part of that release" for name in wanted if name not in recorded]
    for name, one in facts.items():
        if one.task_definition_status != "ACTIVE":
            state = one.task_definition_status or "gone"
            found.append(f"{name}: the task definition {one.task_definition.rsplit('/', 1)[-1]} is {state}")
        if not one.image_exists:
            found.append(f"{name}: the image {one.image} is no longer in the registry")
    return tuple(found)
