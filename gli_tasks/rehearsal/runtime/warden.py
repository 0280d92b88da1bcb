"""Kill process groups when the parent is gone. A script of its own: it imports nothing of this package.

Reads ``+GROUP`` and ``-GROUP`` lines; at the end of input, however the parent ended, kills every group that was added
and not taken away. The kernel's own death signal reaches a child but not the child's children; this does.
"""

import os
import signal
import sys


def main() -> None:
    """Keep the list until the end of input, then kill."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its parent does, not before
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


if __name__ == "__main__":
    main()
