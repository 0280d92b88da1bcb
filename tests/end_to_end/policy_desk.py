"""A standing twin, and an operator at it whose access key is named after the group of tasks that is at work."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx

from gli_tasks.settings import Settings, load
from gli_tasks.settings.load import root_folder
from tests.end_to_end.conftest import ROOT, invoke
from tests.end_to_end.policy_names import names_of
from tests.end_to_end.policy_rules import Call, read_call

PROJECT, ENVIRONMENT, OTHER_ENVIRONMENT = "gli", "prod", "stg"
_SETTLE_S = 60
_PLUGIN = """#!/bin/sh
# Stands in for AWS's session program: nothing of it asks for a permission, since the session's token is enough.
[ "$1" = --version ] && echo 1.2.707.0
exit 0
"""


@dataclass
class Desk:
    """The operator's place. ``done`` holds what was typed, by group."""

    environment: dict[str, str]
    done: dict[str, list[str]] = field(default_factory=dict)
    _versions: Iterator[int] = field(default_factory=lambda: iter(range(100)))

    def settings(self) -> Settings:
        return load(root_folder(), PROJECT, ENVIRONMENT, self.environment).settings

    def run(self, group: str, *words: str, code: int = 0) -> str:
        """Type a task as the group's operator; return what it answered. Raises AssertionError on another exit code."""
        self.done.setdefault(group, []).append(shlex.join(words))
        began = time.monotonic()
        done = invoke(*words, environment=self._as(group))
        print(f"{group}: {shlex.join(words)} ({time.monotonic() - began:.1f} s)", file=sys.stderr)
        assert done.returncode == code, f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def kill(self, group: str, text: str, *words: str) -> None:
        """Type a task as the group's operator, and kill it when it says this."""
        self.interfere(group, text, lambda process: os.killpg(process.pid, signal.SIGKILL), *words, code=-9)

    def interfere(
        self, group: str, text: str, act: Callable[[subprocess.Popen[str]], object], *words: str, code: int
    ) -> None:
        """Type a task as the group's operator, and act once, when it says this."""
        self.done.setdefault(group, []).append(shlex.join(words))
        process = subprocess.Popen(
            [sys.executable, "-m", "invoke", *words],
            cwd=ROOT,
            env=self._as(group),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr is not None
        said, acted = [], False
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        try:
            for line in process.stderr:
                said.append(line)
                if text in line and not acted:
                    act(process)
                    acted = True
            process.wait(30)
        finally:
            watchdog.cancel()
            process.stderr.close()
        assert acted, "".join(said)
        assert process.returncode == code, "".join(said)

    def replace_rollout(self) -> None:
        """Start another rollout of the API, as somebody else might in the middle of one."""
        settings = self.settings()
        self.client("ecs").update_service(
            cluster=settings.ecs.cluster, service=settings.ecs_services["api"].service, forceNewDeployment=True
        )

    def newest_revision(self) -> str:
        """Return the API's newest task definition as ``family:revision``, whether it was any good or not."""
        family = names_of(self.settings())["TaskFamily"][0]
        arns = self.client("ecs").list_task_definitions(familyPrefix=family, sort="DESC")["taskDefinitionArns"]
        return str(arns[0]).rpartition("/")[2]

    def commit(self, files: Mapping[str, str] | None = None) -> None:
        """Commit a new version of the API, and push it."""
        folder = Path(self.environment["API_SOURCE"])
        version = f"2.0.{next(self._versions)}"
        for name, text in {"VERSION": f"{version}\n", **(files or {})}.items():
            (folder / name).write_text(text)
        self._git(folder, "add", "--all")
        self._commit(folder, f"version {version}")

    def commit_nothing(self) -> None:
        """Commit the same content once more, and push that."""
        self._commit(Path(self.environment["API_SOURCE"]), "nothing new", "--allow-empty")

    def _commit(self, folder: Path, message: str, *words: str) -> None:
        identity = ("-c", "user.name=x", "-c", "user.email=x@localhost")
        self._git(folder, *identity, "commit", "-q", *words, "-m", message)
        self._git(folder, "push", "-q")

    @staticmethod
    def _git(folder: Path, *words: str) -> None:
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)

    def client(self, service: str) -> Any:
        """Return a client for what has to be there before; its calls are no operator's."""
        return boto3.client(
            service,
            region_name=self.environment["AWS_DEFAULT_REGION"],
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="preparation",
            aws_secret_access_key="preparation",
        )

    def prepare(self) -> None:
        """Make what a rehearsal alone has not: the other environment's repositories, autoscaling, a way in."""
        for service in other_settings(self.environment).ecs_services.values():
            self.client("ecr").create_repository(repositoryName=service.repository)
        settings = self.settings()
        cluster, services = settings.ecs.cluster, settings.ecs_services
        self.client("application-autoscaling").register_scalable_target(
            ServiceNamespace="ecs",
            ResourceId=f"service/{cluster}/{services['websocket'].service}",
            ScalableDimension="ecs:service:DesiredCount",
            MinCapacity=1,
            MaxCapacity=4,
        )
        self.client("ecs").update_service(
            cluster=cluster, service=services["api"].service, enableExecuteCommand=True, forceNewDeployment=True
        )
        self.settle()

    def settle(self) -> None:
        """Wait until no rollout is under way."""
        settings, ecs = self.settings(), self.client("ecs")
        names = [one.service for one in settings.ecs_services.values()]
        deadline = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline:
            services = ecs.describe_services(cluster=settings.ecs.cluster, services=names)["services"]
            if all(
                [one["rolloutState"] for one in service["deployments"]] == ["COMPLETED"]
                and service["runningCount"] == service["desiredCount"]
                for service in services
            ):
                return
            time.sleep(0.2)
        raise AssertionError(f"the services did not settle within {_SETTLE_S} s")

    def calls(self, group: str) -> list[Call]:
        """Return what the group's operator asked for since the twin's start."""
        rows = httpx.get(f"{self.environment['AWS_ENDPOINT_URL']}/_twin/ledger", trust_env=False).json()
        return sorted({read_call(row) for row in rows if row["caller"] == _key(group)})

    def _as(self, group: str) -> dict[str, str]:
        return {**self.environment, "AWS_ACCESS_KEY_ID": _key(group), "GLI_PROJECT": PROJECT}


def _key(group: str) -> str:
    return f"operator-{group}"


@contextmanager
def standing_twin(folder: Path) -> Iterator[Desk]:
    """Put a twin up, prepare it, give the desk in front of it, and take it down. ``folder`` is for a program."""
    up = invoke("rehearse.up", "--engine", "process", "--project", PROJECT, "--env", ENVIRONMENT)
    assert up.returncode == 0, up.stderr
    try:
        file = ROOT / ".rehearsal" / "environment"
        done = subprocess.run(
            ["sh", "-c", f". {shlex.quote(str(file))} && env -0"], capture_output=True, check=True, text=True
        )
        environment = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if "=" in pair)
        program = folder / "session-manager-plugin"
        program.write_text(_PLUGIN)
        program.chmod(0o755)
        desk = Desk({**environment, "PATH": f"{folder}{os.pathsep}{environment['PATH']}"})
        desk.prepare()
        yield desk
    finally:
        down = invoke("rehearse.down")
    assert down.returncode == 0, down.stderr


def other_settings(process: Mapping[str, str]) -> Settings:
    """Return the settings of the environment that images are promoted to."""
    return load(root_folder(), PROJECT, OTHER_ENVIRONMENT, process).settings
