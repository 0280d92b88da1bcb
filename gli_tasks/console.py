"""All that an operator sees: lines, tables, questions, errors; and the redactor that everything printed passes."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

    from gli_tasks.errors import GliError

MASK = "********"


class Secret:
    """A secret value that no repr, str or format shows; ``reveal`` is the one way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself, for the moment of its use."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not written anywhere")


class Redactor:
    """Replaces every secret that this process has resolved by a mask. The second line of defence, not the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: tuple[str, ...] = ()

    def learn(self, secret: Secret) -> None:
        """Remember a secret. Values of fewer than four characters would mask ordinary words, and are not remembered."""
        value = secret.reveal()
        if len(value) < 4:
            return
        with self._lock:
            # The longest first, or a secret that begins with another would leave its tail in the open.
            self._values = tuple(sorted({*self._values, value}, key=len, reverse=True))

    def clean(self, text: str) -> str:
        """Return the text with every known secret masked."""
        for value in self._values:
            text = text.replace(value, MASK)
        return text


class Console:
    """Writes to the operator: colours and live tables on a terminal, plain lines elsewhere."""

    def __init__(self, redactor: Redactor | None = None, stream: IO[str] | None = None) -> None:
        self.redactor = redactor or Redactor()
        self._stream = stream
        self._lock = threading.Lock()

    @property
    def stream(self) -> IO[str]:
        """Return where lines go: standard error, so that ``--json`` keeps standard output for itself."""
        return self._stream if self._stream is not None else sys.stderr

    @property
    def interactive(self) -> bool:
        """Tell whether a person can be asked."""
        return sys.stdin.isatty() and self.stream.isatty()

    def rich(self) -> RichConsole:
        """Return a rich console on the same stream."""
        from rich.console import Console as Rich

        return Rich(file=self.stream, highlight=False, soft_wrap=not self.stream.isatty())

    def line(self, text: str = "") -> None:
        """Write one line."""
        with self._lock:
            print(self.redactor.clean(text), file=self.stream, flush=True)

    def answer(self, text: str) -> None:
        """Write a task's answer to standard output."""
        print(self.redactor.clean(text), flush=True)

    def answer_json(self, value: Any) -> None:
        """Write a task's answer to standard output as one JSON object."""
        print(self.redactor.clean(json.dumps(value, ensure_ascii=False, indent=2, default=str)), flush=True)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
        """Write a table to standard output."""
        from rich import box
        from rich.console import Console as Rich
        from rich.table import Table

        table = Table(*headings, title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            table.add_row(*(self.redactor.clean(cell) for cell in row))
        width = None if sys.stdout.isatty() else 200
        Rich(file=sys.stdout, highlight=False, markup=False, width=width).print(table)

    def ask(self, question: str) -> str:
        """Ask the operator and return the answer; an end of input counts as an empty answer."""
        with self._lock:
            print(self.redactor.clean(question), end="", file=self.stream, flush=True)
        try:
            return input()
        except EOFError:
            return ""

    def error(self, error: GliError) -> None:
        """Write an error: what, where, what to do next."""
        text = self.redactor.clean(str(error))
        if self.stream.isatty():
            from rich.text import Text

            self.rich().print(Text("error: ", style="bold red"), Text(text), sep="")
        else:
            self.line(f"error: {text}")


def masked(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values with those masked whose key says that they are secret and which are no mere reference."""
    words = ("PASSWORD", "TOKEN", "SECRET", "PRIVATE", "CREDENTIAL")
    return {
        key: MASK if value and any(word in key.upper() for word in words) and not _is_reference(value) else value
        for key, value in values.items()
    }


def _is_reference(value: str) -> bool:
    return value.startswith(("aws-sm:", "env:", "arn:")) or "/" in value
