"""How the balancer's process begins and ends."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from tests.rehearsal.balancer.balancer_parts import (
    ROOT,
    BalancerProcess,
    Certificates,
    Control,
    SampleProcess,
    forward,
    wait_until,
)


def test_sigterm_lets_requests_in_flight_end(
    control: Control, certificates: Certificates, start_sample: Callable[..., SampleProcess]
) -> None:
    balancer = BalancerProcess(control.url, certificates)
    group = control.group("api")
    control.listener("HTTPS", [{"action": forward((group, 1))}])
    sample = start_sample("1")
    control.targets(group, sample.target)
    control.wait_for(group, sample.address, "healthy")
    idle = balancer.connection()
    idle.request("GET", "/", headers={"Host": "x"})
    assert idle.getresponse().read()
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(balancer.ask("x", "/work?ms=1200")[0]))
    thread.start()
    wait_until(lambda: control.health[group, sample.address]["active"] == 1, "a request in flight")
    began = time.monotonic()
    assert balancer.close() == 0
    thread.join(5)
    assert statuses == [200]
    assert time.monotonic() - began < 4
    idle.close()
    assert control.total("requests") == 2, "the last counts are delivered"


def test_it_ends_when_stdin_closes(control: Control, certificates: Certificates) -> None:
    balancer = BalancerProcess(control.url, certificates, "--until-stdin-closes")
    assert balancer.process.stdin is not None
    balancer.process.stdin.close()
    assert balancer.process.wait(5) == 0
    balancer.close()


def test_it_ends_when_the_control_process_is_lost(certificates: Certificates) -> None:
    control = Control()
    balancer = BalancerProcess(control.url, certificates, "--control-timeout-s", "1")
    control.group("api")
    control.close()
    try:
        began = time.monotonic()
        assert balancer.process.wait(10) == 1
        assert 0.8 < time.monotonic() - began < 8
    finally:
        balancer.close()


def test_a_control_process_that_comes_back_is_followed(control: Control, balancer: BalancerProcess) -> None:
    control.listener("HTTPS", [{"action": {"type": "fixed-response", "status": 200, "body": "one"}}])
    wait_until(lambda: balancer.ask("x")[2] == b"one", "the first topology")
    with control.change() as topology:  # a broken topology changes nothing
        kept = topology.pop("listeners")
        topology["listeners"] = "nonsense"
    time.sleep(0.3)
    assert balancer.ask("x")[2] == b"one"
    with control.change() as topology:
        kept[0]["rules"][0]["action"]["body"] = "two"
        topology["listeners"] = kept
    wait_until(lambda: balancer.ask("x")[2] == b"two", "the next topology")


def test_requests_wait_for_the_first_topology(certificates: Certificates) -> None:
    control = Control()
    control.listener("HTTPS", [{"action": {"type": "fixed-response", "status": 200, "body": "there"}}])
    balancer = BalancerProcess(control.url, certificates)
    try:
        assert balancer.ask("x")[2] == b"there"
    finally:
        assert balancer.close() == 0
        control.close()


@pytest.mark.parametrize("arguments", [["--control", "nowhere"], ["--control", "http://127.0.0.1:1", "--http", "x"]])
def test_a_wrong_command_line_is_2(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "gli_tasks.rehearsal.balancer", *arguments]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 2
