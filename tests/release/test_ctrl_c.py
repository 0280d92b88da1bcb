"""Ctrl-C, sent as a real signal to a real process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gli_tasks.release.journal import Journal
from gli_tasks.release.record import Outcome, Record
from tests.release.release_parts import BUCKET, record

PROGRAM = Path(__file__).with_name("stoppable_release.py")


@contextmanager
def releasing(endpoint: str, mode: str, until: str) -> Iterator[subprocess.Popen[str]]:
    """Give the process as soon as it has printed ``until``."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), endpoint, mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == until:
                break
        yield process
    finally:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=20)
    return process.returncode, output, errors


def stored(s3: Any) -> Record:
    return Journal(s3, BUCKET).read(record().id)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_stops_a_step_that_waits_and_puts_the_old_version_back(
    s3: Any, s3_endpoint: str, number: signal.Signals
) -> None:
    with releasing(s3_endpoint, "waits", "long begins") as process:
        process.send_signal(number)
        code, output, errors = end(process)
    assert code == 130
    assert output.split("\n")[:2] == ["undo begins", "undo ends"]
    assert "last begins" not in output
    assert "stopping at the next safe point; once more stops at once" in errors
    assert "serving: api runs api:6 again" in errors
    one = stored(s3)
    assert one.outcome is Outcome.INTERRUPTED
    assert one.failure is not None
    assert one.failure.step == "ecs.wait"
    assert {step.name: str(step.outcome) for step in one.steps} == {"ecs.update": "undone", "ecs.wait": "failed"}


def test_once_lets_a_busy_step_come_to_its_end(s3: Any, s3_endpoint: str) -> None:
    with releasing(s3_endpoint, "busy", "long begins") as process:
        process.send_signal(signal.SIGINT)
        code, output, errors = end(process)
    assert code == 130
    assert output.split("\n")[:3] == ["long ends", "undo begins", "undo ends"]
    assert "stopped by Ctrl-C before this step" in errors
    one = stored(s3)
    assert one.failure is not None
    assert one.failure.step == "notify"
    assert one.outcome is Outcome.INTERRUPTED


def test_twice_stops_at_once_and_leaves_the_record_of_what_was_done(s3: Any, s3_endpoint: str) -> None:
    with releasing(s3_endpoint, "stuck", "long begins") as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "stopping at the next safe point" not in process.stderr.readline():
            pass
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        code, output, _ = end(process)
    assert code == 130
    assert time.monotonic() - began < 5
    assert "undo" not in output
    one = stored(s3)
    assert one.outcome is Outcome.RUNNING
    assert [(step.name, str(step.outcome)) for step in one.steps] == [("ecs.update", "done")]


def test_once_during_an_undo_does_not_cut_it_in_half(s3: Any, s3_endpoint: str) -> None:
    with releasing(s3_endpoint, "undo", "undo begins") as process:
        process.send_signal(signal.SIGINT)
        code, output, errors = end(process)
    assert output.startswith("undo ends\n")
    assert code == 1
    assert "it broke" in errors
    one = stored(s3)
    assert one.outcome is Outcome.FAILED
    assert {step.name: str(step.outcome) for step in one.steps}["ecs.update"] == "undone"


def test_twice_during_an_undo_stops_at_once(s3: Any, s3_endpoint: str) -> None:
    with releasing(s3_endpoint, "undo", "undo begins") as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "stopping at the next safe point" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        code, output, _ = end(process)
    assert code == 130
    assert "undo ends" not in output
