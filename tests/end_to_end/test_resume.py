"""A release that is killed anywhere goes on to the end of an undisturbed one, or is given up to the old version."""

from __future__ import annotations

import json
import os
import shlex
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from tests.end_to_end.conftest import ROOT, invoke, traces, wait_until_gone

pytestmark = pytest.mark.end_to_end

PROJECT = ("-p", "greenflow")
SERVICE = "greenflow-api-prod"
HOST = "api.greenflow.dev"
STEPS = (
    "git.check",
    "build.env",
    "build.check",
    "image.build",
    "image.push",
    "ecs.verify",
    "ecs.register",
    "ecs.update",
    "ecs.wait",
    "health.check",
    "git.tag",
    "notify",
)
#: What a step says while it is at work, where it says anything: the moment inside it.
INSIDE = {
    "build.check": "build.check   api |",
    "image.build": "image.build   api |",
    "image.push": "image.push    api |",
    "ecs.wait": "ecs.wait      greenflow-api-prod:",
    "health.check": "health.check  api:",
}
POINTS = [
    *(f"{step} begins" for step in STEPS),
    *INSIDE,
    # The step has done its work, and its record is not written yet.
    *(f"{step} done" for step in STEPS),
]


@dataclass
class Twin:
    """A standing twin, with the old version serving, and the sources to release from."""

    environment: dict[str, str]
    number: int = 0

    def source(self, name: str) -> Path:
        return Path(self.environment[f"{name.upper()}_SOURCE"])

    def commit(self) -> tuple[str, str]:
        """Commit and push a new version everywhere; return it, and the API's commit."""
        self.number += 1
        version = f"2.0.{self.number}"
        for name in ("api", "web"):
            folder = self.source(name)
            (folder / "VERSION").write_text(f"{version}\n")
            for words in (("add", "-A"), ("commit", "-q", "-m", f"version {version}"), ("push", "-q")):
                subprocess.run(
                    ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words], cwd=folder, check=True
                )
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=self.source("api"), capture_output=True, text=True)
        return version, head.stdout.strip()

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",
        )

    def invoke(self, *words: str) -> subprocess.CompletedProcess[str]:
        return invoke(*words, *PROJECT, environment=self.environment)

    def state(self) -> dict[str, Any]:
        """Return what a release leaves behind, as far as it is the same for every good one."""
        ecs, s3 = self.client("ecs"), self.client("s3")
        cluster = "greenflow-prod"
        service = ecs.describe_services(cluster=cluster, services=[SERVICE])["services"][0]
        definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"], include=["TAGS"])
        image = definition["taskDefinition"]["containerDefinitions"][0]["image"]
        bucket = "greenflow-release-state-prod"
        current = json.loads(s3.get_object(Bucket=bucket, Key="current.json")["Body"].read())["release"]
        record = json.loads(s3.get_object(Bucket=bucket, Key=f"releases/{current}.json")["Body"].read())
        lock = json.loads(s3.get_object(Bucket=bucket, Key="lock.json")["Body"].read())
        tags = subprocess.run(
            ["git", "ls-remote", "--tags", "origin"], cwd=self.source("api"), capture_output=True, text=True, check=True
        )
        commit = record["services"]["api"]["commit"]
        return {
            "deployments": [(one["status"], one["rolloutState"]) for one in service["deployments"]],
            "runs": (service["runningCount"], service["desiredCount"]),
            "image is recorded": image == record["services"]["api"]["image"],
            "definition is recorded": service["taskDefinition"] == record["services"]["api"]["task_definition"],
            "revisions of this commit": sum(
                one["key"] == "commit" and one["value"] == commit for one in definition["tags"]
            ),
            "revision": int(service["taskDefinition"].rsplit(":", 1)[-1]),
            "outcome": record["outcome"],
            "steps": {step["name"]: step["outcome"] for step in record["steps"]},
            "tags at the commit": sum(line.startswith(commit) for line in tags.stdout.splitlines()),
            "lock": lock["token"],
            "version": self.version(),
        }

    def version(self) -> str:
        context = ssl.create_default_context(cafile=self.environment["CA_FILE"])
        address = self.environment["CONNECT_TO"]
        with httpx.Client(verify=context, trust_env=False, timeout=5) as client:
            answer = client.get(f"https://{address}/", headers={"Host": HOST}, extensions={"sni_hostname": HOST})
        return answer.headers["X-App-Version"]

    def kill_at(self, text: str, *words: str) -> str:
        """Release, or do something else, and kill the process with all its children when it says this; return what it
        had said."""
        process = subprocess.Popen(
            [sys.executable, "-m", "invoke", *(words or ("release.prod",)), *PROJECT, "--yes"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr is not None
        said = []
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        try:
            for line in process.stderr:
                said.append(line)
                if text in line:
                    os.killpg(process.pid, signal.SIGKILL)
                    break
            process.wait(30)
        finally:
            watchdog.cancel()
            process.stderr.close()
        assert process.returncode == -signal.SIGKILL, "".join(said)
        return "".join(said)


@pytest.fixture(scope="module")
def twin() -> Iterator[Twin]:
    before = traces()
    state = ROOT / ".rehearsal"
    assert not state.exists(), "a twin is up already"
    up = invoke("rehearse.up", "--engine", "process", *PROJECT)
    assert up.returncode == 0, up.stderr
    try:
        done = subprocess.run(
            ["sh", "-c", f". {shlex.quote(str(state / 'environment'))} && env -0"], capture_output=True, check=True
        )
        yield Twin(dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if "=" in pair))
    finally:
        down = invoke("rehearse.down")
    assert down.returncode == 0, down.stderr
    assert not wait_until_gone(before)


@pytest.fixture(scope="module")
def undisturbed(twin: Twin) -> dict[str, Any]:
    """Return what an undisturbed release leaves behind."""
    version, _ = twin.commit()
    done = twin.invoke("release.prod", "--yes")
    assert done.returncode == 0, done.stderr
    state = twin.state()
    assert state["version"] == version
    return state


def moment(point: str) -> str:
    """Return the words of the progress by which a point is known."""
    if point in INSIDE:
        return INSIDE[point]
    step, _, what = point.partition(" ")
    return f"{step:<13} begins" if what == "begins" else f"{step:<13} done in"


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_release_goes_on_to_the_end_of_an_undisturbed_one(
    twin: Twin, undisturbed: dict[str, Any], point: str
) -> None:
    revision = twin.state()["revision"]
    version, commit = twin.commit()
    said = twin.kill_at(moment(point))
    freed = twin.invoke("release.unlock", "-e", "prod", "--yes", "--reason", "killed by a test")
    assert freed.returncode == 0, freed.stderr
    done = twin.invoke("release.resume", "-e", "prod", "--yes", "--json")
    assert done.returncode == 0, said + done.stderr
    record = json.loads(done.stdout)
    assert record["services"]["api"]["commit"] == commit
    assert len(record["resumed"]) == 1
    found = twin.state()
    assert found == {**undisturbed, "version": version, "revision": revision + 1}


@pytest.mark.parametrize("point", ["ecs.register done", "ecs.update begins", "ecs.update done", "git.tag done"])
def test_a_killed_release_is_given_up_and_the_old_version_serves(
    twin: Twin, undisturbed: dict[str, Any], point: str
) -> None:
    before = twin.state()
    twin.commit()
    twin.kill_at(moment(point))
    time.sleep(0.5)
    refused = twin.invoke("release.prod", "--yes")
    assert refused.returncode == 3
    assert "holds the environment" in refused.stderr
    assert twin.invoke("release.unlock", "-e", "prod", "--yes", "--reason", "killed by a test").returncode == 0
    refused = twin.invoke("release.prod", "--yes")
    assert refused.returncode == 2
    assert "stands half done" in refused.stderr
    assert "invoke release.abort" in refused.stderr
    done = twin.invoke("release.abort", "-e", "prod", "--yes", "--reason", "not today", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["outcome"] == "failed"
    assert "given up by" in record["failure"]["what"]
    assert "not today" in record["failure"]["what"]
    assert twin.state() == before
    nothing = twin.invoke("release.resume", "-e", "prod", "--yes")
    assert nothing.returncode == 2
    assert "nothing to go on with" in nothing.stderr


def unlock(twin: Twin) -> None:
    freed = twin.invoke("release.unlock", "-e", "prod", "--yes", "--reason", "killed by a test")
    assert freed.returncode == 0, freed.stderr


def test_one_that_was_killed_before_it_changed_anything_is_in_nobody_s_way(
    twin: Twin, undisturbed: dict[str, Any]
) -> None:
    twin.commit()
    twin.kill_at(moment("build.check begins"))
    unlock(twin)
    planned = twin.invoke("release.plan", "-e", "prod")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    done = twin.invoke("release.prod", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    history = json.loads(twin.invoke("release.history", "-e", "prod", "--json", "--limit", "2").stdout)
    assert [one["outcome"] for one in history] == ["healthy", "failed"]
    assert "cut off before it changed anything" in history[1]["failure"]["what"]


def test_a_release_goes_on_from_another_machine(twin: Twin, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    version, _ = twin.commit()
    twin.kill_at(moment("ecs.wait begins"))
    unlock(twin)
    elsewhere = dict(twin.environment)
    for name in ("api", "web"):
        remote = subprocess.run(
            ["git", "remote", "get-url", "origin"], cwd=twin.source(name), capture_output=True, text=True, check=True
        )
        branch = subprocess.run(
            ["git", "branch", "--show-current"], cwd=twin.source(name), capture_output=True, text=True, check=True
        )
        words = ["git", "clone", "-q", "-b", branch.stdout.strip(), remote.stdout.strip(), str(tmp_path / name)]
        subprocess.run(words, check=True)
        elsewhere[f"{name.upper()}_SOURCE"] = str(tmp_path / name)
    done = invoke("release.resume", "-e", "prod", "--yes", *PROJECT, environment=elsewhere)
    assert done.returncode == 0, done.stderr
    state = twin.state()
    assert (state["version"], state["tags at the commit"]) == (version, undisturbed["tags at the commit"])


def test_what_somebody_else_put_there_is_not_overwritten(twin: Twin, undisturbed: dict[str, Any]) -> None:
    before = twin.state()
    twin.commit()
    twin.kill_at(moment("ecs.wait begins"))
    unlock(twin)
    ecs = twin.client("ecs")
    definition = ecs.describe_task_definition(taskDefinition=f"{SERVICE}:{before['revision']}")["taskDefinition"]
    kept = {key: definition[key] for key in ("family", "networkMode", "containerDefinitions", "cpu", "memory")}
    roles = {key: definition[key] for key in ("executionRoleArn", "taskRoleArn") if key in definition}
    kept["containerDefinitions"][0]["environment"].append({"name": "HOTFIX", "value": "1"})
    made = ecs.register_task_definition(**kept, **roles, requiresCompatibilities=["FARGATE"])["taskDefinition"]
    ecs.update_service(cluster="greenflow-prod", service=SERVICE, taskDefinition=made["taskDefinitionArn"])
    ecs.get_waiter("services_stable").wait(
        cluster="greenflow-prod", services=[SERVICE], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    hotfix = made["taskDefinitionArn"].rsplit("/", 1)[-1]
    planned = twin.invoke("release.abort", "-e", "prod", "--plan")
    assert f"leave {SERVICE} alone: it runs {hotfix}" in planned.stdout
    done = twin.invoke("release.abort", "-e", "prod", "--yes", "--reason", "a hotfix serves")
    assert done.returncode == 5, done.stderr
    assert f"{SERVICE} runs {hotfix}" in done.stderr
    # Nothing begins over it, but for the way back.
    refused = twin.invoke("release.prod", "--yes")
    assert (refused.returncode, "could not put back" in refused.stderr) == (2, True)
    back = twin.invoke("release.rollback", "-e", "prod", "--yes")
    assert back.returncode == 0, back.stderr
    assert twin.state()["version"] == before["version"]


def test_an_undo_that_was_killed_goes_on(twin: Twin, undisturbed: dict[str, Any]) -> None:
    before = twin.state()
    twin.commit()
    twin.kill_at(moment("ecs.wait begins"))
    unlock(twin)
    twin.kill_at(f"back: {SERVICE}", "release.abort", "-e", "prod", "--reason", "not today")
    unlock(twin)
    done = twin.invoke("release.resume", "-e", "prod", "--yes", "--json")
    assert done.returncode == 1, done.stderr
    assert "given up by" in json.loads(done.stdout)["failure"]["what"]
    assert twin.state() == before


def test_a_release_that_is_under_way_is_neither_resumed_nor_given_up(twin: Twin, undisturbed: dict[str, Any]) -> None:
    version, _ = twin.commit()
    release = subprocess.Popen(
        [sys.executable, "-m", "invoke", "release.prod", *PROJECT, "--yes"],
        cwd=ROOT,
        env=twin.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert release.stderr is not None
    for line in release.stderr:
        if moment("ecs.wait begins") in line:
            break
    # It waits for the lease of a holder that it takes for dead, and by then the release has ended well.
    done = twin.invoke("release.abort", "-e", "prod", "--yes", "--reason", "I changed my mind")
    release.stderr.read()
    assert release.wait(60) == 0
    release.stderr.close()
    assert done.returncode in (2, 3), done.stderr
    assert twin.state()["version"] == version
