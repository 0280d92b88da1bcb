"""However a rehearsal ends, nothing of it is left."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import ROOT, Started, invoke, traces, wait_until_gone
from tests.floor_parts import heed_ctrl_c

pytestmark = pytest.mark.end_to_end


@pytest.mark.parametrize("moment", ["the twin is up", "begin", "ecs.wait"])
def test_ctrl_c_ends_with_130_and_leaves_nothing(start_rehearsal: Callable[..., Started], moment: str) -> None:
    before = traces()
    started = start_rehearsal("--engine", "process")
    started.wait_for(moment)
    started.process.send_signal(signal.SIGINT)
    assert started.process.wait(60) == 130
    assert not wait_until_gone(before)


def test_a_killed_rehearsal_leaves_nothing(start_rehearsal: Callable[..., Started]) -> None:
    before = traces()
    started = start_rehearsal("--engine", "process")
    started.wait_for("ecs.wait")
    started.process.send_signal(signal.SIGKILL)
    started.process.wait(10)
    assert not wait_until_gone(before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_twin_that_was_to_stay_does_not_if_its_maker_is_ended(number: signal.Signals) -> None:
    before = traces()
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", "rehearse.up", "--engine", "process"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    deadline = time.monotonic() + 60
    while not any("gli_tasks.rehearsal.balancer" in trace for trace in traces() - before):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(30) == -number
    assert not wait_until_gone(before)
    assert "no twin is up" in invoke("rehearse.down").stdout


def test_a_second_twin_is_refused_while_one_stays() -> None:
    before = traces()
    kept = invoke("rehearse", "--engine", "process", "--keep")
    try:
        assert kept.returncode == 0, kept.stderr
        assert stat.S_IMODE((ROOT / ".rehearsal" / "environment").stat().st_mode) == 0o600
        for words in (("rehearse", "--keep"), ("rehearse.up",)):
            refused = invoke(*words)
            assert refused.returncode == 2
            assert "a twin is up already" in refused.stderr
    finally:
        down = invoke("rehearse.down")
    assert down.returncode == 0, down.stderr
    assert not wait_until_gone(before)


def test_nothing_of_the_operators_surroundings_leads_a_rehearsal_astray(tmp_path: Path) -> None:
    own = tmp_path / "own"
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost"]
    subprocess.run(["git", "init", "-q", str(own)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "mine"], cwd=own, check=True)
    known = (own / ".git" / "config").read_text(), sorted(path.name for path in (own / ".git" / "refs").rglob("*"))
    hostile = {
        **os.environ,
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_PROFILE": "nobody",
        "GIT_DIR": str(own / ".git"),
        "GIT_WORK_TREE": str(own),
        "STATE_BUCKET": "elsewhere",
    }
    done = invoke("rehearse", "--engine", "process", "--json", environment=hostile)
    assert done.returncode == 0, done.stderr
    assert known == ((own / ".git" / "config").read_text(), sorted(p.name for p in (own / ".git" / "refs").rglob("*")))
