"""What of a source folder goes into a build although git does not keep it, such as files that .gitignore names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gli_tasks.source import git

_MOST_FILES = 5_000
_MOST_BYTES = 64 * 1024 * 1024
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Beside:
    """The files of a build that git does not keep: one digest over all, empty where there are none.

    ``known`` is false where they are too many to read; ``note`` tells of them.
    """

    digest: str
    known: bool
    note: str


def files_beside(folder: Path, commit: str, dockerfile: str) -> Beside:
    """Return what a build of ``folder`` gets beside the files of ``commit``, by name and content.

    The engine is sent every file that .dockerignore leaves, whether git keeps it or not: what a build step wrote there
    is in the image as well. ``.git`` itself changes with every fetch and does not count.
    Raises CommandFailed, OSError.
    """
    kept = set(git(folder, "ls-tree", "-r", "-z", "--name-only", commit).split("\0"))
    found = sorted(path for path in _sent(folder, dockerfile) if path not in kept)
    if not found:
        return Beside("", known=True, note="")
    named = ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
    size = sum((folder / path).lstat().st_size for path in found)
    if len(found) > _MOST_FILES or size > _MOST_BYTES:
        note = f"{len(found)} files ({size / 1e6:.0f} MB) go into the image that git does not keep ({named})"
        return Beside("", known=False, note=f"{note}: too many to compare; name them in .dockerignore")
    return Beside(_digest(folder, found), known=True, note=f"git does not keep all that goes into the image: {named}")


def _sent(folder: Path, dockerfile: str) -> Iterator[str]:
    """Yield the files and links that the engine is sent, by the SDK's own reading of .dockerignore."""
    from docker.utils.build import exclude_paths

    ignore = folder / ".dockerignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    for path in exclude_paths(str(folder), [*patterns, ".git"], dockerfile=dockerfile):
        whole = folder / path
        if whole.is_symlink() or whole.is_file():
            yield str(path)


def _digest(folder: Path, paths: list[str]) -> str:
    total = hashlib.sha256()
    for path in paths:
        whole = folder / path
        if whole.is_symlink():
            content = b"link " + os.fsencode(os.readlink(whole))
        else:
            executable = b"x" if os.access(whole, os.X_OK) else b"-"
            content = executable + hashlib.sha256(whole.read_bytes()).digest()
        total.update(os.fsencode(path) + b"\0" + hashlib.sha256(content).digest())
    return total.hexdigest()
