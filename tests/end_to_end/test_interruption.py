"""However a rehearsal ends, nothing of it is left."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.end_to_end.conftest import Started, traces, wait_until_gone

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
