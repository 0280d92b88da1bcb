"""Sessions: which container, whether it can be entered, and what AWS's session program is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gli_tasks.console import PROCESS_REDACTOR
from gli_tasks.ecs.session import Door, choose_door, open_session, read_doors, require_open, require_plugin
from gli_tasks.errors import CommandFailed, Refused, UsageError
from tests.ecs.stack_parts import NETWORK, Stack

# A session program that notes what it got, and says something on the terminal that it was given.
PLUGIN = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "{version}"; exit 0; fi
printf '%s\\n' "$@" > "{folder}/argv"
printf '%s' "$AWS_SSM_START_SESSION_RESPONSE" > "{folder}/response"
read -r line
echo "typed: $line"
exit {status}
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str = "1.2.650.0", status: int = 0) -> None:
    program = folder / "session-manager-plugin"
    program.write_text(PLUGIN.format(version=version, folder=folder, status=status))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def started(cloud: Stack, count: int = 1, **more: Any) -> None:
    cloud.serve(cloud.register("serve"), count=count, **more)


def read(cloud: Stack, task: str = "") -> tuple[Door, ...]:
    return read_doors(cloud.ecs, "shop-cluster", "shop-api", "api", task)


def test_the_newest_task_is_entered_unless_one_is_named(cloud: Stack) -> None:
    started(cloud, 2, enableExecuteCommand=True)
    found = read(cloud)
    newest = max(cloud.tasks(), key=lambda one: one["startedAt"])["taskArn"].rsplit("/", 1)[-1]
    assert choose_door(found, "").task == newest
    other = next(one for one in found if one.task != newest)
    assert choose_door(found, other.task[:8]) == other
    assert (other.enabled, other.agent, other.container) == (True, "RUNNING", "api")
    require_open(other, "shop-cluster", "shop-api")


def test_a_one_off_task_is_entered_by_its_id(cloud: Stack) -> None:
    answer = cloud.ecs.run_task(
        cluster="shop-cluster",
        taskDefinition=cloud.register("deaf"),
        launchType="FARGATE",
        networkConfiguration=NETWORK,
        enableExecuteCommand=True,
    )
    task = answer["tasks"][0]["taskArn"].rsplit("/", 1)[-1]
    cloud.until(lambda: [one for one in cloud.tasks() if one["lastStatus"] == "RUNNING"])
    assert choose_door(read(cloud, task), task).task == task


def door(**changes: Any) -> Door:
    values: dict[str, Any] = {
        "task": "abc",
        "container": "api",
        "runtime_id": "r-1",
        "enabled": True,
        "agent": "RUNNING",
    }
    return Door(**{**values, **changes})


def test_an_id_that_fits_none_or_several_is_refused_with_those_that_run() -> None:
    found = [door(task="ab1"), door(task="ab2")]
    with pytest.raises(UsageError) as caught:
        choose_door(found, "x")
    assert caught.value.remedy == "tasks that run: ab1, ab2"
    with pytest.raises(UsageError, match="several running tasks begin with 'ab'"):
        choose_door(found, "ab")
    with pytest.raises(UsageError, match="no task is running"):
        choose_door([], "")


def test_a_task_without_exec_is_refused_with_what_to_do(cloud: Stack) -> None:
    started(cloud)
    with pytest.raises(Refused, match="was started without ECS Exec") as caught:
        require_open(choose_door(read(cloud), ""), "shop-cluster", "shop-api")
    assert "--enable-execute-command --force-new-deployment --cluster shop-cluster" in caught.value.remedy


@pytest.mark.parametrize("agent", ["", "PENDING", "STOPPED"])
def test_an_agent_that_does_not_run_is_refused(agent: str) -> None:
    with pytest.raises(Refused, match="not RUNNING") as caught:
        require_open(door(agent=agent), "c", "s")
    assert "ssmmessages" in caught.value.remedy


def test_the_session_goes_by_the_environment_and_the_token_by_no_argv(
    cloud: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    started(cloud, enableExecuteCommand=True)
    install(tmp_path, monkeypatch)
    require_plugin()
    found = choose_door(read(cloud), "")
    open_session(
        cloud.ecs,
        "shop-cluster",
        found,
        "/bin/sh",
        region="ap-northeast-2",
        profile="ops",
        ssm_endpoint="https://ssm.ap-northeast-2.amazonaws.com",
    )
    argv = (tmp_path / "argv").read_text().splitlines()
    assert argv == [
        "AWS_SSM_START_SESSION_RESPONSE",
        "ap-northeast-2",
        "StartSession",
        "ops",
        json.dumps({"Target": f"ecs:shop-cluster_{found.task}_{found.runtime_id}"}),
        "https://ssm.ap-northeast-2.amazonaws.com",
    ]
    response = json.loads((tmp_path / "response").read_text())
    assert set(response) == {"SessionId", "StreamUrl", "TokenValue"}
    assert response["StreamUrl"].startswith("wss://ssmmessages.ap-northeast-2.")
    assert response["TokenValue"] not in "".join(argv)
    assert response["TokenValue"] not in PROCESS_REDACTOR.clean(response["TokenValue"])
    # It wrote to this process's own standard output.
    assert "typed: " in capfd.readouterr().out


def test_a_session_that_fails_says_so(cloud: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started(cloud, enableExecuteCommand=True)
    install(tmp_path, monkeypatch, status=7)
    with pytest.raises(CommandFailed, match="session-manager-plugin ended with status 7"):
        open_session(
            cloud.ecs, "shop-cluster", choose_door(read(cloud), ""), "ls", region="r", profile="", ssm_endpoint="e"
        )


def test_a_command_with_a_secret_is_not_executed(cloud: Stack) -> None:
    with pytest.raises(Refused, match="looks like a secret"):
        open_session(
            cloud.ecs, "shop-cluster", door(), "psql postgres://a:hunter2x@db", region="r", profile="", ssm_endpoint="e"
        )


@pytest.mark.parametrize("version", ["1.2.497.0", "1.1.0.0", "what?"])
def test_a_program_that_would_show_the_token_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    install(tmp_path, monkeypatch, version=version)
    with pytest.raises(Refused, match="would show the session's token") as caught:
        require_plugin()
    assert "newer than 1.2.497.0" in caught.value.remedy


def test_without_the_program_its_absence_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="'session-manager-plugin' is not installed") as caught:
        require_plugin()
    assert "Install the Session Manager plugin" in caught.value.remedy
