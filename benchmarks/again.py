"""A release with nothing changed, and a plan, on one standing twin: `python benchmarks/again.py [--project gli]`.

Each is a whole `invoke` command, its Python start included; `invoke --list` beside it shows how much of it is that.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def invoke(environment: dict[str, str] | None, *words: str) -> float:
    """Run a command and return the seconds that it took. Raises CalledProcessError where it failed."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "invoke", *words],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


def standing_environment() -> dict[str, str]:
    """Return the environment that leads to the standing twin."""
    file = shlex.quote(str(ROOT / ".rehearsal" / "environment"))
    done = subprocess.run(["sh", "-c", f". {file} && env -0"], capture_output=True, check=True)
    return dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if "=" in pair)


def main() -> None:
    """Take turns, and print the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--project", default="gli")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    project = ("--project", chosen.project)
    invoke(None, "rehearse.up", "--engine", "process", *project)
    try:
        environment = standing_environment()
        # The first one has no record yet to go by.
        invoke(environment, "release.prod", "--yes", *project)
        commands = {
            "invoke --list": ("--list",),
            "release with nothing changed": ("release.prod", "--yes", *project),
            "release.plan": ("release.plan", "-e", "prod", *project),
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(chosen.rounds):
            for name, words in commands.items():
                seconds[name].append(invoke(environment, *words))
    finally:
        invoke(None, "rehearse.down")
    for name, taken in seconds.items():
        print(f"{name:<30} median {statistics.median(taken):.2f} s, {min(taken):.2f} to {max(taken):.2f} s")


if __name__ == "__main__":
    main()
