"""Open a shell in a running task: the checks before it, ExecuteCommand, and AWS's session program on this terminal."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gli_tasks import shell
from gli_tasks.console import PROCESS_REDACTOR, Secret
from gli_tasks.ecs.one_off import require_no_secrets
from gli_tasks.errors import CommandFailed, Refused, UsageError

PLUGIN = "session-manager-plugin"
# A plugin newer than this takes the session, and with it the token, from the environment; an older one from its argv,
# which everyone on this machine can read (awscli, customizations/sessionmanager.py).
_LAST_WITH_ARGV = (1, 2, 497, 0)
_RESPONSE = "AWS_SSM_START_SESSION_RESPONSE"
_TASKS_A_CALL = 100


@dataclass(frozen=True, slots=True)
class Door:
    """A container of a running task, and what ECS Exec needs of it (Amazon ECS Developer Guide, "Monitor Amazon ECS
    containers with ECS Exec")."""

    task: str
    container: str
    runtime_id: str
    enabled: bool
    agent: str


def doors(descriptions: Sequence[Mapping[str, Any]], container: str) -> tuple[Door, ...]:
    """Return the doors of DescribeTasks' tasks that run, those of the newest task first."""
    running = [one for one in descriptions if one.get("lastStatus") == "RUNNING"]
    # By its time as text where there is any: a task that has just begun to run may not tell yet.
    running.sort(key=lambda one: str(one.get("startedAt") or "9999"), reverse=True)
    found = []
    for task in running:
        for one in task.get("containers", ()):
            if one.get("name") != container:
                continue
            agents = one.get("managedAgents") or ()
            statuses = [str(agent.get("lastStatus")) for agent in agents if agent.get("name") == "ExecuteCommandAgent"]
            found.append(
                Door(
                    task=str(task["taskArn"]).rsplit("/", 1)[-1],
                    container=container,
                    runtime_id=str(one.get("runtimeId", "")),
                    enabled=bool(task.get("enableExecuteCommand")),
                    agent=statuses[0] if statuses else "",
                )
            )
    return tuple(found)


def choose_door(found: Sequence[Door], task: str) -> Door:
    """Return the door of the task whose id begins so; without one that of the newest task. Raises UsageError."""
    matching = [one for one in found if one.task.startswith(task)] if task else list(found[:1])
    if not matching:
        known = ", ".join(one.task for one in found) or "none"
        raise UsageError(
            f"no running task is {task!r}" if task else "no task is running", remedy=f"tasks that run: {known}"
        )
    if len(matching) > 1:
        raise UsageError(
            f"several running tasks begin with {task!r}", remedy=f"name one: {', '.join(one.task for one in matching)}"
        )
    return matching[0]


def require_open(door: Door, cluster: str, service: str) -> None:
    """Refuse a door that cannot be opened, with what to do. Raises Refused."""
    if not door.enabled:
        raise Refused(
            f"task {door.task} was started without ECS Exec",
            remedy="let the service's next tasks have it: `aws ecs update-service --enable-execute-command"
            f" --force-new-deployment --cluster {cluster} --service {service}`; their task role needs the four"
            " ssmmessages permissions",
        )
    if door.agent != "RUNNING":
        raise Refused(
            f"the ExecuteCommandAgent of task {door.task} is {door.agent or 'not there'}, not RUNNING",
            remedy="wait a moment; if it stays so, the task role lacks ssmmessages permissions, or the task a way to"
            " the ssmmessages endpoint",
        )


def read_doors(ecs: Any, cluster: str, service: str, container: str, task: str) -> tuple[Door, ...]:
    """Return the doors of a service's running tasks, or of all in the cluster where a task is named: it may be a
    one-off one."""
    scope = {} if task else {"serviceName": service}
    arns: list[str] = []
    for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster, desiredStatus="RUNNING", **scope):
        arns += page["taskArns"]
    tasks: list[Mapping[str, Any]] = []
    for start in range(0, len(arns), _TASKS_A_CALL):
        tasks += ecs.describe_tasks(cluster=cluster, tasks=arns[start : start + _TASKS_A_CALL])["tasks"]
    return doors(tasks, container)


def require_plugin() -> None:
    """Refuse to start without a session program that keeps the token out of its argv. Raises Refused."""
    remedy = 'AWS Systems Manager User Guide, "Install the Session Manager plugin for the AWS CLI", says how'
    if shutil.which(PLUGIN) is None:
        raise Refused(f"the program {PLUGIN!r} is not installed, and ECS Exec needs it", remedy=remedy)
    printed = shell.run([PLUGIN, "--version"], timeout_s=30).output.strip()
    version = re.search(r"\d+(\.\d+){2,3}", printed)
    if version is None or tuple(map(int, version[0].split("."))) <= _LAST_WITH_ARGV:
        raise Refused(
            f"{PLUGIN} {printed[:60] or 'of an unknown version'} would show the session's token to everyone on this"
            " machine",
            remedy=f"install one newer than {'.'.join(map(str, _LAST_WITH_ARGV))}: {remedy}",
        )


def open_session(
    ecs: Any,
    cluster: str,
    door: Door,
    command: str,
    *,
    region: str,
    profile: str,
    ssm_endpoint: str,
    attach: Callable[[Sequence[str], Mapping[str, str | None]], int] = shell.attach,
) -> None:
    """Execute a command in a container, and give this terminal to it until it ends.

    What the command itself ended with is not told by the session program. Raises CommandFailed where that fails.
    """
    require_no_secrets(command.split(), {})
    answer = ecs.execute_command(
        cluster=cluster, task=door.task, container=door.container, command=command, interactive=True
    )
    session = answer["session"]
    PROCESS_REDACTOR.learn(Secret(str(session["tokenValue"])))
    # The names that StartSession answers with, which the session program knows.
    response = {
        "SessionId": session["sessionId"],
        "StreamUrl": session["streamUrl"],
        "TokenValue": session["tokenValue"],
    }
    target = {"Target": f"ecs:{cluster.rsplit('/', 1)[-1]}_{door.task}_{door.runtime_id}"}
    argv = [PLUGIN, _RESPONSE, region, "StartSession", profile, json.dumps(target), ssm_endpoint]
    status = attach(argv, {_RESPONSE: json.dumps(response)})
    if status:
        raise CommandFailed(f"{PLUGIN} ended with status {status}", returncode=status, where=f"task {door.task}")
