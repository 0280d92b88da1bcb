"""Decide whether a repository's state may be released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gli_tasks.source import Source


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    """A source folder and the head of the branch on its remote, empty where the remote has no such branch."""

    source: Source
    remote_commit: str


def findings(facts: RepositoryFacts, branch: str, remote: str, subject_prefixes: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what keeps this state from being released, one sentence each; none means that it may be."""
    found: list[str] = []
    source = facts.source
    if source.changed_files:
        shown = _few(source.changed_files)
        found.append(f"{len(source.changed_files)} files differ from the commit ({shown}); commit or stash them")
    if source.unwatched_files:
        found.append(
            f"git was told not to look at {len(source.unwatched_files)} files ({_few(source.unwatched_files)});"
            " undo it: `git update-index --no-skip-worktree FILE`, or with `--no-assume-unchanged`, or"
            " `git sparse-checkout disable`"
        )
    # A CI job checks a commit out without a branch: there the commit itself must be the branch's head.
    if source.branch and source.branch != branch:
        found.append(f"is on branch {source.branch!r}, and {branch!r} is released here; check it out")
    if not facts.remote_commit:
        found.append(f"{remote} has no branch {branch!r}; push it")
    elif facts.remote_commit != source.commit:
        found.append(
            f"is at {source.commit[:12]}, and {remote}/{branch} at {facts.remote_commit[:12]}; pull or push first"
        )
    if subject_prefixes and not source.subject.startswith(tuple(subject_prefixes)):
        found.append(f"its commit message begins with none of {', '.join(subject_prefixes)}: {source.subject!r}")
    return tuple(found)


def _few(paths: Sequence[str]) -> str:
    return ", ".join(paths[:5]) + (", ..." if len(paths) > 5 else "")


def tag_name(prefix: str, moment: datetime) -> str:
    """Return the tag of a release that began at this moment: ``<prefix>YYYYMMDD-HHMMSS``, in UTC."""
    return f"{prefix}{moment:%Y%m%d-%H%M%S}"
