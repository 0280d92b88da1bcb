"""Read a git repository, and tag it."""

from __future__ import annotations

from pathlib import Path

from gli_tasks.errors import CommandFailed
from gli_tasks.git.plan import RepositoryFacts
from gli_tasks.source import git, read_source


def read_repository(folder: Path, remote: str, branch: str) -> RepositoryFacts:
    """Return what is known of a source folder, the remote branch's head included.

    Raises UsageError where the folder is no repository, CommandFailed where the remote does not answer.
    """
    source = read_source(folder)
    name = f"refs/heads/{branch}"
    return RepositoryFacts(source, _refs(git(folder, "ls-remote", remote, name)).get(name, ""))


def _refs(listed: str) -> dict[str, str]:
    """Return the commits of an ``ls-remote`` by full name; what ssh says between (a host key it met) is no ref."""
    commits: dict[str, str] = {}
    for line in listed.splitlines():
        commit, tab, name = line.partition("\t")
        if tab:
            commits[name] = commit
    return commits


def has_commit(folder: Path, commit: str) -> bool:
    """Tell whether a checkout's repository holds a commit."""
    try:
        git(folder, "cat-file", "-e", f"{commit}^{{commit}}")
    except CommandFailed:
        return False
    return True


def remote_tag(folder: Path, remote: str, tag: str) -> str:
    """Return the commit that a tag on the remote points to, or an empty string."""
    commits = _refs(git(folder, "ls-remote", remote, f"refs/tags/{tag}", f"refs/tags/{tag}^{{}}"))
    # An annotated tag is an object of its own; the peeled name (^{}) gives the commit.
    return commits.get(f"refs/tags/{tag}^{{}}") or commits.get(f"refs/tags/{tag}", "")


def needs_tag(folder: Path, remote: str, tag: str, commit: str) -> bool:
    """Tell whether the remote lacks the tag. Raises CommandFailed where it has it at another commit."""
    present = remote_tag(folder, remote, tag)
    if present and present != commit:
        raise CommandFailed(
            f"the tag {tag} is at {present[:12]} on {remote} already, and this release is {commit[:12]}",
            returncode=1,
            where=str(folder),
        )
    return not present


def tag_commit(folder: Path, remote: str, tag: str, commit: str, message: str) -> None:
    """Make an annotated tag at the commit and push it; nothing is done where the remote has it already.

    Raises CommandFailed where the tag stands at another commit, or the remote does not show it after the push.
    """
    if not needs_tag(folder, remote, tag, commit):
        return
    identity = _identity(folder)
    git(folder, *identity, "tag", "--annotate", "--force", "--message", message, "--", tag, commit)
    git(folder, "push", remote, f"refs/tags/{tag}", timeout_s=120)
    if remote_tag(folder, remote, tag) != commit:
        raise CommandFailed(f"{remote} does not show the tag {tag} after the push", returncode=1, where=str(folder))


def untag_commit(folder: Path, remote: str, tag: str, commit: str) -> bool:
    """Take a tag away from the remote and the checkout, where it stands at this commit; return whether it did.

    Raises CommandFailed where the remote still shows it afterwards.
    """
    present = remote_tag(folder, remote, tag)
    if present and present != commit:
        return False
    # Another machine's checkout may never have had it; and one that was cut off before the push has it alone.
    if git(folder, "tag", "--list", tag).strip():
        git(folder, "tag", "--delete", "--", tag)
    if not present:
        return False
    git(folder, "push", remote, "--delete", f"refs/tags/{tag}", timeout_s=120)
    if remote_tag(folder, remote, tag):
        raise CommandFailed(f"{remote} still shows the tag {tag}", returncode=1, where=str(folder))
    return True


def _identity(folder: Path) -> tuple[str, ...]:
    """Return options that name a tagger where git knows none, as on a fresh CI machine."""
    try:
        git(folder, "config", "user.email")
    except CommandFailed:
        return ("-c", "user.name=gli-tasks", "-c", "user.email=gli-tasks@localhost")
    return ()
