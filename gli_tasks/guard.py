"""The wall around a plan: a process that said it only reads cannot write, whatever its code tries.

Each way out of the process asks here before it goes: the AWS session (a botocore hook), the programs that ``shell``
starts, the Docker engine's client and the HTTP client. The state belongs to the process, since a command either plans
or acts, and there is no way back: a plan that could lift its own wall would be none.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from gli_tasks.errors import PlanWouldWrite

_only_reads = threading.Event()

_HTTP_READS = frozenset({"GET", "HEAD", "OPTIONS"})
# What of git looks and leaves everything as it was; and what would make one of these write or start a program.
_GIT_READS = frozenset(
    {"branch --show-current", "cat-file", "ls-files", "ls-remote", "ls-tree", "merge-base", "rev-list", "rev-parse"}
    | {"log", "show", "diff", "status", "tag --list"}
)
# Git takes any beginning of an option that is no other's.
_GIT_WAYS_OUT = ("--ou", "--ext", "--te", "--up", "--exe")


def forbid_writes() -> None:
    """Let this process only read from now on, for good."""
    _only_reads.set()


def only_reads() -> bool:
    """Tell whether this process may only read."""
    return _only_reads.is_set()


def require_write(what: str) -> None:
    """Ask before something is changed. Raises PlanWouldWrite in a process that only reads."""
    if _only_reads.is_set():
        raise PlanWouldWrite(f"a plan tried to write: {what}", remedy="report this: nothing was written")


def require_http(method: str, place: str) -> None:
    """Ask before an HTTP request is sent; what its method says that it reads may pass. Raises PlanWouldWrite."""
    if method.upper() not in _HTTP_READS:
        require_write(f"{method} {place}")


def require_program(argv: Sequence[str]) -> None:
    """Ask before a program is started; a few of git's commands may pass. Raises PlanWouldWrite."""
    if not _only_reads_program(argv):
        require_write(" ".join(argv[:3]))


def _only_reads_program(argv: Sequence[str]) -> bool:
    if len(argv) < 2 or argv[0] != "git":
        return False
    known = argv[1] in _GIT_READS or " ".join(argv[1:3]) in _GIT_READS
    return known and not any(word.startswith(_GIT_WAYS_OUT) for word in argv[2:])
