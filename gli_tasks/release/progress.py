"""Show a release as it goes: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.table import Table

from gli_tasks.console import Console


class Progress(Protocol):
    """What the release tells its audience."""

    def started(self, step: str) -> None:
        """Tell that a step began."""

    def says(self, step: str, text: str) -> None:
        """Tell what a step does or waits for now."""

    def ended(self, step: str, outcome: str, detail: str) -> None:
        """Tell how a step ended."""


class LineProgress:
    """One line for each change, with the seconds since the start."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._start = clock()
        self._starts: dict[str, float] = {}

    def __enter__(self) -> LineProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, step: str) -> None:
        """Tell that a step began."""
        self._starts[step] = self._clock()
        self._line(step, "begins")

    def says(self, step: str, text: str) -> None:
        """Tell what a step does or waits for now."""
        self._line(step, text)

    def ended(self, step: str, outcome: str, detail: str) -> None:
        """Tell how a step ended, and how long it took."""
        # A step that was done before a resumed release went on never started here.
        took = f" in {self._clock() - self._starts[step]:.1f} s" if step in self._starts else ""
        self._line(step, f"{outcome}{took}" + (f": {detail}" if detail else ""))

    def _line(self, step: str, text: str) -> None:
        self._console.line(f"[{self._clock() - self._start:7.1f} s] {step:<13} {text}")


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    outcome: str = ""
    text: str = ""
    start: float = 0.0
    seconds: float = 0.0


_MARKS = {"": "·", "running": "▶", "done": "✔", "failed": "✘", "undone": "↩", "not undone": "✘"}
_STYLES = {"running": "bold", "done": "green", "failed": "bold red", "undone": "yellow", "not undone": "bold red"}


class LiveProgress:
    """A table of all steps that redraws itself: what is done, what runs and what it waits for."""

    def __init__(self, console: Console, steps: Sequence[str]) -> None:
        self._console = console
        self._rows = {step: _Row(step) for step in steps}
        self._lock = threading.Lock()
        self._live: Any = None

    def __enter__(self) -> LiveProgress:
        from rich.live import Live

        self._live = Live(console=self._console.rich(), get_renderable=self._table, refresh_per_second=4)
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def started(self, step: str) -> None:
        """Tell that a step began."""
        self._change(step, outcome="running", start=time.monotonic(), text="")

    def says(self, step: str, text: str) -> None:
        """Tell what a step does or waits for now."""
        self._change(step, text=self._console.redactor.clean(text))

    def ended(self, step: str, outcome: str, detail: str) -> None:
        """Tell how a step ended."""
        row = self._rows.get(step, _Row(step))
        seconds = time.monotonic() - row.start if row.start else 0.0
        self._change(step, outcome=outcome, seconds=seconds, text=self._console.redactor.clean(detail))

    def _change(self, step: str, **changes: Any) -> None:
        with self._lock:
            self._rows[step] = replace(self._rows.get(step, _Row(step)), **changes)

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        with self._lock:
            rows = list(self._rows.values())
        for row in rows:
            seconds = time.monotonic() - row.start if row.outcome == "running" else row.seconds
            style = _STYLES.get(row.outcome, "dim")
            elapsed = f"{seconds:.1f} s" if row.outcome else ""
            text = row.text.splitlines()[0] if row.text else ""
            table.add_row(
                Text(_MARKS.get(row.outcome, "·"), style),
                Text(row.name, style),
                Text(elapsed, justify="right"),
                Text(text, no_wrap=True, overflow="ellipsis"),
            )
        return table


def progress_for(console: Console, steps: Sequence[str]) -> LiveProgress | LineProgress:
    """Return the progress that fits where the console writes to."""
    return LiveProgress(console, steps) if console.stream.isatty() else LineProgress(console)
