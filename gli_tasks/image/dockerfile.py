"""Read a Dockerfile into instructions; pure.

Grammar: https://docs.docker.com/reference/dockerfile/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

KEYWORDS = re.compile(
    "ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|"
    "VOLUME|WORKDIR"
)
_WITH_FLAGS = frozenset({"ADD", "COPY", "FROM", "HEALTHCHECK", "RUN"})
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=(\S*))?(?:\s+|$)")
_HEREDOC = re.compile(r"<<-?\s*[\"']?[A-Za-z_]")


class DockerfileError(ValueError):
    """The Dockerfile cannot be read or built; the text names the line."""

    def __init__(self, line: int, message: str) -> None:
        """Say what is wrong in ``line``."""
        super().__init__(f"dockerfile parse error line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its keyword in capitals, flags, and the rest as text; ``words`` where that is a JSON array."""

    line: int
    keyword: str
    flags: Mapping[str, str]
    text: str
    words: tuple[str, ...] | None

    def __str__(self) -> str:
        """Return the instruction as one line."""
        flags = "".join(f"--{name}={value} " if value else f"--{name} " for name, value in self.flags.items())
        return f"{self.keyword} {flags}{self.text}"


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A Dockerfile's instructions and its escape character."""

    instructions: tuple[Instruction, ...]
    escape: str


def parse_dockerfile(text: str) -> Dockerfile:
    """Parse a Dockerfile. Raises DockerfileError."""
    lines = text.removeprefix("\ufeff").splitlines()
    escape = _escape_directive(lines)
    instructions: list[Instruction] = []
    start = 0
    pieces: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("#") or (pieces and not line.strip()):
            continue  # comments and empty lines inside a continued instruction do not end it
        if not pieces:
            start = number
        body = line.rstrip()
        if body.endswith(escape):
            pieces.append(body[: -len(escape)])
            continue
        pieces.append(line)
        joined = "".join(pieces).strip()
        pieces = []
        if joined:
            instructions.append(_instruction(start, joined))
    if pieces and (joined := "".join(pieces).strip()):
        instructions.append(_instruction(start, joined))
    if not instructions:
        raise DockerfileError(1, "file with no instructions")
    return Dockerfile(tuple(instructions), escape)


def _escape_directive(lines: list[str]) -> str:
    """Return the escape character: directives stand before anything else."""
    for number, line in enumerate(lines, 1):
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None:
            break
        if match[1].lower() == "escape":
            if match[2] not in ("\\", "`"):
                raise DockerfileError(number, f"invalid ESCAPE '{match[2]}'. Must be ` or \\")
            return match[2]
    return "\\"


def _instruction(line: int, text: str) -> Instruction:
    keyword, *remainder = text.split(maxsplit=1)
    keyword, rest = keyword.upper(), remainder[0].strip() if remainder else ""
    if not KEYWORDS.fullmatch(keyword):
        raise DockerfileError(line, f"unknown instruction: {keyword}")
    flags: dict[str, str] = {}
    while keyword in _WITH_FLAGS and (match := _FLAG.match(rest)):
        flags[match[1]] = match[2] or ""
        rest = rest[match.end() :]
    if not rest:
        raise DockerfileError(line, f"{keyword} requires at least one argument")
    if keyword in ("RUN", "COPY", "ADD") and _HEREDOC.search(rest):
        raise DockerfileError(line, f"{keyword} with a here-document needs BuildKit")
    return Instruction(line, keyword, flags, rest, _json_words(rest))


def _json_words(text: str) -> tuple[str, ...] | None:
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except ValueError:
        return None  # as Docker does: what is no JSON array is the shell form
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return tuple(words)
