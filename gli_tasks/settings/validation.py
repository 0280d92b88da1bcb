"""Turn plain data into frozen dataclasses, and collect every problem instead of stopping at the first.

msgspec converts each leaf; the walk over the tree is here because msgspec, like every decoder, stops at its first
error.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from gli_tasks.settings.model import Between, Matches, MayBeAbsent

# A value in env/ that looks like one of these is a secret in the open, whatever its key is called.
SECRET_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bA[KS]IA[0-9A-Z]{16}\b|://[^/\s:@]*:[^/\s@]+@|hooks\.slack\.com/services/"
)

Report = Callable[[str, str], None]
"""Takes the dotted path of a value and a sentence that says what was expected there."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known word nearest to this one, or an empty string."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""


def build(kind: Any, data: Any, path: str, report: Report) -> Any:
    """Return ``data`` as ``kind``; every problem goes to ``report``, and None takes the place of what could not be
    built."""
    if get_origin(kind) is Annotated:
        inner, *limits = get_args(kind)
        value = build(inner, data, path, report)
        if value is not None:
            _check_limits(value, limits, path, report)
        return value
    if get_origin(kind) is types.UnionType or get_origin(kind) is typing.Union:
        options = [option for option in get_args(kind) if option is not type(None)]
        return build(options[0], data, path, report) if data is not None else None
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build_dataclass(kind, data, path, report)
    if get_origin(kind) in (Mapping, dict) or get_origin(kind) is typing.get_origin(Mapping[str, str]):
        return _build_mapping(kind, data, path, report)
    if get_origin(kind) is tuple:
        return _build_tuple(kind, data, path, report)
    return _build_leaf(kind, data, path, report)


def _build_dataclass(kind: type, data: Any, path: str, report: Report) -> Any:
    if not isinstance(data, Mapping):
        report(path, f"expected a table, got {_describe(data)}")
        return None
    hints = get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in data:
        if key not in fields:
            report(_join(path, key), f"unknown key{nearest(key, fields)}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = build(hints[name], data[name], _join(path, name), report)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            report(_join(path, name), f"missing; expected {_expected(hints[name])}")
            values[name] = None
    return kind(**values)


def _build_mapping(kind: Any, data: Any, path: str, report: Report) -> Any:
    if not isinstance(data, Mapping):
        report(path, f"expected a table, got {_describe(data)}")
        return None
    _, inner = get_args(kind)
    return {key: build(inner, value, _join(path, key), report) for key, value in data.items()}


def _build_tuple(kind: Any, data: Any, path: str, report: Report) -> Any:
    if not isinstance(data, list | tuple):
        report(path, f"expected a list, got {_describe(data)}")
        return None
    inner = get_args(kind)[0]
    return tuple(build(inner, value, f"{path}[{index}]", report) for index, value in enumerate(data))


def _build_leaf(kind: Any, data: Any, path: str, report: Report) -> Any:
    import msgspec

    if kind is Path:
        if isinstance(data, str) and data:
            return Path(data)
        report(path, "expected a folder's path")
        return None
    try:
        # Not strict, because everything that comes from a .env file is a string.
        return msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError:
        report(path, f"expected {_expected(kind)}, got {_describe(data)}")
        return None


def _check_limits(value: Any, limits: Iterable[Any], path: str, report: Report) -> None:
    for limit in limits:
        if isinstance(limit, Between) and not limit.low <= value <= limit.high:
            report(path, f"expected a number from {limit.low:g} to {limit.high:g}, got {value:g}")
        elif isinstance(limit, Matches) and not re.fullmatch(limit.pattern, value):
            report(path, f"expected {limit.expected}, got {_describe(value) if limit.shown else 'something else'}")


def _expected(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        inner, *limits = get_args(kind)
        for limit in limits:
            if isinstance(limit, Matches):
                return limit.expected
            if isinstance(limit, Between):
                return f"a number from {limit.low:g} to {limit.high:g}"
        return _expected(inner)
    names = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", Path: "a folder's path"}
    if kind in names:
        return names[kind]
    return "a list" if get_origin(kind) is tuple else "a table"


def _describe(data: Any) -> str:
    if isinstance(data, str):
        if SECRET_VALUE.search(data):
            return "what looks like a secret"
        return "an empty string" if not data else repr(data if len(data) <= 60 else data[:57] + "...")
    if isinstance(data, Mapping):
        return "a table"
    if isinstance(data, list | tuple):
        return "a list"
    return repr(data)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def absent_names(value: Any, path: str = "") -> list[str]:
    """Return the dotted paths of all names in AWS that the settings leave empty."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value), include_extras=True)
        found: list[str] = []
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            where = _join(path, field.name)
            limits = get_args(hints[field.name])[1:] if get_origin(hints[field.name]) is Annotated else ()
            if inner == "" and any(isinstance(limit, MayBeAbsent) for limit in limits):
                found.append(where)
            else:
                found.extend(absent_names(inner, where))
        return found
    if isinstance(value, Mapping):
        return [name for key, inner in value.items() for name in absent_names(inner, _join(path, str(key)))]
    return []
