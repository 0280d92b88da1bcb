"""A rolling release under constant load: not one request fails."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.rehearsal.balancer.balancer_parts import (
    FIXED_503,
    ROOT,
    BalancerProcess,
    Control,
    SampleProcess,
    forward,
    wait_until,
)

RATE = 200


def start_load(balancer: BalancerProcess, output: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start the load generator."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "gli_tasks.rehearsal.load", "--target", f"127.0.0.1:{balancer.https}"),
            *("--ca", str(balancer.certificates.ca), "--host", "api.glibiz.com", "--rate", str(RATE)),
            *("--output", str(output), *more),
        ],
        cwd=ROOT,
    )


def test_no_request_fails_while_all_targets_are_replaced(
    control: Control, balancer: BalancerProcess, start_sample: Callable[..., SampleProcess], tmp_path: Path
) -> None:
    api = control.group("api")
    control.listener("HTTPS", [{"hosts": ["api.glibiz.com"], "action": forward((api, 100))}, {"action": FIXED_503}])
    running = [start_sample("1.0.0"), start_sample("1.0.0")]
    control.targets(api, *(sample.target for sample in running))
    for sample in running:
        control.wait_for(api, sample.address, "healthy")

    output = tmp_path / "load.json"
    load = start_load(balancer, output, "--path", "/work?ms=5")
    try:
        wait_until(lambda: output.exists() and json.loads(output.read_bytes())["served"] > RATE / 2, "load")
        for release in ("2.0.0", "3.0.0"):
            for _ in range(2):
                old, new = running[0], start_sample(release)
                control.targets(api, *(sample.target for sample in [*running, new]))
                control.wait_for(api, new.address, "healthy")
                running = [*running[1:], new]
                control.targets(api, *(sample.target for sample in running), draining=(old.target,))
                control.wait_for(api, old.address, "gone")
                control.targets(api, *(sample.target for sample in running))
                assert old.stop() == 0
                time.sleep(0.3)  # traffic between the steps, as a release has it
    finally:
        load.terminate()
        assert load.wait(10) == 0
    seen = json.loads(output.read_bytes())
    assert seen["failed"] == 0, seen["failures"]
    assert seen["requested"] == seen["served"]
    assert set(seen["by_version"]) == {"1.0.0", "2.0.0", "3.0.0"}
    print({key: seen[key] for key in ("requested", "p50_ms", "p95_ms", "p99_ms")})
