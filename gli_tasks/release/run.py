"""One release under way: its settings, its record, and the way to tell about it. Threads of one release share it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from gli_tasks.aws import Aws, Call
from gli_tasks.console import Console
from gli_tasks.errors import Interrupted
from gli_tasks.image.content import Content
from gli_tasks.release.journal import Journal
from gli_tasks.release.progress import Progress
from gli_tasks.release.record import CallRecord, Record, ServiceRecord, StepOutcome
from gli_tasks.settings.model import Settings

# Two builds at once fill a workstation; more only make each other slow.
_SIDE_BY_SIDE = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def timestamp(moment: datetime | None = None) -> str:
    """Return a moment (default: now) as ISO 8601 in UTC, to the millisecond."""
    return (moment or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Run:
    """A release under way. ``stop`` is set when a person asks it to stop.

    ``require_lock`` raises Locked where the environment's lock may no longer be ours. ``resumed_from`` is the record as
    it stood when this release was cut off; None for one that was not. ``last_healthy`` is the
    record of the release that serves.
    """

    def __init__(
        self,
        settings: Settings,
        aws: Aws,
        console: Console,
        progress: Progress,
        journal: Journal,
        record: Record,
        started: datetime,
        require_lock: Callable[[], None] = lambda: None,
        resumed_from: Record | None = None,
        last_healthy: Record | None = None,
    ) -> None:
        self.settings = settings
        self.aws = aws
        self.console = console
        self.progress = progress
        self.journal = journal
        self.started = started
        self.require_lock = require_lock
        self.resumed_from = resumed_from
        self.last_healthy = last_healthy
        self.stop = threading.Event()
        # What each service's image would be made of, asked for once; no part of the record, since the world moves on.
        self._contents: dict[str, Content] = {}
        self._record = record
        self._lock = threading.RLock()

    @property
    def record(self) -> Record:
        """Return the record as it stands."""
        with self._lock:
            return self._record

    def update(self, change: Callable[[Record], Record]) -> None:
        """Change the record; it is written with the end of each step, and by ``save``."""
        with self._lock:
            self._record = change(self._record)

    def save(self) -> None:
        """Write the record as it stands. Raises RecordFailed."""
        # Under the same lock as changes, so that an older state never lands over a newer one.
        with self._lock:
            self.journal.write(self._record)

    def service(self, name: str) -> ServiceRecord:
        """Return what is recorded of one service."""
        return self.record.services.get(name, ServiceRecord())

    def content(self, name: str, read: Callable[[], Content]) -> Content:
        """Return what a service's image would be made of, read once in this process."""
        with self._lock:
            known = self._contents.get(name)
        if known is None:
            known = read()
            with self._lock:
                self._contents[name] = known
        return known

    @property
    def nothing_changed(self) -> bool:
        """Tell whether every service ran already what this release is about."""
        services = [self.service(name) for name in self.settings.ecs_services]
        return bool(services) and all(
            one.task_definition and one.task_definition == one.task_definition_before for one in services
        )

    def checked_before(self, name: str) -> str:
        """Return the release that serves, where it checked the very commit of this service; else an empty string."""
        last, recorded = self.last_healthy, self.service(name)
        if last is None or not recorded.commit or recorded.dirty or name not in self.settings.ecs_services:
            return ""
        before = last.services.get(name, ServiceRecord())
        checked = any(one.name == "build.check" and one.outcome is StepOutcome.DONE for one in last.steps)
        return last.id if checked and before.commit == recorded.commit and not before.dirty else ""

    def was_cut_off_in(self, step: str) -> bool:
        """Tell whether this release was resumed, and had been cut off in the middle of a step."""
        recorded = self.resumed_from.steps if self.resumed_from else ()
        return any(one.name == step and one.outcome is StepOutcome.RUNNING for one in recorded)

    def note_call(self, call: Call) -> None:
        """Add a call that changed something to the record; the writing of records is no news to itself."""
        if call.service == "s3" and call.operation == "PutObject":
            return
        entry = CallRecord(timestamp(), call.service, call.operation, call.request_id, call.status, call.attempts)
        self.update(lambda record: _with_call(record, entry))

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until a person asks to stop. Raises Interrupted then."""
        if self.stop.wait(seconds):
            raise Interrupted("stopped by Ctrl-C", remedy="`invoke release.resume` goes on with it")

    def elapsed_s(self) -> float:
        """Return the seconds since the release began."""
        return (datetime.now(UTC) - self.started).total_seconds()

    def each(self, items: Mapping[str, Item], act: Callable[[str, Item], Result]) -> dict[str, Result]:
        """Do the same for several services, side by side and bounded; every one is finished before the first error is
        raised."""
        if not items:
            return {}
        with ThreadPoolExecutor(min(_SIDE_BY_SIDE, len(items)), "service") as pool:
            futures = {name: pool.submit(act, name, item) for name, item in items.items()}
        return {name: future.result() for name, future in futures.items()}


def _with_call(record: Record, entry: CallRecord) -> Record:
    return replace(record, calls=(*record.calls, entry))
