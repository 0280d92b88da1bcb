"""Split and expand the words of an instruction as Docker's own shell lexer does; pure.

Rules: https://docs.docker.com/reference/dockerfile/#environment-replacement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]|[@*#]")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


class WordError(ValueError):
    """The text cannot be split or expanded."""


def split_words(text: str, escape: str = "\\") -> list[str]:
    """Split at spaces that are neither quoted nor escaped; quotes and escapes stay in the words."""
    words: list[str] = []
    current, quote, index = "", "", 0
    started = False
    while index < len(text):
        char = text[index]
        if char == escape and quote != "'" and index + 1 < len(text):
            current, started = current + text[index : index + 2], True
            index += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            if started:
                words.append(current)
            current, started = "", False
            index += 1
            continue
        current, started = current + char, True
        index += 1
    if started:
        words.append(current)
    return words


def split_pairs(text: str, escape: str = "\\") -> list[tuple[str, str]]:
    """Split ``key=value ...``, or the old ``key value`` form, into pairs; values are not expanded yet.

    Raises WordError.
    """
    words = split_words(text, escape)
    if not words:
        raise WordError("no key and value")
    if "=" not in words[0]:
        key, value = words[0], text.strip()[len(words[0]) :].strip()
        if not value:
            raise WordError(f"{key!r} has no value")
        return [(key, value)]
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise WordError(f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
        pairs.append((key, value))
    return pairs


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Replace variables, and remove quotes and escapes. Raises WordError."""
    return _Expansion(text, variables, escape).run()


class _Expansion:
    def __init__(self, text: str, variables: Mapping[str, str], escape: str) -> None:
        self._text = text
        self._variables = variables
        self._escape = escape
        self._index = 0

    def run(self, until: str = "") -> str:
        """Expand up to the character ``until``, which is consumed."""
        result, quoted = "", False
        while self._index < len(self._text):
            char = self._text[self._index]
            if char == until and not quoted:
                self._index += 1
                return result
            self._index += 1
            if char == "'" and not quoted:
                end = self._text.find("'", self._index)
                if end < 0:
                    raise WordError("unexpected end of statement while looking for matching single-quote")
                result += self._text[self._index : end]
                self._index = end + 1
            elif char == '"':
                quoted = not quoted
            elif char == self._escape:
                result += self._escaped(quoted)
            elif char == "$":
                result += self._variable()
            else:
                result += char
        if quoted:
            raise WordError("unexpected end of statement while looking for matching double-quote")
        if until:
            raise WordError(f"syntax error: missing '{until}'")
        return result

    def _escaped(self, quoted: bool) -> str:
        following = self._text[self._index : self._index + 1]
        self._index += 1
        # Between double quotes only these lose their escape, as in a shell.
        if quoted and following not in ('"', "$", self._escape):
            return self._escape + following
        return following

    def _variable(self) -> str:
        if self._text[self._index : self._index + 1] != "{":
            match = _NAME.match(self._text, self._index)
            if match is None:
                return "$"
            self._index = match.end()
            return self._variables.get(match[0], "")
        match = _NAME.match(self._text, self._index + 1)
        if match is None:
            raise WordError("syntax error: bad substitution")
        name = match[0]
        self._index = match.end()
        value = self._variables.get(name)
        operator = self._text[self._index : self._index + 1]
        self._index += 1
        if operator == "}":
            return value or ""
        if operator == ":":
            value = value or None  # with a colon, empty counts as unset
            operator = self._text[self._index : self._index + 1]
            self._index += 1
        word = self.run(until="}")
        if operator == "-":
            return word if value is None else value
        if operator == "+":
            return "" if value is None else word
        if operator == "?":
            if value is None:
                raise WordError(f"{name}: {word or 'parameter not set'}")
            return value
        raise WordError(f"unsupported modifier ({operator}) in substitution")


def nanoseconds(text: str) -> int:
    """Read a Go duration (``1m30s``) as nanoseconds. Raises WordError."""
    total, place = 0.0, 0
    while match := _DURATION_PART.match(text, place):
        total += float(match[1]) * _NANOSECONDS[match[2]]
        place = match.end()
    if not text or (place != len(text) and text != "0"):
        raise WordError(f"invalid duration {text!r}")
    return round(total)
