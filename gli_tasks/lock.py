"""The lock of an environment: one release at a time, by a lease on S3 that its holder renews.

The lease is judged by S3's clock alone (its Date against the object's LastModified), so a workstation whose clock is
wrong neither takes a lock too early nor holds one too long. Every write is conditional; a lost reply to our own write
is recognised by our token.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from gli_tasks.aws import error_code
from gli_tasks.errors import Locked, RecordFailed, Refused

KEY = "lock.json"
LEASE_S = 60.0
_RENEWALS_A_LEASE = 4
# How much of the lease must be left for a write to begin: as long as the slowest call may take to be sent.
_MARGIN_S = 5.0
# How often a lease that is believed to be dead is looked at.
_PACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock, for which release and since when (ISO 8601, UTC). An empty token says that nobody does."""

    token: str
    who: str
    release: str
    since: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A lock as S3 shows it: its holder, the version that a conditional write must match, and its age in seconds."""

    holder: Holder
    etag: str
    age_s: float


def steady_clock() -> float:
    """Return seconds that also pass while the machine sleeps, unlike ``time.monotonic`` on Linux."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


@contextmanager
def held(
    s3: Any,
    bucket: str,
    release: str,
    who: str,
    *,
    patient: bool = False,
    on_wait: Callable[[Holder, float], None] = lambda *_: None,
    on_left: Callable[[str], None] = lambda _: None,
) -> Iterator[Lock]:
    """Hold an environment's lock for a release, or for the task of that name; ``patient`` as for ``Lock.acquire``.

    ``on_left`` is told, in a sentence, that the lock could not be given back: what was done under it stands all the
    same. Raises Locked where somebody else holds it, Refused where the state bucket cannot be used.
    """
    lock = Lock(s3, bucket)
    holder = Holder(secrets.token_hex(16), who, release, datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        lock.acquire(holder, patient=patient, on_wait=on_wait)
    except RecordFailed as error:
        raise Refused(error.what, where=error.where, remedy=error.remedy) from error
    try:
        yield lock
    finally:
        if left := lock.release():
            on_left(left)


class Lock:
    """The lock of one environment, as one process sees it. Threads may share it.

    ``clock`` gives steady seconds, for the holder's own view of its lease.
    """

    def __init__(
        self, s3: Any, bucket: str, *, lease_s: float = LEASE_S, clock: Callable[[], float] = steady_clock
    ) -> None:
        self._s3, self._bucket, self._lease_s, self._clock = s3, bucket, lease_s, clock
        self._mutex = threading.Lock()
        self._holder: Holder | None = None
        self._etag = ""
        self._renewed_at = 0.0
        self._lost = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(
        self, holder: Holder, *, patient: bool = False, on_wait: Callable[[Holder, float], None] = lambda *_: None
    ) -> None:
        """Take the lock and keep it by renewing its lease until ``release``.

        With ``patient``, a holder of the same release is waited for as long as it does not renew its lease: it is
        believed to be dead, and ``on_wait`` is told of it and of the seconds that its lease still has.
        Raises Locked, saying who holds it, since when, and when the lease runs out if it is not renewed.
        """
        asked_at = self._clock()
        seen = self.look()
        if seen is not None and self._is_held(seen) and patient and seen.holder.release == holder.release:
            on_wait(seen.holder, self._lease_s - seen.age_s)
            seen = self._wait_while_silent(seen)
            asked_at = self._clock()
        if seen is not None and self._is_held(seen):
            raise self._locked(seen)
        self._etag = self._write(holder, seen.etag if seen else "")
        self._holder, self._renewed_at = holder, asked_at
        self._thread = threading.Thread(target=self._heartbeat, name="lock", daemon=True)
        self._thread.start()

    def holder(self) -> Holder | None:
        """Return who holds the lock by a lease that has not run out, or None. Raises RecordFailed."""
        seen = self.look()
        return seen.holder if seen is not None and self._is_held(seen) else None

    def _is_held(self, seen: Seen) -> bool:
        return bool(seen.holder.token) and seen.age_s <= self._lease_s

    def _wait_while_silent(self, seen: Seen) -> Seen | None:
        """Wait until a lease has run out, was renewed or was given back, and return the lock as it stands then."""
        deadline = self._clock() + self._lease_s
        now: Seen | None = seen
        while now is not None and now.etag == seen.etag and self._is_held(now) and self._clock() < deadline + _PACE_S:
            self._stop.wait(_PACE_S)
            now = self.look()
        return now

    def look(self) -> Seen | None:
        """Return the lock as S3 shows it, None where there never was one. Raises RecordFailed."""
        import msgspec
        from botocore.exceptions import BotoCoreError

        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=KEY)
            body = answer["Body"].read()
        except (self._s3.exceptions.ClientError, BotoCoreError) as error:
            if error_code(error) in ("NoSuchKey", "404"):
                return None
            raise self._failed(error) from None
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        age_s = (now - answer["LastModified"]).total_seconds()
        try:
            holder = msgspec.json.decode(body, type=Holder)
        except msgspec.MsgspecError as error:
            raise RecordFailed(
                f"is not a lock: {error}", where=f"s3://{self._bucket}/{KEY}", remedy="see who wrote it, then remove it"
            ) from None
        return Seen(holder, str(answer["ETag"]), age_s)

    def require_held(self) -> None:
        """Make sure that the lease is still ours, before a write. Raises Locked where it may not be."""
        with self._mutex:
            if self._lost:
                raise Locked(f"the lock was lost: {self._lost}", remedy="`invoke release.history` shows who has it now")
            idle_s = self._clock() - self._renewed_at
            if idle_s > self._lease_s - _MARGIN_S:
                self._lost = f"its lease was not renewed for {idle_s:.0f} s"
                raise Locked(
                    f"the lock may be lost: {self._lost}",
                    remedy="this process stood still; see `invoke release.history` for who releases now",
                )

    def release(self) -> str:
        """Give the lock back; a lock that is no longer ours is left to whoever has it.

        Returns a sentence where it could not be given back, since that says nothing of how the release went.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._lease_s)
        with self._mutex:
            if self._holder is None or self._lost:
                return ""
            free = Holder("", self._holder.who, self._holder.release, datetime.now(UTC).isoformat(timespec="seconds"))
            self._holder = None
            try:
                self._write(free, self._etag)
            except Locked:
                self._lost = "another process took it"
            except RecordFailed as error:
                return (
                    f"the lock could not be given back, and its lease runs out in {self._lease_s:.0f} s: {error.what}"
                )
            return ""

    def break_open(self, who: str, reason: str) -> Holder:
        """Free a lock that somebody else holds, for a reason that is written down; return whose it was.

        Raises Refused where nobody holds it, Locked where it changed hands meanwhile.
        """
        seen = self.look()
        if seen is None or not seen.holder.token:
            raise Refused("nobody holds the lock")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(Holder("", who, seen.holder.release, now, reason), seen.etag)
        return seen.holder

    def _heartbeat(self) -> None:
        while not self._stop.wait(self._lease_s / _RENEWALS_A_LEASE):
            with self._mutex:
                if self._lost or self._holder is None:
                    return
                asked_at = self._clock()
                try:
                    self._etag = self._write(self._holder, self._etag)
                except Locked as error:
                    self._lost = error.what
                    return
                except RecordFailed:
                    # S3 may come back within the lease; until then ``require_held`` says how long there is.
                    continue
                self._renewed_at = asked_at

    def _write(self, holder: Holder, etag: str) -> str:
        import msgspec
        from botocore.exceptions import BotoCoreError

        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        try:
            answer = self._s3.put_object(
                Bucket=self._bucket,
                Key=KEY,
                Body=msgspec.json.encode(holder),
                ContentType="application/json",
                **condition,
            )
        except self._s3.exceptions.ClientError as error:
            if error_code(error) not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise self._failed(error) from None
            # The SDK tries again when an answer is lost, and then loses against its own first try.
            return self._as_written(holder)
        except BotoCoreError as error:
            raise self._failed(error) from None
        # An answer that was cut short comes out of the SDK as one with fields missing.
        return str(answer.get("ETag") or self._as_written(holder))

    def _as_written(self, holder: Holder) -> str:
        """Return the version of the lock if it is as we wrote it. Raises Locked."""
        seen = self.look()
        if seen is not None and seen.holder == holder:
            return seen.etag
        raise self._locked(seen)

    def _locked(self, seen: Seen | None) -> Locked:
        if seen is None:
            return Locked("the lock changed hands just now", remedy="start again")
        holder = seen.holder
        if not holder.token:
            why = f": {holder.reason}" if holder.reason else ""
            return Locked(f"{holder.who} freed the lock at {holder.since}{why}", remedy="start again")
        left_s = max(0.0, self._lease_s - seen.age_s)
        return Locked(
            f"{holder.who} holds the environment since {holder.since} for {holder.release}",
            where=f"s3://{self._bucket}/{KEY}",
            remedy=f"wait for its end; if that process is dead, its lease runs out in {left_s:.0f} s",
        )

    def _failed(self, error: Exception) -> RecordFailed:
        return RecordFailed(
            f"the lock cannot be read or written: {error}",
            where=f"s3://{self._bucket}/{KEY}",
            remedy="allow s3:GetObject and s3:PutObject on the state bucket",
        )
