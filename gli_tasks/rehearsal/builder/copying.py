"""What COPY and ADD change in a file system; pure.

Rules: https://docs.docker.com/reference/dockerfile/#copy.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from gli_tasks.rehearsal.builder.tree import DIRECTORY, Entry, NotInTree, Tree, changed_mode, inside

_URL = re.compile(r"(?:https?|git|ssh)://|git@")
_ARCHIVE = re.compile(r".*\.(?:tar|tar\.gz|tgz|tar\.bz2|tbz2|tar\.xz|txz)")


class CopyError(Exception):
    """What is to be copied cannot be; the text says why."""


def copy_changes(
    source: Tree,
    target: Tree,
    patterns: Sequence[str],
    destination: str,
    *,
    working_directory: str,
    mode: int | None,
    adds: bool,
) -> dict[str, Entry]:
    """Return the entries by path that copying ``patterns`` of ``source`` to ``destination`` puts into ``target``.

    ``adds`` is ADD, whose archives and URLs are refused. Raises CopyError.
    """
    found: list[str] = []
    for pattern in patterns:
        if adds and _URL.match(pattern):
            raise CopyError(f"the stand-in builder does not fetch {pattern}: copy a local file")
        matches = source.matching(pattern)
        if not matches:
            raise CopyError(
                f"file not found in build context or excluded by .dockerignore: stat {pattern}: file does not exist"
            )
        found += matches
    place = inside(posixpath.join(working_directory, destination))
    wants_folder = destination.endswith("/") or destination in (".", "..") or _is_folder(target, place)
    if len(found) > 1 and not wants_folder:
        raise CopyError(
            "when using COPY with more than one source file, the destination must be a directory and end with a /"
        )
    changes: dict[str, Entry] = {}
    for path in found:
        try:
            real, entry = source.follow(path)
        except NotInTree as error:
            raise CopyError(f"{path} is a link that leads nowhere in the build context") from error
        if entry.kind == "directory":
            if place and place not in changes:
                changes[place] = target.get(place) or DIRECTORY
            for relative, child in source.below(real):
                changes[posixpath.join(place, relative)] = changed_mode(child, mode)
            continue
        if adds and _ARCHIVE.fullmatch(path):
            raise CopyError(f"the stand-in builder does not unpack archives, and ADD {path} is one: use COPY")
        to = posixpath.join(place, posixpath.basename(path)) if wants_folder else place
        if not to:
            raise CopyError(f"cannot copy the file {path} to /")
        changes[to] = changed_mode(entry, mode)
    for path, entry in changes.items():
        if entry.kind == "file" and entry.open_content is None:
            raise CopyError(f"the stand-in builder copies from the context and from stages, and {path} is an image's")
    return changes


def _is_folder(tree: Tree, path: str) -> bool:
    try:
        return tree.follow(path)[1].kind == "directory"
    except NotInTree:
        return False
