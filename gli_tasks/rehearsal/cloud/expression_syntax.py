"""The grammar of CloudWatch's metric math: text in, a tree out. Nothing is evaluated here.

Binding, loosest first: OR ``||`` · AND ``&&`` · comparisons · ``+ -`` · ``* /`` · unary ``-`` · ``^``.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias


class ExpressionError(ValueError):
    """The expression is malformed, or asks for what the twin's metric math does not do."""


@dataclass(frozen=True, slots=True)
class Number:
    """A literal number."""

    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A literal string, as in ``METRICS("errors")``."""

    value: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The id of another query, or a keyword such as ``REPEAT``."""

    name: str


@dataclass(frozen=True, slots=True)
class Negation:
    """Unary minus."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Operation:
    """A binary operator with its two sides."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Call:
    """A function call."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """An array: ``[m1, m2]``."""

    items: tuple[Node, ...]


Node: TypeAlias = Number | Text | Reference | Negation | Operation | Call | Listing

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<text>\"[^\"]*\"|'[^']*')|(?P<symbol>==|!=|<=|>=|&&|\|\||[-+*/^()<>,\[\]]))"
)
_LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"||"}),
    frozenset({"&&"}),
    frozenset({"==", "!=", "<", ">", "<=", ">="}),
    frozenset({"+", "-"}),
    frozenset({"*", "/"}),
)
_WORDS = {"AND": "&&", "OR": "||"}
MAXIMUM_DEPTH = 60


def parse(expression: str) -> Node:
    """Parse a metric math expression. Raises ExpressionError."""
    reader = _Reader(expression)
    node = reader.binary(0)
    if reader.peek() is not None:
        raise ExpressionError(f"unexpected {reader.peek()!r} in expression {expression!r}")
    return node


def references(node: Node) -> Iterator[str]:
    """Yield the names that a tree refers to, keywords included."""
    match node:
        case Reference(name):
            yield name
        case Negation(operand):
            yield from references(operand)
        case Operation(_, left, right):
            yield from references(left)
            yield from references(right)
        case Call(_, items) | Listing(items):
            for item in items:
                yield from references(item)


def calls(node: Node) -> Iterator[Call]:
    """Yield every function call of a tree."""
    match node:
        case Negation(operand):
            yield from calls(operand)
        case Operation(_, left, right):
            yield from calls(left)
            yield from calls(right)
        case Call(_, items) | Listing(items):
            if isinstance(node, Call):
                yield node
            for item in items:
                yield from calls(item)


class _Reader:
    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = _tokens(expression)
        self._index = 0
        self._depth = 0

    def peek(self) -> str | None:
        return self._tokens[self._index][1] if self._index < len(self._tokens) else None

    def binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        left = self.binary(level + 1)
        while self._index < len(self._tokens) and self._operator() in _LEVELS[level]:
            operator = self._operator()
            self._index += 1
            left = Operation(operator, left, self.binary(level + 1))
        return left

    def _operator(self) -> str:
        kind, word = self._tokens[self._index]
        return _WORDS.get(word, "") if kind == "name" else word if kind == "symbol" else ""

    def _unary(self) -> Node:
        if self.peek() == "-":
            self._index += 1
            return Negation(self._nested(self._unary))
        base = self._nested(self._primary)
        if self.peek() == "^":
            self._index += 1
            return Operation("^", base, self._nested(self._unary))
        return base

    def _nested(self, read: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > MAXIMUM_DEPTH:
            raise ExpressionError("the expression is nested too deeply")
        node = read()
        self._depth -= 1
        return node

    def _primary(self) -> Node:
        if self._index >= len(self._tokens):
            raise ExpressionError(f"expression {self._expression!r} ends too early")
        kind, word = self._tokens[self._index]
        self._index += 1
        if kind == "number":
            return Number(float(word))
        if kind == "text":
            return Text(word[1:-1])
        if kind == "name":
            if self.peek() == "(":
                self._index += 1
                return Call(word, self._items(")"))
            return Reference(word)
        if word == "(":
            node = self.binary(0)
            self._expect(")")
            return node
        if word == "[":
            return Listing(self._items("]"))
        raise ExpressionError(f"unexpected {word!r} in expression {self._expression!r}")

    def _items(self, closing: str) -> tuple[Node, ...]:
        items: list[Node] = []
        if self.peek() != closing:
            items.append(self.binary(0))
            while self.peek() == ",":
                self._index += 1
                items.append(self.binary(0))
        self._expect(closing)
        return tuple(items)

    def _expect(self, symbol: str) -> None:
        if self.peek() != symbol:
            found = self.peek()
            raise ExpressionError(f"expected {symbol!r}, found {found!r} in expression {self._expression!r}")
        self._index += 1


def _tokens(expression: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    text = expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"unexpected {text[position]!r} in expression {expression!r}")
        kind = match.lastgroup or ""
        tokens.append((kind, match[kind]))
        position = match.end()
    return tokens
