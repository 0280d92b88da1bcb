"""A service's source folder: which commit it is at, and whether it differs from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gli_tasks import shell
from gli_tasks.errors import CommandFailed, UsageError

#: Git asks no questions, takes no locks for reading, and speaks English.
_QUIET = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
#: What git sets for hooks and `rebase --exec`, and what would lead every call to that repository
#: (`git rev-parse --local-env-vars`).
NO_OTHER_REPOSITORY: Mapping[str, None] = dict.fromkeys(
    (
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_CEILING_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    )
)


@dataclass(frozen=True, slots=True)
class Source:
    """What git says of a source folder. ``branch`` is empty where a commit is checked out without one, as CI does.

    ``unwatched_files`` are those that git was told not to look at: whether they changed, it does not say.
    """

    root: str
    commit: str
    branch: str
    subject: str
    changed_files: tuple[str, ...]
    unwatched_files: tuple[str, ...] = ()

    @property
    def dirty(self) -> bool:
        """Tell whether the folder differs from its commit, or nobody can tell whether it does."""
        return bool(self.changed_files or self.unwatched_files)

    @property
    def image_tag(self) -> str:
        """Return the tag of an image built from this: its commit, marked where the folder differs from it."""
        return f"{self.commit}-dirty" if self.dirty else self.commit

    @property
    def version(self) -> str:
        """Return the short form of the commit that services report as their version."""
        return self.commit[:12]


def git(folder: Path, *words: str, timeout_s: float = 60) -> str:
    """Run git in a folder and return its answer. Raises CommandFailed."""
    # Warnings (of git, and of ssh, which greets a new host) come on standard error, and are no part of the answer.
    argv = ["git", *words]
    return shell.run(
        argv, folder=folder, environment={**_QUIET, **NO_OTHER_REPOSITORY}, timeout_s=timeout_s, errors_apart=True
    ).output


def read_source(folder: Path) -> Source:
    """Return what is known of a source folder, without asking its remote.

    Only files below ``folder`` count as changed, since a repository may hold several services.
    Raises UsageError where the folder is not in a git repository or has no commit.
    """
    try:
        root = git(folder, "rev-parse", "--show-toplevel").strip()
        commit = git(folder, "rev-parse", "HEAD").strip()
    except CommandFailed as error:
        raise UsageError(
            "is not a git repository with a commit",
            where=str(folder),
            remedy="check the service's source in the settings",
        ) from error
    branch = git(folder, "branch", "--show-current").strip()
    subject = git(folder, "log", "-1", "--format=%s").strip()
    status = git(folder, "status", "--porcelain=v1", "-z", "--untracked-files=normal", "--", ".")
    listed = git(folder, "ls-files", "-v", "-z", "--full-name", "--", ".")
    return Source(root, commit, branch, subject, _changed_files(status), _unwatched_files(listed))


def _unwatched_files(listed: str) -> tuple[str, ...]:
    """Return the files that ``git ls-files -v`` marks: ``S`` for skip-worktree, small letters for assume-unchanged."""
    return tuple(entry[2:] for entry in listed.split("\0") if entry[:1] == "S" or entry[:1].islower())


def _changed_files(status: str) -> tuple[str, ...]:
    entries = iter(status.split("\0"))
    changed = []
    for entry in entries:
        if entry:
            changed.append(entry[3:])
        # The old name of a renamed or copied file follows as an entry of its own.
        if entry[:1] in ("R", "C"):
            next(entries)
    return tuple(changed)
