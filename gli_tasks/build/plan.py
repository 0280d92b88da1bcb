"""Decide on bundle sizes, and render an environment file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gli_tasks.errors import UsageError

_WARNING = re.compile(r"\bwarn(ing)?s?\b", re.IGNORECASE)
_NO_WARNING = re.compile(r"\b(0|no) warn(ing)?s?\b", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")


@dataclass(frozen=True, slots=True)
class Asset:
    """A script or style of a bundle: bytes as written, bytes as gzip sends them, and whether index.html loads it."""

    path: str
    size: int
    gzip_size: int
    loaded: bool


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a front-end build left: its scripts and styles, and the bytes of the whole folder."""

    assets: tuple[Asset, ...]
    folder_size: int

    @property
    def loaded_gzip_size(self) -> int:
        """Return the gzip bytes of all that index.html loads."""
        return sum(asset.gzip_size for asset in self.assets if asset.loaded)


def bundle_findings(bundle: Bundle, limit_kb: float) -> tuple[str, ...]:
    """Return what is over the limit (kB of 1,000 bytes, gzip; 0 means none): single assets, and the total loaded."""
    if not limit_kb:
        return ()
    limit = limit_kb * 1000
    found = [
        f"{asset.path} is {asset.gzip_size / 1000:.1f} kB gzip, over {limit_kb:g} kB"
        for asset in bundle.assets
        if asset.gzip_size > limit
    ]
    if bundle.loaded_gzip_size > limit:
        found.append(f"index.html loads {bundle.loaded_gzip_size / 1000:.1f} kB gzip, over {limit_kb:g} kB")
    return tuple(found)


def count_warnings(output: str) -> int:
    """Return how many lines of a build's output speak of a warning."""
    return sum(1 for line in output.splitlines() if _WARNING.search(line) and not _NO_WARNING.search(line))


def computed_value(kind: str, *, commit: str, branch: str, version: str, moment: datetime) -> str:
    """Return a value that the build computes: ``version``, ``time`` (UTC, ISO 8601), ``commit`` or ``branch``."""
    values = {"version": version, "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "commit": commit[:12], "branch": branch}
    return values[kind]


def render_environment(values: Mapping[str, str]) -> str:
    """Return the text of an environment file; empty values are left out, and what needs quotes has them."""
    lines = [f"{key}={_quoted(value)}" for key, value in values.items() if value]
    return "# Generated for this release; changes here are overwritten.\n" + "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    """Quote a value as dotenv for Node reads it, on which Vite and most front-end builds stand.

    It takes no escapes inside quotes (but ``\\n`` inside double ones), so the quote is one not in the value;
    ``$`` would be expanded, and ``\\$`` is a plain one. Raises UsageError for what it cannot read back.
    """
    if _PLAIN.fullmatch(value):
        return value
    quote = next((one for one in ("'", "`", '"') if one not in value), "")
    if not quote or "\\$" in value or (quote == '"' and "\\" in value):
        raise UsageError(
            "a value for the environment file mixes quotes, backslashes and dollars in a way that dotenv cannot read",
            remedy="simplify build.environment in project.toml",
        )
    return quote + value.replace("$", "\\$") + quote


def missing_sources(index: str, referenced: Sequence[str], present: Sequence[str]) -> tuple[str, ...]:
    """Return sentences for files that index.html loads and the build did not leave."""
    return tuple(f"{index} loads {path}, which the build did not leave" for path in referenced if path not in present)
