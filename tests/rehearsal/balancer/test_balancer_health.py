"""Health checks, failing open, and draining."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from tests.rehearsal.balancer.balancer_parts import (
    BalancerProcess,
    Control,
    SampleProcess,
    ScriptedTarget,
    forward,
    next_address,
    read_head,
    wait_until,
)

Start = Callable[..., SampleProcess]


def test_states_and_reasons(control: Control, balancer: BalancerProcess, start_sample: Start) -> None:
    api, idle = control.group("api"), control.group("idle")
    good, bad = start_sample("1"), start_sample("1", HEALTH_FAILS="1")
    silent = ScriptedTarget(lambda connection: (connection.recv(65536), time.sleep(2))[1])
    nobody = next_address()
    control.listener("HTTPS", [{"action": forward((api, 1))}])
    control.targets(api, good.target, bad.target, silent.target, (nobody, 9))
    control.targets(idle, good.target)
    assert control.wait_for(api, good.address, "healthy")["reason"] == ""
    found = control.wait_for(api, bad.address, "unhealthy")
    assert (found["reason"], found["description"]) == (
        "Target.ResponseCodeMismatch",
        "Health checks failed with these codes: [503]",
    )
    assert control.wait_for(api, silent.address, "unhealthy")["reason"] == "Target.Timeout"
    assert control.wait_for(api, nobody, "unhealthy")["reason"] == "Target.FailedHealthChecks"
    assert control.wait_for(idle, good.address, "unused")["reason"] == "Target.NotInUse"
    silent.close()


def test_a_probe_is_as_alb_makes_it(control: Control, balancer: BalancerProcess) -> None:
    heads: list[bytes] = []

    def script(connection: socket.socket) -> None:
        heads.append(read_head(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    target = ScriptedTarget(script)
    api = control.group("api", health={"path": "/up?deep=1", "interval_s": 6})
    control.listener("HTTPS", [{"action": forward((api, 1))}])
    control.targets(api, target.target)
    control.wait_for(api, target.address, "healthy")
    began, before = time.monotonic(), len(heads)
    wait_until(lambda: len(heads) >= before + 3, "more probes")
    assert 0.55 < time.monotonic() - began < 2, "three intervals of 6 s at a time scale of 0.05"
    assert heads[0].startswith(b"GET /up?deep=1 HTTP/1.1\r\n")
    assert b"\r\nUser-Agent: ELB-HealthChecker/2.0\r\n" in heads[0]
    assert f"\r\nHost: {target.address}:{target.port}\r\n".encode() in heads[0]
    target.close()


def test_thresholds_on_the_way_down_and_up(control: Control, balancer: BalancerProcess) -> None:
    status = [200]
    answered: list[int] = []

    def script(connection: socket.socket) -> None:
        read_head(connection)
        answered.append(status[0])
        connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status[0])

    target = ScriptedTarget(script)
    api = control.group("api", health={"healthy_threshold": 4, "unhealthy_threshold": 3})
    control.listener("HTTPS", [{"action": forward((api, 1))}])
    control.targets(api, target.target)
    control.wait_for(api, target.address, "healthy")
    assert len(answered) <= 2, "one success makes a new target healthy"
    status[0] = 500
    control.wait_for(api, target.address, "unhealthy")
    assert answered.count(500) in (3, 4)
    answered.clear()
    status[0] = 200
    control.wait_for(api, target.address, "healthy")
    assert answered.count(200) in (4, 5)
    assert [state for _, _, state in control.history] == ["initial", "healthy", "unhealthy", "healthy"][
        -len(control.history) :
    ]
    target.close()


def test_healthy_targets_first_and_all_when_none_is(
    control: Control, balancer: BalancerProcess, start_sample: Start
) -> None:
    api = control.group("api")
    good, bad = start_sample("good"), start_sample("bad", HEALTH_FAILS="1")
    control.listener("HTTPS", [{"action": forward((api, 1))}])
    control.targets(api, good.target, bad.target)
    control.wait_for(api, good.address, "healthy")
    control.wait_for(api, bad.address, "unhealthy")
    assert {balancer.ask("x")[1]["x-app-version"] for _ in range(10)} == {"good"}
    control.targets(api, bad.target)
    wait_until(lambda: balancer.ask("x")[1].get("x-app-version") == "bad", "failing open")
    assert balancer.ask("x")[0] == 200


def test_draining_waits_for_what_is_in_flight(control: Control, balancer: BalancerProcess, start_sample: Start) -> None:
    api = control.group("api")
    old, new = start_sample("old"), start_sample("new")
    control.listener("HTTPS", [{"action": forward((api, 1))}])
    control.targets(api, old.target)
    control.wait_for(api, old.address, "healthy")
    answers: list[tuple[int, str]] = []

    def ask() -> None:
        status, headers, _ = balancer.ask("x", "/work?ms=1500")
        answers.append((status, headers["x-app-version"]))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: control.health.get((api, old.address), {}).get("active") == 1, "a request in flight")
    control.targets(api, new.target, draining=(old.target,))
    found = control.wait_for(api, old.address, "draining")
    assert (found["reason"], found["description"]) == (
        "Target.DeregistrationInProgress",
        "Target deregistration is in progress",
    )
    control.wait_for(api, new.address, "healthy")
    assert balancer.ask("x")[1]["x-app-version"] == "new"
    assert control.state(api, old.address) == "draining" and not answers
    control.wait_for(api, old.address, "gone")
    thread.join(5)
    assert answers == [(200, "old")]


def test_draining_ends_with_its_delay(control: Control, balancer: BalancerProcess, start_sample: Start) -> None:
    api = control.group("api", deregistration_delay_s=10)  # 0.5 s at this time scale
    old = start_sample("old")
    control.listener("HTTPS", [{"action": forward((api, 1))}])
    control.targets(api, old.target)
    control.wait_for(api, old.address, "healthy")
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(balancer.ask("x", "/work?ms=2500")[0]))
    thread.start()
    wait_until(lambda: control.health.get((api, old.address), {}).get("active") == 1, "a request in flight")
    began = time.monotonic()
    control.targets(api, draining=(old.target,))
    control.wait_for(api, old.address, "gone")
    assert 0.4 < time.monotonic() - began < 2
    thread.join(5)
    assert statuses == [502]


def test_an_idle_target_is_gone_at_once_and_may_come_back(
    control: Control, balancer: BalancerProcess, start_sample: Start
) -> None:
    api = control.group("api")
    sample = start_sample("1")
    control.listener("HTTPS", [{"action": forward((api, 1))}])
    control.targets(api, sample.target)
    control.wait_for(api, sample.address, "healthy")
    began = time.monotonic()
    control.targets(api, draining=(sample.target,))
    control.wait_for(api, sample.address, "gone")
    assert time.monotonic() - began < 1
    assert balancer.ask("x")[0] == 503
    control.targets(api, sample.target)
    control.wait_for(api, sample.address, "healthy")
    assert balancer.ask("x")[0] == 200
