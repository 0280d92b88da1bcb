"""What the state bucket's records say of earlier releases, for rooms that must keep what a rollback would need.

Reads the records' JSON by a few of its keys and no more: the record's own types belong to the release, which stands
above the rooms.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gli_tasks.aws import as_gli_error, error_code
from gli_tasks.errors import RecordFailed

_FOLDER = "releases/"
# How a release stands that may still go on, or be resumed: what it registered is not waste, though nothing runs it yet.
_OPEN = frozenset({"running", "interrupted"})
_HEALTHY = "healthy"


@dataclass(frozen=True, slots=True)
class ServiceOnRecord:
    """What a release recorded of one service; ``image`` is by digest. Empty strings say that it did not come so far."""

    task_definition: str
    task_definition_before: str
    image: str


@dataclass(frozen=True, slots=True)
class ReleaseOnRecord:
    """One release; ``services`` by the settings' names, ``rollback_to`` the release that it went back to, if any."""

    id: str
    outcome: str
    services: Mapping[str, ServiceOnRecord]
    rollback_to: str = ""

    @property
    def healthy(self) -> bool:
        """Tell whether it ended healthy."""
        return self.outcome == _HEALTHY


@dataclass(frozen=True, slots=True)
class OnRecord:
    """What must be kept, since a rollback may want it: task definition ARNs, and images by digest."""

    task_definitions: frozenset[str]
    images: frozenset[str]


def on_record(s3: Any, bucket: str, newest: int) -> OnRecord:
    """Return what the newest healthy releases run on, ``newest`` of them, and what releases under way are about to.

    Raises RecordFailed where one record cannot be read: who does not know what is needed must not remove anything.
    """
    task_definitions: set[str] = set()
    images: set[str] = set()
    for release in releases_on_record(s3, bucket, newest):
        open_still = release.outcome in _OPEN
        if not (release.healthy or open_still):
            continue
        for one in release.services.values():
            task_definitions.add(one.task_definition)
            images.add(one.image)
            if open_still:
                task_definitions.add(one.task_definition_before)
    return OnRecord(frozenset(task_definitions - {""}), frozenset(images - {""}))


def releases_on_record(s3: Any, bucket: str, newest: int) -> Iterator[ReleaseOnRecord]:
    """Yield releases, the newest first, whatever their outcome, until ``newest`` healthy ones have been seen.

    Raises RecordFailed where the bucket or a record cannot be read.
    """
    healthy = 0
    # A release's id begins with its time, so the order of names is the order of releases.
    for key in sorted(_keys(s3, bucket), reverse=True):
        if healthy >= newest:
            return
        release = _read(s3, bucket, key)
        healthy += release.healthy
        yield release


def _keys(s3: Any, bucket: str) -> list[str]:
    from botocore.exceptions import BotoCoreError

    keys: list[str] = []
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_FOLDER):
            keys.extend(str(one["Key"]) for one in page.get("Contents", ()))
    except (s3.exceptions.ClientError, BotoCoreError) as error:
        raise _unreadable(error, f"s3://{bucket}") from None
    return [key for key in keys if key.endswith(".json")]


def _read(s3: Any, bucket: str, key: str) -> ReleaseOnRecord:
    from botocore.exceptions import BotoCoreError

    where = f"s3://{bucket}/{key}"
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except (s3.exceptions.ClientError, BotoCoreError) as error:
        raise _unreadable(error, where) from None
    try:
        found = json.loads(body)
        services = {
            str(name): ServiceOnRecord(
                task_definition=str(one.get("task_definition", "")),
                task_definition_before=str(one.get("task_definition_before", "")),
                image=str(one.get("image", "")),
            )
            for name, one in found["services"].items()
        }
        return ReleaseOnRecord(str(found["id"]), str(found["outcome"]), services, str(found.get("rollback_to", "")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordFailed(
            f"is not a record ({type(error).__name__}: {error})",
            where=where,
            remedy="restore an older version of the object, or remove it",
        ) from None


def _unreadable(error: Exception, where: str) -> RecordFailed:
    code = error_code(error)
    known = as_gli_error(error)
    remedy = "allow s3:GetObject and s3:ListBucket on it"
    if not code and known is not None:
        remedy = known.remedy
    if code == "NoSuchBucket":
        remedy = "create it (private, versioned), or check STATE_BUCKET"
    return RecordFailed(f"the records cannot be read: {error}", where=where, remedy=remedy)
