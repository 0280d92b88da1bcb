"""List settings one by one, each with its origin."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gli_tasks.console import masked
from gli_tasks.settings.load import LoadedSettings


@dataclass(frozen=True, slots=True)
class Row:
    """One setting: its dotted path, its value as text, and where the value came from."""

    path: str
    value: str
    origin: str


def listed(loaded: LoadedSettings) -> list[Row]:
    """Return every setting of an environment in the order of the model."""
    return [_row(path, value, loaded) for path, value in _leaves(loaded.settings, "")]


def _row(path: str, value: Any, loaded: LoadedSettings) -> Row:
    text = str(value) if not isinstance(value, str) else value
    if path.startswith("values."):
        key = path.removeprefix("values.")
        override = " (overridden by the process's environment)" if key in loaded.overrides else ""
        return Row(path, masked({key: text})[key], f"{loaded.settings.environment}.env{override}")
    origin = loaded.origins.get(path)
    if origin is None:
        return Row(path, masked({path: text})[path], "project.toml or default")
    override = " (overridden by the process's environment)" if origin.overridden else ""
    return Row(path, masked({path: text})[path], origin.source + override)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _leaves(getattr(value, field.name), f"{path}.{field.name}" if path else field.name)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    elif isinstance(value, tuple):
        yield path, " · ".join(" + ".join(one) if isinstance(one, tuple) else str(one) for one in value)
    elif value is not None:
        yield path, value
