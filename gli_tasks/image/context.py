"""What the engine is sent for a build: every file, folder and link of the source that .dockerignore leaves."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gli_tasks.source import git

_MOST_ENTRIES = 50_000
_MOST_BYTES = 1024 * 1024 * 1024
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Sent:
    """What the engine is sent: the ``files`` and links by name, and one digest over all, folders included.

    The digest is empty where it is too much to read; ``note`` tells then.
    """

    files: tuple[str, ...]
    digest: str
    note: str


def what_is_sent(folder: Path, dockerfile: str) -> Sent:
    """Return what a build of ``folder`` is sent, as it lies on disk: git may keep something else (filters, line ends,
    files that it was told not to look at), and an image is made of what is there.

    Each entry counts by name, type, permission bits and content, or what a link points to; owner and times do not.
    ``.git`` itself changes with every fetch and does not count. At most 50,000 entries and 1 GiB are read.
    Raises OSError, UnicodeDecodeError.
    """
    root = str(folder)
    found = [(path, os.lstat(os.path.join(root, path))) for path in _paths(folder, dockerfile)]
    # An archive has no sockets.
    entries = [(path, facts) for path, facts in found if not stat.S_ISSOCK(facts.st_mode)]
    files = tuple(path for path, facts in entries if not stat.S_ISDIR(facts.st_mode))
    size = sum(facts.st_size for _, facts in entries if stat.S_ISREG(facts.st_mode))
    if len(entries) > _MOST_ENTRIES or size > _MOST_BYTES:
        note = f"{len(entries)} files and folders ({size / 1e6:.0f} MB) go into the build"
        return Sent(files, "", f"{note}: too many to compare; name in .dockerignore what the image does not need")
    total = hashlib.sha256()
    for path, facts in entries:
        content = _content_digest(os.path.join(root, path), facts)
        total.update(os.fsencode(path) + b"\0" + f"{facts.st_mode:o} {content}\n".encode())
    return Sent(files, total.hexdigest(), "")


def beside_git(folder: Path, commit: str, sent: Sent) -> str:
    """Return a note on the files that a build is sent although ``commit`` has none of that name; empty for none.

    Raises CommandFailed.
    """
    kept = set(git(folder, "ls-tree", "-r", "-z", "--name-only", commit).split("\0"))
    beside = [path for path in sent.files if path not in kept]
    named = ", ".join(beside[:_NAMED]) + (f" and {len(beside) - _NAMED} more" if len(beside) > _NAMED else "")
    return f"git does not keep all that goes into the image: {named}" if beside else ""


def _paths(folder: Path, dockerfile: str) -> Sequence[str]:
    """Return what the engine is sent, by the SDK's own reading of .dockerignore, in order."""
    from docker.utils.build import exclude_paths

    ignore = folder / ".dockerignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return sorted(exclude_paths(str(folder), [*patterns, ".git"], dockerfile=dockerfile))


def _content_digest(path: str, facts: os.stat_result) -> str:
    """Return the digest of a file's content or of a link's target; empty for what has neither."""
    if stat.S_ISLNK(facts.st_mode):
        return hashlib.sha256(os.fsencode(os.readlink(path))).hexdigest()
    if stat.S_ISREG(facts.st_mode):
        with open(path, "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return ""
