"""Files as a build sees them: the context that was sent, and the file system of a stage."""

from __future__ import annotations

import fnmatch
import io
import posixpath
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

_MAXIMUM_LINKS = 40  # as the kernel


class NotInTree(LookupError):
    """A path does not exist."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or symbolic link; ``open_content`` opens a file's ``size`` bytes."""

    kind: str  # "file", "directory" or "symlink"
    mode: int
    size: int = 0
    link: str = ""
    open_content: Callable[[], BinaryIO] | None = field(default=None, compare=False)


DIRECTORY = Entry("directory", 0o755)


class Tree:
    """Entries by path; paths are relative, normal and without a leading slash, the root is ``""``."""

    def __init__(self, entries: Mapping[str, Entry] | None = None) -> None:
        """Begin with ``entries``; missing parents are added."""
        self._entries: dict[str, Entry] = {"": DIRECTORY}
        for path, entry in (entries or {}).items():
            self.add(path, entry)

    def add(self, path: str, entry: Entry) -> list[str]:
        """Put ``entry`` at ``path`` with its parents, and return the paths that are new or changed, parents first."""
        changed = []
        parts = path.split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            if parent not in self._entries:
                self._entries[parent] = DIRECTORY
                changed.append(parent)
        if self._entries.get(path) != entry or entry.kind == "file":
            self._entries[path] = entry
            changed.append(path)
        return changed

    def get(self, path: str) -> Entry | None:
        """Return the entry at ``path``, links not followed."""
        return self._entries.get(path)

    def follow(self, path: str) -> tuple[str, Entry]:
        """Return the path and entry that ``path`` leads to, links followed inside the tree. Raises NotInTree."""
        original = path
        for _ in range(_MAXIMUM_LINKS):
            resolved = ""
            parts = [part for part in path.split("/") if part]
            for position, part in enumerate(parts):
                resolved = posixpath.join(resolved, part)
                entry = self._entries.get(resolved)
                if entry is None:
                    raise NotInTree(original)
                if entry.kind == "symlink":
                    target = posixpath.join("/", posixpath.dirname(resolved), entry.link)
                    path = inside(posixpath.join(target, *parts[position + 1 :]))
                    break
            else:
                return resolved, self._entries[resolved]
        raise NotInTree(original)

    def below(self, path: str) -> Iterator[tuple[str, Entry]]:
        """Yield the entries below a folder with their paths relative to it, in order."""
        prefix = f"{path}/" if path else ""
        for each in sorted(self._entries):
            if each.startswith(prefix) and each != path:
                yield each[len(prefix) :], self._entries[each]

    def matching(self, pattern: str) -> list[str]:
        """Return the paths that a pattern names; a star does not cross a slash (Go's ``filepath.Match``)."""
        pattern = inside(pattern)
        if not any(char in pattern for char in "*?["):
            return [pattern] if pattern in self._entries or self._leads_somewhere(pattern) else []
        wanted = pattern.replace("[^", "[!").split("/")
        return [
            path
            for path in sorted(self._entries)
            if len(parts := path.split("/")) == len(wanted)
            and all(fnmatch.fnmatchcase(part, want) for part, want in zip(parts, wanted, strict=True))
        ]

    def _leads_somewhere(self, path: str) -> bool:
        try:
            self.follow(path)
        except NotInTree:
            return False
        return True


def inside(path: str) -> str:
    """Return ``path`` as a path inside a tree: ``..`` stops at the root."""
    return posixpath.normpath(posixpath.join("/", path)).lstrip("/")


def read_context(archive: Path) -> Tree:
    """Index an uncompressed tar as a tree; contents are read from it when they are needed.

    Modes are reduced to "executable or not", so that two checkouts of the same source give the same image whatever
    the umask was. Raises tarfile.TarError.
    """
    tree = Tree()
    with tarfile.open(archive, mode="r:") as tar:
        members = {inside(member.name): member for member in tar}
    for path, member in members.items():
        source, hops = member, 0
        while source.islnk() and hops < _MAXIMUM_LINKS:
            source, hops = members.get(inside(source.linkname), source), hops + 1
        if not path:
            continue
        if source.isdir():
            tree.add(path, DIRECTORY)
        elif source.issym():
            tree.add(path, Entry("symlink", 0o777, link=source.linkname))
        elif source.isreg():
            mode = 0o755 if source.mode & 0o100 else 0o644
            opener = _Slice(archive, source.offset_data, source.size)
            tree.add(path, Entry("file", mode, size=source.size, open_content=opener))
    return tree


def changed_mode(entry: Entry, mode: int | None) -> Entry:
    """Return ``entry`` with ``mode``, unless it is None or the entry is a link."""
    return entry if mode is None or entry.kind == "symlink" else replace(entry, mode=mode)


@dataclass(frozen=True, slots=True)
class _Slice:
    """Opens a part of a file."""

    path: Path
    offset: int
    size: int

    def __call__(self) -> BinaryIO:
        file = self.path.open("rb")
        file.seek(self.offset)
        return io.BufferedReader(_Part(file, self.size))


class _Part(io.RawIOBase):
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._file.read(min(len(view), self._left))
        view[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
