"""Verification of whole stacks: nothing wrong in a whole one, and each broken reference found, alone."""

from __future__ import annotations

from gli_tasks.ecs.findings import Level
from tests.ecs.verify_parts import Stack, levels

pytest_plugins = ["tests.ecs.verify_fixtures"]


def test_whole(gli: Stack) -> None:
    import time
    t=time.monotonic()
    findings = gli.verify()
    print(time.monotonic()-t)
    for one in findings:
        print(one)
    assert levels(findings, Level.NG) == []
    assert 0


def test_whole2(greenflow: Stack) -> None:
    import time
    t=time.monotonic()
    findings = greenflow.verify()
    print(time.monotonic()-t)
    for one in findings:
        print(one)
    print(greenflow.gateway.calls())
    assert levels(findings, Level.NG) == []
    assert 0
