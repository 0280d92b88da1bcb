"""Fill ``${KEY}`` in strings, and remember which keys each value was made of. ``$${`` stands for a plain ``${``.

What begins as a reference and is none (``${`` without its ``}``, or around something that is no key) is told as missing
the way it is written, ``${`` included; a key is told by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(?:\}|\Z)")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def references(text: str) -> tuple[str, ...]:
    """Return the keys that a text refers to, in their order, each once."""
    found = (_key(match) for match in _REFERENCE.finditer(text) if match.group(1) is not None)
    return tuple(dict.fromkeys(key for key in found if not key.startswith("$")))


def _key(match: re.Match[str]) -> str:
    key = match.group(1)
    return key if _KEY.fullmatch(key) and match.group().endswith("}") else match.group()


def wants(key: str) -> str:
    """Return what a place with this missing key wants, as the operator reads it."""
    return (
        f"holds {key!r}, which is no ${{KEY}}; a plain ${{ is written $${{" if key[:1] == "$" else f"wants ${{{key}}}"
    )


def fill(text: str, values: Mapping[str, str], missing: Callable[[str], None]) -> str:
    """Return the text with every ``${KEY}`` replaced; ``missing`` is told of each key that has no value.

    What a value itself holds is not filled again, so a value can never reach another.
    """

    def replacement(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return "${"
        key = _key(match)
        if key not in values:
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
