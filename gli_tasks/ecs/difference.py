"""PURE: what differs between two task definitions, for a person to read, with every secret masked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gli_tasks.console import MASK, Redactor, Secret, masked
from gli_tasks.ecs.equality import normalised
from gli_tasks.ecs.plain_secrets import ASSIGNED, secret_in_text, secret_in_variable
from gli_tasks.settings.validation import SECRET_VALUE

#: What stands in the place of a value that is not there.
NONE = "(none)"
# Lists whose items are told apart by these of their keys, and whose order says nothing (API reference,
# RegisterTaskDefinition).
_NAMED_BY: Mapping[str, tuple[str, ...]] = {
    "containerDefinitions": ("name",),
    "environment": ("name",),
    "secrets": ("name",),
    "secretOptions": ("name",),
    "ulimits": ("name",),
    "volumes": ("name",),
    "portMappings": ("containerPort", "protocol"),
    "mountPoints": ("containerPath",),
    "volumesFrom": ("sourceContainer",),
    "dependsOn": ("containerName",),
    "systemControls": ("namespace",),
    "extraHosts": ("hostname",),
    "environmentFiles": ("value",),
    "resourceRequirements": ("type",),
}
_UNORDERED = frozenset({"requiresCompatibilities", "links"})
# The one key left of an item that its name has been taken from, where naming it would say nothing.
_PLAIN = frozenset({"value", "valueFrom"})
# A list that names where secrets are kept: what stands there is a reference, never a value.
_REFERENCES = frozenset({"secrets", "secretOptions"})
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_URL_PASSWORD = re.compile(r"(?P<before>://[^/\s:@]*:)[^/\s]+@")
_TOKEN = re.compile(
    r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}|[sr]k_live_[A-Za-z0-9]{10,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)"
)
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One place that differs: values as JSON, secrets masked, ``(none)`` for what is not there."""

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}  {self.before} → {self.after}"


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return what an operator would see change from one task definition to the other; None says that there was none.

    Both are completed with AWS's own defaults first, so a definition as registered and the one that it was made of do
    not differ. Lists of named things are compared by name. Values whose key says that they are secret, and values that
    look like secrets, are masked wherever they appear.
    """
    old = dict(_leaves(normalised(before))) if before is not None else {}
    new = dict(_leaves(normalised(after)))
    redactor = Redactor()
    for path, value in (*old.items(), *new.items()):
        if isinstance(value, str) and _says_secret(path, value):
            redactor.learn(Secret(value))
    return tuple(
        Change(
            _shown_path(path),
            _shown(path, old[path], redactor) if path in old else NONE,
            _shown(path, new[path], redactor) if path in new else NONE,
        )
        for path in sorted({*old, *new}, key=_order)
        if path not in old or path not in new or old[path] != new[path]
    )


def without_secrets(text: str) -> str:
    """Return a text, such as a command, with all in it masked that looks like a secret."""
    if SECRET_VALUE.search(_URL_PASSWORD.sub("", text)):
        return MASK
    text = _URL_PASSWORD.sub(lambda found: f"{found['before']}{MASK}@", text)
    text = _TOKEN.sub(MASK, text)
    # Any key that says secret stands for the one that was found: it decides only whether the value is a reference.
    for shape in ASSIGNED:
        text = shape.sub(lambda found: found["key"] + masked({"secret": found["value"]})["secret"], text)
    return text


def is_secret(name: str, value: str) -> bool:
    """Tell whether a variable's value is a secret as a whole, by its name or for looking drawn by chance.

    A reference to one is none, and neither is an address that only holds one.
    """
    if masked({"secret": value})["secret"] == value:
        return False
    return masked({name: value})[name] != value or (bool(secret_in_variable(name, value)) and not secret_in_text(value))


def _leaves(value: Any, path: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    """Yield each value that holds no others, with the way to it. Lists without names are values as a whole."""
    if isinstance(value, Mapping):
        if not value:
            yield path, {}
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif path and path[-1] in _NAMED_BY and _all_mappings(value):
        for name, item in _by_name(value, _NAMED_BY[path[-1]]):
            left = {key: inner for key, inner in item.items() if key not in _NAMED_BY[path[-1]]}
            plain = next(iter(left)) if len(left) == 1 else ""
            yield from _leaves(left[plain] if plain in _PLAIN else left, (*path[:-1], f"{path[-1]}[{name}]"))
    elif path and path[-1] in _UNORDERED and isinstance(value, Sequence) and not isinstance(value, str):
        yield path, sorted(value, key=str)
    else:
        yield path, value


def _all_mappings(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, Mapping) for one in value)


def _by_name(items: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield items with their names; a name that comes again is numbered, in an order that does not depend on the
    list's."""
    seen: dict[str, int] = {}
    for item in sorted(items, key=lambda one: json.dumps(one, sort_keys=True, default=str)):
        name = "/".join(str(item[key]) for key in keys if key in item)
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}#{seen[name]}", item


def _order(path: _Path) -> tuple[bool, _Path]:
    # The image is what an operator looks for first.
    return (path[-1:] != ("image",), path)


def _key(path: _Path) -> str:
    """Return the name that says what a value is: of the item where it has one, else the last key."""
    last = path[-1] if path else ""
    return last.partition("[")[2].removesuffix("]") if last.endswith("]") else last


def _says_secret(path: _Path, value: str) -> bool:
    if any(part.partition("[")[0] in _REFERENCES for part in path):
        return False
    key = _key(path)
    # What a container is told by name and value is looked at as a linter does, whatever its name.
    variable = (bool(path) and path[-1].startswith("environment[")) or "dockerLabels" in path or "options" in path
    return masked({key: value})[key] != value or (variable and is_secret(key, value))


def _shown(path: _Path, value: Any, redactor: Redactor) -> str:
    """Return a value as JSON. What is masked is masked before, since JSON's escapes would hide it."""
    if isinstance(value, str):
        shown: Any = MASK if _says_secret(path, value) else without_secrets(redactor.clean(value))
    elif isinstance(value, Sequence) and all(isinstance(one, str) for one in value):
        shown = [redactor.clean(word) for word in _shown_words(value)]
    else:
        shown = redactor.clean_tree(value)
    text = json.dumps(shown, ensure_ascii=False, sort_keys=True, default=str)
    return text if isinstance(value, str) else without_secrets(text)


def _shown_words(words: Sequence[str]) -> list[str]:
    """Return a command's words; the one after a flag such as ``--password`` is masked."""
    shown: list[str] = []
    for index, word in enumerate(words):
        flag = words[index - 1] if index and words[index - 1].startswith("-") and "=" not in words[index - 1] else ""
        shown.append(masked({flag: word})[flag] if flag else word)
        if shown[-1] == word:
            shown[-1] = without_secrets(word)
    return shown


def _shown_path(path: _Path) -> str:
    text = ""
    for part in path:
        plain = _WORD.fullmatch(part.partition("[")[0])
        text += (f".{part}" if text else part) if plain else f"[{part}]"
    return text
