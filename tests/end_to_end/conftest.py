"""Run whole rehearsals as an operator does: by the command, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.floor_parts import heed_ctrl_c
from tests.marker_secrets import look_into

ROOT = Path(__file__).resolve().parents[2]
RUN_S = 420


@dataclass(frozen=True)
class Rehearsed:
    """A rehearsal that ended."""

    exit_code: int
    verdict: dict[str, Any]
    said: str


def invoke(
    *words: str, environment: dict[str, str] | None = None, timeout_s: float = RUN_S
) -> subprocess.CompletedProcess[str]:
    """Run ``invoke`` in the checkout."""
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *words],
        cwd=ROOT,
        env=environment or dict(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    look_into({f"invoke {words[0]}, standard output": done.stdout, f"invoke {words[0]}, standard error": done.stderr})
    return done


@pytest.fixture
def rehearse() -> Callable[..., Rehearsed]:
    """Return the function that rehearses and gives back the verdict."""

    def run(*words: str) -> Rehearsed:
        done = invoke("rehearse", *words, "--json")
        verdict = json.loads(done.stdout) if done.stdout.strip() else {}
        return Rehearsed(done.returncode, verdict, done.stderr)

    return run


@dataclass
class Started:
    """A rehearsal under way."""

    process: subprocess.Popen[str]
    said: list[str]

    def wait_for(self, text: str, timeout_s: float = 120) -> None:
        """Read on until a line holds the text."""
        assert self.process.stderr is not None
        deadline = time.monotonic() + timeout_s
        for line in self.process.stderr:
            self.said.append(line)
            look_into({"the rehearsal's standard error": line})
            if text in line:
                return
            if time.monotonic() > deadline:
                break
        raise AssertionError(f"{text!r} was not said:\n{''.join(self.said)}")


@pytest.fixture
def start_rehearsal() -> Iterator[Callable[..., Started]]:
    """Return the function that starts a rehearsal in the background; it is killed at the end of the test."""
    started: list[Started] = []

    def start(*words: str) -> Started:
        process = subprocess.Popen(
            [sys.executable, "-m", "invoke", "rehearse", *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=heed_ctrl_c,
        )
        one = Started(process, [])
        started.append(one)
        return one

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGKILL)
            one.process.wait(10)
        assert one.process.stderr is not None
        one.process.stderr.close()


def traces() -> set[str]:
    """Return what rehearsals have on this machine now: marked processes, and folders."""
    found = {str(path) for path in Path("/tmp").glob("gli-rehearsal-*")}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            marked = b"GLI_REHEARSAL=" in (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes().replace(bytes(1), b" ").decode(errors="replace")
        except OSError:
            continue
        if marked or "gli-rehearsal-" in command:
            found.add(f"{entry.name} {command}")
    return found


def wait_until_gone(before: set[str], timeout_s: float = 40) -> set[str]:
    """Return what is still there of what was not there before, once it is nothing or the time is over."""
    deadline = time.monotonic() + timeout_s
    while (left := traces() - before) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left
