"""`invoke --list` of this project beside that of an empty tasks.py, in turns: `python benchmarks/startup.py`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 25
ROOT = Path(__file__).resolve().parents[1]
TARGET = 1.25


def seconds_of(folder: Path) -> float:
    """Return how long one `invoke --list` takes in a folder."""
    start = time.perf_counter()
    # Without a timeout, since Python waits for one by polling, in steps of up to 50 ms.
    subprocess.run([sys.executable, "-m", "invoke", "--list"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure in turns, so that what else the machine does falls on both, and print medians and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder)
        (empty / "tasks.py").write_text("from invoke import task\n\n\n@task\ndef nothing(context):\n    pass\n")
        for one in (ROOT, empty):
            seconds_of(one)
        ours, theirs = zip(*((seconds_of(ROOT), seconds_of(empty)) for _ in range(ROUNDS)), strict=True)
    our_median, their_median = statistics.median(ours), statistics.median(theirs)
    print(f"invoke --list, median of {ROUNDS}: ours {our_median * 1000:.0f} ms, empty {their_median * 1000:.0f} ms")
    print(f"ratio {our_median / their_median:.2f} (target <= {TARGET})")


if __name__ == "__main__":
    main()
