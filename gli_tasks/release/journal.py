"""Keep records in the environment's state bucket: ``releases/<id>.json`` and ``current.json``, by conditional puts."""

from __future__ import annotations

import re
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from gli_tasks.aws import as_gli_error, error_code
from gli_tasks.errors import RecordFailed
from gli_tasks.release.record import Record, decode, encode

_FOLDER = "releases/"
_CURRENT = "current.json"
_TIME = "%Y%m%d-%H%M%S"
_TIME_LENGTH = len("20261122-093000")
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}")


@dataclass(frozen=True, slots=True)
class Current:
    """What ``current.json`` says: the release that was last recorded healthy."""

    release: str


def _key(release: str) -> str:
    return f"{_FOLDER}{release}.json"


class Journal:
    """Writes one release's record after each step; only the release itself may change its record."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._etag = ""
        # What was sent and never answered for: each may be what stands there now.
        self._unsure: set[bytes] = set()
        self._lock = threading.Lock()

    def place(self, release: str) -> str:
        """Return where a release's record is."""
        return f"s3://{self._bucket}/{_key(release)}"

    def write(self, record: Record) -> None:
        """Write the record over the version that we wrote last; the first write expects that there is none.

        Raises RecordFailed where someone else wrote it meanwhile, or the bucket is not there or refuses.
        """
        with self._lock:
            condition = {"IfMatch": self._etag} if self._etag else {"IfNoneMatch": "*"}
            self._etag = self._put(_key(record.id), encode(record), condition)
            self._unsure.clear()

    def mark_healthy(self, record: Record) -> None:
        """Let ``current.json`` name this release. Raises RecordFailed where another release wrote it meanwhile."""
        import msgspec

        found = self._get(_CURRENT)
        condition = {"IfMatch": found[1]} if found else {"IfNoneMatch": "*"}
        self._put(_CURRENT, msgspec.json.encode(Current(record.id)), condition)

    def current(self) -> Record | None:
        """Return the record of the last healthy release, or None before the first. Raises RecordFailed."""
        release = self.current_id()
        return self.read(release) if release else None

    def current_id(self) -> str:
        """Return the id of the last healthy release, or an empty string before the first. Raises RecordFailed."""
        import msgspec

        found = self._get(_CURRENT)
        if not found:
            return ""
        try:
            return msgspec.json.decode(found[0], type=Current).release
        except msgspec.MsgspecError as error:
            raise RecordFailed(
                f"does not name a release: {error}",
                where=f"s3://{self._bucket}/{_CURRENT}",
                remedy="restore an older version of the object",
            ) from None

    def read(self, release: str) -> Record:
        """Return one record. Raises RecordFailed where it is missing or not a record."""
        return self._read(release)[0]

    def read_or_none(self, release: str) -> Record | None:
        """Return one record, or None where it cannot be read."""
        try:
            return self.read(release)
        except RecordFailed:
            return None

    def _read(self, release: str) -> tuple[Record, str]:
        found = self._get(_key(release))
        if not found:
            raise RecordFailed(
                "there is no such record", where=self.place(release), remedy="see `invoke release.history`"
            )
        try:
            return decode(found[0]), found[1]
        except ValueError as error:
            raise RecordFailed(f"is not a record: {error}", where=self.place(release)) from None

    def go_on(self, release: str) -> Record:
        """Return one record, and let the next write be over this version of it. Raises RecordFailed."""
        record, etag = self._read(release)
        with self._lock:
            self._etag = etag
        return record

    def newest(self, limit: int) -> list[Record]:
        """Return the newest records, the newest first. Raises RecordFailed where one of them is no record."""
        return [self.read(release) for release in self._newest_ids(limit)]

    def newest_readable(self, limit: int) -> tuple[list[Record], list[RecordFailed]]:
        """Return the newest records, the newest first, and why others of them cannot be read."""
        records, broken = [], []
        for release in self._newest_ids(limit):
            try:
                records.append(self.read(release))
            except RecordFailed as error:
                broken.append(error)
        return records, broken

    def _newest_ids(self, limit: int) -> list[str]:
        from botocore.exceptions import BotoCoreError

        names: list[str] = []
        try:
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=_FOLDER):
                names.extend(str(one["Key"]) for one in page.get("Contents", ()))
        except (self._s3.exceptions.ClientError, BotoCoreError) as error:
            raise self._failed(error, "read") from None
        # A release's id begins with its time, so the order of names is the order of releases.
        found = [name.removeprefix(_FOLDER).removesuffix(".json") for name in names if name.endswith(".json")]
        return sorted(filter(_ID.fullmatch, found), reverse=True)[:limit]

    def new_id(self) -> str:
        """Return the id of a release that begins now: its time in UTC, so that names sort by time, and four digits
        against a second one.

        By S3's clock, and after every release on record: workstations' clocks differ.
        """
        from botocore.exceptions import BotoCoreError

        try:
            answer = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=_FOLDER, MaxKeys=1)
        except (self._s3.exceptions.ClientError, BotoCoreError) as error:
            raise self._failed(error, "read") from None
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        newest = next(iter(self._newest_ids(1)), "")
        if newest:
            now = max(now, datetime.strptime(newest[:_TIME_LENGTH], _TIME).replace(tzinfo=UTC) + timedelta(seconds=1))
        return f"{now:{_TIME}}-{secrets.token_hex(2)}"

    def _get(self, key: str) -> tuple[bytes, str] | None:
        from botocore.exceptions import BotoCoreError

        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=key)
            return answer["Body"].read(), str(answer["ETag"])
        except (self._s3.exceptions.ClientError, BotoCoreError) as error:
            if error_code(error) in ("NoSuchKey", "404"):
                return None
            raise self._failed(error, "read") from None

    def _put(self, key: str, body: bytes, condition: dict[str, str]) -> str:
        """Put an object on a condition, and return its ETag. Raises RecordFailed."""
        from botocore.exceptions import BotoCoreError

        try:
            answer = self._s3.put_object(
                Bucket=self._bucket, Key=key, Body=body, ContentType="application/json", **condition
            )
            # An answer that was cut off may say nothing of what it answers.
            if answer.get("ETag"):
                return str(answer["ETag"])
            found = self._get(key)
            if found and found[0] == body:
                return found[1]
            raise RecordFailed(
                "S3 does not show what was written", where=f"s3://{self._bucket}/{key}", remedy="start again"
            )
        except (self._s3.exceptions.ClientError, BotoCoreError) as error:
            if error_code(error) in ("PreconditionFailed", "ConditionalRequestConflict"):
                # A write whose reply was lost is sent again, and then meets itself.
                found = self._get(key)
                if found and found[0] == body:
                    return found[1]
                if found and found[0] in self._unsure:
                    self._unsure.clear()
                    return self._put(key, body, {"IfMatch": found[1]})
                raise RecordFailed(
                    "another process wrote it meanwhile",
                    where=f"s3://{self._bucket}/{key}",
                    remedy="see `invoke release.history` for who releases now",
                ) from None
            self._unsure.add(body)
            raise self._failed(error, "written") from None

    def _failed(self, error: Exception, verb: str) -> RecordFailed:
        code = error_code(error)
        known = as_gli_error(error)
        remedy = "allow s3:GetObject, s3:PutObject and s3:ListBucket on it"
        if not code and known is not None:
            remedy = known.remedy
        if code == "NoSuchBucket":
            remedy = "create it (private, versioned), or check STATE_BUCKET"
        return RecordFailed(f"the record cannot be {verb}: {error}", where=f"s3://{self._bucket}", remedy=remedy)
