"""Fill ``${KEY}`` in strings, and remember which keys each value was made of. ``$${`` stands for a plain ``${``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def references(text: str) -> tuple[str, ...]:
    """Return the keys that a text refers to, in their order, each once."""
    found = (match.group(1) for match in _REFERENCE.finditer(text) if match.group(1) is not None)
    return tuple(dict.fromkeys(found))


def fill(text: str, values: Mapping[str, str], missing: Callable[[str], None]) -> str:
    """Return the text with every ``${KEY}`` replaced; ``missing`` is told of each key that has no value.

    What a value itself holds is not filled again, so a value can never reach another.
    """

    def replacement(match: re.Match[str]) -> str:
        key = match.group(1)
        if key is None:
            return "${"
        if not _KEY.fullmatch(key) or key not in values:
            missing(key)
            return ""
        return values[key]

    return _REFERENCE.sub(replacement, text)


def fill_tree(
    data: Any,
    values: Mapping[str, str],
    missing: Callable[[str, str], None],
    origins: dict[str, tuple[str, ...]],
    path: str = "",
) -> Any:
    """Return ``data`` (as TOML or JSON gives it) with every string filled.

    ``origins`` gets the keys that each leaf was made of, by its dotted path; ``missing`` gets path and key.
    """
    if isinstance(data, str):
        keys = references(data)
        if keys:
            origins[path] = keys
        return fill(data, values, lambda key: missing(path, key))
    if isinstance(data, Mapping):
        return {
            key: fill_tree(value, values, missing, origins, f"{path}.{key}" if path else str(key))
            for key, value in data.items()
        }
    if isinstance(data, list):
        return [fill_tree(value, values, missing, origins, f"{path}[{index}]") for index, value in enumerate(data)]
    return data
