"""A rehearsed release beside its own external work alone: `python benchmarks/release.py [--rounds 3]`.

Both run on one twin, in turns, each with a new commit. The work alone is what a script without any check would do:
run the sources' checks, build and push side by side, register, update, poll ten times a second until ECS says
completed, ask the health checks, tag. The release does all that with its proofs, its record and a poll a second.
Traffic goes on all the while.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gli_tasks.rehearsal import stage as stages  # noqa: E402
from gli_tasks.rehearsal.load_process import LoadProcess  # noqa: E402
from gli_tasks.rehearsal.rehearse import bring_up_old, commit_version  # noqa: E402

TARGET = 1.15


def silent(_line: str) -> None:
    """Take a line of output and say nothing."""


def timed(stage: stages.Stage, *argv: str) -> float:
    """Return the seconds that a program of the rehearsal takes."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=ROOT,
        env=dict(stage.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(done.stderr.decode(errors="replace"))
    return time.perf_counter() - start


def main() -> None:
    """Put a twin up, take turns, print medians and their ratio, and the requests that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", default="process")
    parser.add_argument("--project", default="gli")
    options = parser.parse_args()
    stage = stages.put_up(options.project, "prod", options.engine, time_scale=0.05, say=silent)
    try:
        bring_up_old(stage)
        releases, alone = [], []
        with LoadProcess(stage, 200) as traffic:
            traffic.wait_for_traffic()
            for number in range(options.rounds):
                commit_version(stage, f"2.{number}.0", {})
                alone.append(timed(stage, str(ROOT / "benchmarks" / "work_alone.py"), options.project))
                commit_version(stage, f"3.{number}.0", {})
                releases.append(
                    timed(stage, "-m", "invoke", "release.prod", "--project", options.project, "--yes", "--json")
                )
            seen = traffic.stop()
    finally:
        left_over = stages.take_down(stage)
    release, work = statistics.median(releases), statistics.median(alone)
    print(json.dumps({"releases_s": releases, "alone_s": alone, "left_over": left_over}))
    print(
        f"{options.project}, {options.engine}: release {release:.2f} s, its external work alone {work:.2f} s (medians)"
    )
    print(f"ratio {release / work:.2f} (target <= {TARGET})")
    print(f"requests at 200 a second: {seen.served} served, {seen.failed} failed (target 0)")


if __name__ == "__main__":
    main()
