"""Write the environment file that a front-end build reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from gli_tasks import guard
from gli_tasks.build.plan import computed_value, render_environment
from gli_tasks.errors import UsageError


def source_version(source: Path, fallback: str) -> str:
    """Return the version in the folder's package.json, else the fallback. Raises UsageError for a broken file."""
    file = source / "package.json"
    if not file.is_file():
        return fallback
    try:
        package = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"is not valid JSON: {error}", where=str(file)) from None
    return str(package.get("version") or fallback) if isinstance(package, dict) else fallback


def write_environment(
    source: Path,
    file_name: str,
    fixed: Mapping[str, str],
    computed: Mapping[str, str],
    *,
    commit: str,
    branch: str,
    moment: datetime,
) -> Path:
    """Write the file and return its path. ``computed`` maps a key to version, time, commit or branch."""
    version = source_version(source, commit[:12])
    values = dict(fixed)
    for key, kind in computed.items():
        values[key] = computed_value(kind, commit=commit, branch=branch, version=version, moment=moment)
    target = source / file_name
    guard.require_write(str(target))
    temporary = target.with_name(target.name + ".new")
    temporary.write_text(render_environment(values), encoding="utf-8")
    temporary.replace(target)
    return target
