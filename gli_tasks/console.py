"""All that an operator sees: lines, tables, questions, errors; and the redactor that everything printed passes."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

    from gli_tasks.errors import GliError

MASK = "********"
# A secret's name in Secrets Manager, such as gli/db/production. A slash alone says nothing: base64 is full of them.
_SECRET_NAME = re.compile(r"[a-z][a-z0-9._-]*(/[a-z0-9._-]+)+")


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


def _written_forms(value: str) -> set[str]:
    """Return a value as it is and as it stands in JSON, in an address and in Python's repr."""
    from urllib.parse import quote

    in_json = (json.dumps(value, ensure_ascii=ascii_alone)[1:-1] for ascii_alone in (True, False))
    return {value, *in_json, quote(value, safe="", errors="surrogatepass"), repr(value)[1:-1]}


class Redactor:
    """Replaces every secret that this process has resolved by a mask. The second line of defence, not the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: tuple[str, ...] = ()

    def learn(self, secret: Secret) -> None:
        """Remember a secret. Values of fewer than four characters would mask ordinary words, and are not remembered."""
        value = secret.reveal()
        # Programs print line by line, so each line of a key is a secret too; so is the value without its last newline.
        lines = {value, value.strip(), *map(str.strip, value.splitlines())}
        # Asterisks alone could not be told from the mask.
        known = (one for one in lines if len(one) >= 4 and one.replace("*", "").strip())
        new = {form for one in known for form in _written_forms(one)}
        with self._lock:
            # The longest first, or a secret that begins with another would leave its tail in the open.
            self._values = tuple(sorted({*self._values, *new}, key=len, reverse=True))

    def clean(self, text: str) -> str:
        """Return the text with every known secret masked."""
        before = None
        # Again where something was masked: a mask may have completed a secret that holds asterisks itself.
        while text != before:
            before = text
            for value in self._values:
                text = text.replace(value, MASK)
        return text

    def clean_tree(self, value: Any) -> Any:
        """Return plain data with every known secret masked in its strings, before JSON's escapes would hide one."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, Mapping):
            return {self.clean_tree(key): self.clean_tree(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.clean_tree(inner) for inner in value]
        return value


#: What everything that this process prints passes through, so that a secret resolved anywhere is masked everywhere.
PROCESS_REDACTOR = Redactor()


class Console:
    """Writes to the operator: colours and live tables on a terminal, plain lines elsewhere."""

    def __init__(self, redactor: Redactor | None = None, stream: IO[str] | None = None) -> None:
        self.redactor = redactor or PROCESS_REDACTOR
        self._stream = stream
        self._lock = threading.Lock()

    @property
    def stream(self) -> IO[str]:
        """Return where lines go: standard error, so that ``--json`` keeps standard output for itself."""
        return self._stream if self._stream is not None else sys.stderr

    @property
    def interactive(self) -> bool:
        """Tell whether a person can be asked."""
        return sys.stdin is not None and sys.stdin.isatty() and self.stream.isatty()

    def rich(self) -> RichConsole:
        """Return a rich console on the same stream."""
        from rich.console import Console as Rich

        return Rich(file=self.stream, highlight=False, soft_wrap=not self.stream.isatty())

    def line(self, text: str = "") -> None:
        """Write one line."""
        with self._lock:
            _write(self.redactor.clean(text) + "\n", self.stream)

    def answer(self, text: str) -> None:
        """Write a task's answer to standard output."""
        _write(self.redactor.clean(text) + "\n", sys.stdout)

    def answer_json(self, value: Any) -> None:
        """Write a task's answer to standard output as one JSON object."""
        clean = self.redactor.clean_tree(value)
        text = json.dumps(clean, ensure_ascii=False, indent=2, default=lambda one: self.redactor.clean(str(one)))
        _write(text + "\n", sys.stdout)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
        """Write a table to standard output."""
        from rich import box
        from rich.console import Console as Rich
        from rich.table import Table

        clean = self.redactor.clean
        table = Table(
            title=clean(title) or None,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            show_header=any(headings),
        )
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*(clean(cell) for cell in row))
        # A row that is no terminal's stays one line, however long, for grep and cut. Without emoji, since rich would
        # read `:secret:` in an ARN as one.
        width = None if sys.stdout.isatty() else 10_000
        rich = Rich(file=sys.stdout, highlight=False, markup=False, emoji=False, width=width)
        with rich.capture() as captured:
            rich.print(table)
        _write(captured.get(), sys.stdout)

    def ask(self, question: str) -> str:
        """Ask the operator and return the answer; an end of input counts as an empty answer."""
        with self._lock:
            _write(self.redactor.clean(question), self.stream)
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


def _write(text: str, stream: IO[str]) -> None:
    """Write text at once. Where the reader went away (`| head`), the rest goes nowhere and the work to its end."""
    try:
        print(text, end="", file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def masked(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values with those masked whose key says that they are secret and which are no mere reference."""
    words = ("PASSWORD", "PASSWD", "TOKEN", "SECRET", "PRIVATE", "CREDENTIAL")
    return {
        key: MASK if value and any(word in key.upper() for word in words) and not _is_reference(value) else value
        for key, value in values.items()
    }


def _is_reference(value: str) -> bool:
    return value.startswith(("aws-sm:", "env:", "arn:")) or bool(_SECRET_NAME.fullmatch(value))
