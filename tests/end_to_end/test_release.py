"""The main job, whole: both projects, both engines, good releases and bad ones that leave the old version serving."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.end_to_end.conftest import Rehearsed, traces, wait_until_gone

pytestmark = pytest.mark.end_to_end

PROJECTS = ("gli", "greenflow")
ENGINES = ("process", "docker")
FAULTS = {
    "bad-image": "CannotPullContainerError",
    "crash-at-start": "exited with 1",
    "health-check-never-passes": "health checks",
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "docker":
        request.getfixturevalue("docker_engine")
    return str(request.param)


@pytest.mark.parametrize("project", PROJECTS)
def test_a_good_release_moves_all_traffic_and_loses_no_request(
    rehearse: Callable[..., Rehearsed], project: str, engine: str
) -> None:
    before = traces()
    done = rehearse("--project", project, "--engine", engine)
    verdict = done.verdict
    assert done.exit_code == 0, done.said
    assert verdict["kept"] is True
    assert verdict["engine"] == engine
    assert verdict["release_exit_code"] == 0
    assert (verdict["version_before"], verdict["version_after"]) == ("1.0.0", "1.1.0")
    assert verdict["requests_failed"] == 0
    assert verdict["requests_served"] > 500
    assert set(verdict["traffic"]["by_version"]) == {"1.0.0", "1.1.0"}
    assert {step["outcome"] for step in verdict["steps"]} == {"done"}
    assert [step["name"] for step in verdict["steps"]][-1] == "notify"
    assert verdict["record"].startswith("s3://")
    assert not wait_until_gone(before)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_version_in_containers_fails_the_release_and_the_old_one_serves_on(
    rehearse: Callable[..., Rehearsed], docker_engine: str, fault: str
) -> None:
    # With local processes, and the rest of the faults: test_faults.py.
    before = traces()
    done = rehearse("--project", "gli", "--engine", "docker", "--fault", fault)
    verdict = done.verdict
    assert done.exit_code == 0, done.said
    assert verdict["release_exit_code"] == 1
    assert (verdict["version_before"], verdict["version_after"]) == ("1.0.0", "1.0.0")
    assert verdict["outcome"] == "failed"
    assert verdict["requests_failed"] == 0
    assert FAULTS[fault].lower() in verdict["cause"].lower()
    outcomes = {step["name"]: step["outcome"] for step in verdict["steps"]}
    assert outcomes["ecs.wait"] == "failed"
    assert outcomes["ecs.update"] == "undone"
    assert "health.check" not in outcomes
    assert not wait_until_gone(before)
