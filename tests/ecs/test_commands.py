"""The room's tasks as an operator types them: the real `invoke`, against the twin's ECS in front of moto."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gli_tasks.aws import is_read
from gli_tasks.lock import held
from tests.ecs.stack_parts import LOGS, ROLE, Stack, manifest_of
from tests.floor_parts import ACCOUNT, REGION, REPOSITORY, Shop, clean_process_environment, heed_ctrl_c, invoke

REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
DEFINITION = {
    "family": "shop-api",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "256",
    "memory": "512",
    "executionRoleArn": ROLE,
    "containerDefinitions": [
        {
            "name": "api",
            "image": "${IMAGE}",
            "command": ["serve"],
            "environment": [{"name": "APP_VERSION", "value": "${VERSION}"}],
            "logConfiguration": {**LOGS, "options": {**LOGS["options"], "awslogs-group": "${LOG_GROUP}"}},  # type: ignore[dict-item]
            "stopTimeout": 5,
        }
    ],
}


@dataclass
class Desk:
    """An operator's place: a project, a cloud, and the commit that is released."""

    shop: Shop
    cloud: Stack
    commit: str

    def invoke(self, *words: str) -> Any:
        return invoke(*words, root=self.shop.root, variables={**self.cloud.variables(), "GLI_PROJECT": "shop"})

    def start(self, *words: str) -> subprocess.Popen[str]:
        variables = {**self.cloud.variables(), "GLI_PROJECT": "shop", "GLI_ENV_FOLDER": str(self.shop.root)}
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *words],
            cwd=REPOSITORY,
            env=clean_process_environment(**variables, PYTHONUNBUFFERED="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_ctrl_c,
        )

    def push(self, tag: str) -> str:
        """Put an image into the registry; return its digest."""
        manifest = manifest_of(tag)
        answer = self.cloud.client("ecr").put_image(repositoryName="shop-api", imageManifest=manifest, imageTag=tag)
        return str(answer["image"]["imageId"]["imageDigest"])

    def writes(self) -> dict[str, int]:
        """Return how often ECS and autoscaling were told to change something."""
        calls = httpx.get(f"{self.cloud.url}/_twin/calls", trust_env=False).json()
        services = ("ecs", "application-autoscaling")
        return {name: count for one in services for name, count in calls.get(one, {}).items() if not is_read(name)}


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def desk(shop: Shop, cloud: Stack) -> Iterator[Desk]:
    source = shop.root / "source"
    source.mkdir()
    git(source, "init", "-q", "-b", "main")
    git(source, "commit", "-q", "--allow-empty", "-m", "first")
    shop.replace(shop.toml, "[rollout]\n", "[rollout]\npoll_s = 0.05\n")
    shop.task_definition.write_text(json.dumps(DEFINITION), encoding="utf-8")
    ecr, s3 = cloud.client("ecr"), cloud.client("s3")
    ecr.create_repository(repositoryName="shop-api")
    s3.create_bucket(Bucket="shop-state", CreateBucketConfiguration={"LocationConstraint": REGION})
    yield Desk(shop, cloud, git(source, "rev-parse", "HEAD"))
    for one in s3.list_objects_v2(Bucket="shop-state").get("Contents", ()):
        s3.delete_object(Bucket="shop-state", Key=one["Key"])
    s3.delete_bucket(Bucket="shop-state")
    ecr.delete_repository(repositoryName="shop-api", force=True)


def answered(done: Any) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_version_is_compared_registered_and_rolled_out(desk: Desk) -> None:
    desk.cloud.serve(desk.cloud.register("serve", environment=[{"name": "APP_VERSION", "value": "old"}]))
    seen = desk.invoke("ecs.diff")
    assert seen.returncode == 0, seen.stderr
    assert f"(its image, tagged {desk.commit}, is not in the registry yet)" in seen.stdout
    assert f'environment[APP_VERSION]  "old" → "{desk.commit[:12]}"' in seen.stdout

    early = desk.invoke("ecs.register", "--plan")
    assert (early.returncode, "run `invoke image.push` first" in early.stderr) == (2, True)
    digest = desk.push(desk.commit)
    image = f"{REGISTRY}/shop-api@{digest}"
    compared = answered(desk.invoke("ecs.diff", "--json"))["api"]
    assert (compared["image"], compared["image_pushed"]) == (image, True)
    assert compared["changes"][0] == {
        "path": "containerDefinitions[api].image",
        "before": '"registry/api:1"',
        "after": json.dumps(image),
    }

    before = desk.writes()
    would = answered(desk.invoke("ecs.register", "--plan", "--json"))["would"]
    assert would[0] == "api: register the next revision of shop-api"
    assert desk.writes() == before
    registered = answered(desk.invoke("ecs.register", "--yes", "--json"))["api"]
    assert registered["new"]
    assert answered(desk.invoke("ecs.register", "--plan", "--json")) == {"would": []}
    again = desk.invoke("ecs.register", "--yes")
    assert again.stdout == f"api: {registered['arn']} (an equal one stood already)\n"

    would = answered(desk.invoke("ecs.update", "--plan", "--json"))["would"]
    assert would[0] == "api: run shop-api:2 in place of shop-api:1"
    assert any("APP_VERSION" in sentence for sentence in would)
    started = answered(desk.invoke("ecs.update", "--yes", "--json"))["api"]
    assert started["task_definition"] == registered["arn"]
    waited = answered(desk.invoke("ecs.wait", "--json"))["shop-api"]
    assert (waited["progress"], waited["deployment"]) == ("completed", started["deployment_id"])
    assert answered(desk.invoke("ecs.update", "--plan", "--json")) == {"would": []}
    same = desk.invoke("ecs.diff")
    assert same.stdout.splitlines()[1:] == ["  nothing differs"]


def test_a_command_is_run_with_its_lines_and_its_exit_code(desk: Desk) -> None:
    desk.cloud.serve(desk.cloud.register("serve"))
    before = desk.writes()
    planned = desk.invoke("ecs.run", "--command", "print 'one line' two", "--plan")
    assert planned.stdout == "would change:\n  - api: run print 'one line' two in shop-api:1, one task\n"
    assert desk.writes() == before
    good = desk.invoke("ecs.run", "--command", "print 'one line' two", "--yes")
    assert (good.returncode, good.stdout) == (0, "one line\ntwo\n"), good.stderr
    bad = desk.invoke("ecs.run", "--command", "exit 3", "--yes", "--json")
    assert bad.returncode == 1
    ended = json.loads(bad.stdout)
    assert (ended["exit_code"], ended["log_tail"]) == (3, ["ends with 3"])
    assert f"error: task {ended['task']} ended with exit code 3: Essential container in task exited" in bad.stderr
    assert "Traceback" not in bad.stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["ecs.run", "--command", "migrate --password opensesamex", "--yes"], 2, "what looks like a secret stands in"),
        (["ecs.run", "--command", "it's", "--yes"], 2, "is not quoted as for a shell"),
        (["ecs.run", "--command", "x"], 2, "add --yes"),
        (["ecs.run", "--command", "x", "--timeout", "soon", "--yes"], 2, "--timeout takes a number"),
        (["ecs.run", "--task-definition", "none:1", "--command", "x", "--yes"], 2, "'none:1' has no container 'api'"),
        (["ecs.run", "--yes"], 2, "either --command, or the image's own with --default-command"),
        (["ecs.run", "--default-command", "--memory", "9999", "--yes"], 1, "No Fargate configuration exists"),
        (["ecs.run", "--command", "x", "--service", "apo", "--yes"], 2, "did you mean 'api'?"),
        (["ecs.scale", "--yes"], 2, "either by --count, or by --min and --max"),
        (["ecs.scale", "--count", "1", "--max", "2", "--yes"], 2, "either by --count, or by --min and --max"),
        (["ecs.scale", "--count", "-1", "--yes"], 2, "--count takes a number from 0"),
        (["ecs.scale", "--count", "2.5", "--yes"], 2, "--count takes a whole number from 0 to 5000, not '2.5'"),
        (["ecs.scale", "--max", "2", "--yes"], 2, "nothing scales this service"),
        (["ecs.logs", "--since", "yesterday"], 2, "30s, 10m, 2h or 1d"),
        (["ecs.logs", "--lines", "many"], 2, "--lines takes a number"),
        (["ecs.exec", "--yes"], 2, "was started without ECS Exec"),
        (["ecs.exec", "--task", "zz", "--yes"], 2, "no running task is 'zz'"),
        (["ecs.exec", "--container", "web", "--yes"], 2, "no task is running"),
        (["ecs.prune", "--newest", "0", "--yes"], 2, "--newest takes a number from 1"),
        (["ecs.rollback", "--yes"], 2, "nothing earlier than shop-api:1"),
        (["ecs.rollback", "--to", "shop-api:7", "--yes"], 2, "there is no such task definition"),
        (["ecs.diff", "--service", "web"], 2, "there is no service 'web' here"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_in_a_sentence_and_changes_nothing(
    desk: Desk, words: list[str], code: int, text: str
) -> None:
    desk.cloud.serve(desk.cloud.register("serve"))
    before = desk.writes()
    done = desk.invoke(*words)
    assert (done.returncode, text in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    assert "opensesamex" not in done.stderr
    refused_by_aws = {"RunTask": 1} if code == 1 else {}
    assert desk.writes() == before | refused_by_aws


def interrupted(
    process: subprocess.Popen[str], within_s: float = 30, number: signal.Signals = signal.SIGINT
) -> tuple[int, str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=within_s)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_ci_job_s_cancel_stop_the_one_off_task_and_say_so(desk: Desk, number: signal.Signals) -> None:
    desk.cloud.serve(desk.cloud.register("serve"))
    process = desk.start("ecs.run", "--command", "deaf", "--yes")
    desk.cloud.until(lambda: len(desk.cloud.tasks()) == 2)
    code, _, err = interrupted(process, number=number)
    assert code == 130, err
    assert "stopped by Ctrl-C; task " in err
    assert "was stopped" in err
    assert len(desk.cloud.tasks()) == 1


def test_lines_are_shown_followed_and_left_with_ctrl_c(desk: Desk) -> None:
    desk.cloud.serve(desk.cloud.register("serve"))
    task = desk.cloud.tasks()[0]["taskArn"].rsplit("/", 1)[-1]
    shown = desk.invoke("ecs.logs")
    assert (shown.returncode, shown.stdout) == (0, f"api/{task[:8]} serving\n"), shown.stderr
    (line,) = desk.invoke("ecs.logs", "--json").stdout.splitlines()
    assert {key: json.loads(line)[key] for key in ("service", "task", "text")} == {
        "service": "api",
        "task": task,
        "text": "serving",
    }
    assert desk.invoke("ecs.logs", "--filter", "nothing", "--lines", "5").stdout == ""

    process = desk.start("ecs.logs", "--follow")
    assert process.stdout is not None
    assert process.stdout.readline() == f"api/{task[:8]} serving\n"
    now = int(time.time() * 1_000)
    desk.cloud.say(f"ecs/api/{task}", (now, "new one"))
    assert process.stdout.readline() == f"api/{task[:8]} new one\n"
    code, out, err = interrupted(process)
    assert (code, out, err) == (130, "", "")


def test_a_service_is_scaled_with_respect_for_autoscaling(desk: Desk) -> None:
    desk.cloud.serve(desk.cloud.register("serve"))
    before = desk.writes()
    planned = desk.invoke("ecs.scale", "--count", "2", "--plan")
    assert planned.stdout == "would change:\n  - api: run 2 tasks in place of 1\n"
    assert desk.writes() == before
    assert answered(desk.invoke("ecs.scale", "--count", "2", "--yes", "--json")) == {"api": {"running": 2}}
    assert desk.invoke("ecs.scale", "--count", "2", "--plan").stdout == "would change nothing\n"
    desk.cloud.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId="service/shop-cluster/shop-api",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=1,
        MaxCapacity=3,
    )
    over = desk.invoke("ecs.scale", "--count", "4", "--yes")
    assert (over.returncode, "between 1 and 3" in over.stderr) == (2, True)
    within = desk.invoke("ecs.scale", "--count", "1", "--yes")
    assert (within.returncode, within.stdout) == (0, "api: 1 tasks run\n"), within.stderr
    assert "may move it again, between 1 and 3" in within.stderr
    ranged = desk.invoke("ecs.scale", "--min", "2", "--yes")
    assert (ranged.returncode, ranged.stdout) == (0, "api: 2 tasks run\n"), ranged.stderr


def record(desk: Desk, name: str, definition: str, outcome: str = "healthy") -> None:
    body = {"id": name, "outcome": outcome, "services": {"api": {"task_definition": definition}}}
    desk.cloud.client("s3").put_object(Bucket="shop-state", Key=f"releases/{name}.json", Body=json.dumps(body).encode())


def test_old_task_definitions_go_and_those_on_record_stay(desk: Desk) -> None:
    arns = [desk.cloud.register("serve", str(number)) for number in range(6)]
    desk.cloud.serve(arns[1])
    record(desk, "r1", arns[2])
    before = desk.writes()
    would = answered(desk.invoke("ecs.prune", "--newest", "2", "--plan", "--json"))
    assert would == {"would": ["deregister shop-api:1", "deregister shop-api:4"]}
    assert desk.writes() == before
    done = answered(desk.invoke("ecs.prune", "--newest", "2", "--delete", "--yes", "--json"))
    gone = ["shop-api:1", "shop-api:4"]
    assert done == {"shop-api": {"deregistered": gone, "deleted": gone}}
    again = desk.invoke("ecs.prune", "--newest", "2")
    assert (again.returncode, again.stdout) == (0, "shop-api: 0 deregistered, 0 deleted\n"), again.stderr


@contextmanager
def answering(desk: Desk, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a task that asks; yield the process once the question stands, and the terminal to answer at."""
    near, far = pty.openpty()
    variables = {**desk.cloud.variables(), "GLI_PROJECT": "shop", "GLI_ENV_FOLDER": str(desk.shop.root)}
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", *words],
        cwd=REPOSITORY,
        env=clean_process_environment(**variables),
        stdin=far,
        stdout=far,
        stderr=far,
    )
    os.close(far)
    said = b""
    while b"to go on: " not in said:
        said += os.read(near, 4096)
    try:
        yield process, near
    finally:
        process.kill()
        process.wait()
        os.close(near)


def rest_of(terminal: int) -> str:
    """Return what is still said on a terminal, to the end of those who write there."""
    said = b""
    try:
        while piece := os.read(terminal, 4096):
            said += piece
    except OSError:
        # How Linux says that nobody has the other end open.
        pass
    return said.decode()


def test_what_came_into_use_while_the_question_stood_is_not_pruned(desk: Desk) -> None:
    arns = [desk.cloud.register("serve", str(number)) for number in range(5)]
    desk.cloud.serve(arns[4])
    record(desk, "r1", arns[3])
    with answering(desk, "ecs.prune", "--newest", "1") as (process, terminal):
        record(desk, "r2", arns[1])
        os.write(terminal, b"yes\n")
        said = rest_of(terminal)
        assert process.wait(30) == 0, said
    assert "shop-api: 2 deregistered, 0 deleted" in said
    left = desk.cloud.client("ecs").list_task_definitions(familyPrefix="shop-api")["taskDefinitionArns"]
    assert [arn.rsplit(":", 1)[-1] for arn in left] == ["2", "4", "5"]


def test_a_rollout_that_began_while_the_question_stood_is_not_scaled(desk: Desk) -> None:
    desk.cloud.serve(desk.cloud.register("serve"))
    check = {"command": ["CMD-SHELL", "exit 1"], "interval": 300, "startPeriod": 300}
    next_one = desk.cloud.register("serve", "0", healthCheck=check)
    with answering(desk, "ecs.scale", "--count", "2") as (process, terminal):
        desk.cloud.client("ecs").update_service(
            cluster="shop-cluster", service="shop-api", taskDefinition=next_one, desiredCount=1
        )
        before = desk.writes()
        os.write(terminal, b"yes\n")
        said = rest_of(terminal)
        assert (process.wait(30), "a deployment is under way" in said) == (2, True), said
    assert desk.writes() == before


def test_a_record_that_cannot_be_read_keeps_everything(desk: Desk) -> None:
    arns = [desk.cloud.register("serve", str(number)) for number in range(3)]
    desk.cloud.serve(arns[2])
    desk.cloud.client("s3").put_object(Bucket="shop-state", Key="releases/r1.json", Body=b"{")
    before = desk.writes()
    done = desk.invoke("ecs.prune", "--newest", "1", "--yes")
    assert (done.returncode, "s3://shop-state/releases/r1.json: is not a record" in done.stderr) == (1, True)
    assert desk.writes() == before


def test_one_service_goes_back_to_the_release_before(desk: Desk) -> None:
    images = [f"{REGISTRY}/shop-api@{desk.push(tag)}" for tag in ("one", "two", "three")]
    oldest, older, newest = (desk.cloud.register("serve", image=image) for image in images)
    desk.cloud.serve(oldest)
    desk.cloud.update(newest)
    record(desk, "r1", oldest)
    record(desk, "r2", older, "failed")
    record(desk, "r3", newest)
    before = desk.writes()
    planned = desk.invoke("ecs.rollback", "--plan")
    assert "api: from shop-api:3 back to shop-api:1 (the record of release r1)" in planned.stdout, planned.stderr
    assert images[0] in planned.stdout
    assert desk.writes() == before
    done = desk.invoke("ecs.rollback", "--yes")
    assert (done.returncode, done.stdout) == (0, "api: shop-api:1 runs on every task\n"), done.stderr
    assert {one["taskDefinitionArn"] for one in desk.cloud.tasks()} == {oldest}
    named = answered(desk.invoke("ecs.rollback", "--to", "shop-api:2", "--yes", "--json"))["api"]
    assert (named["task_definition"], named["source"]) == (older, "--to")


def test_a_shell_is_opened_by_aws_s_own_program(desk: Desk, tmp_path: Path) -> None:
    desk.cloud.serve(desk.cloud.register("serve"), enableExecuteCommand=True)
    program = tmp_path / "bin" / "session-manager-plugin"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$1" = --version ] && echo 1.2.707.0 && exit\nread -r line\necho "typed: $line"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**desk.cloud.variables(), "GLI_PROJECT": "shop", "GLI_ENV_FOLDER": str(desk.shop.root)}
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "ecs.exec", "--yes"],
        cwd=REPOSITORY,
        env={**clean_process_environment(**variables), "PATH": path},
        input="ls -l\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "typed: ls -l\n"), done.stderr
    task = desk.cloud.tasks()[0]["taskArn"].rsplit("/", 1)[-1]
    planned = desk.invoke("ecs.exec", "--plan")
    assert planned.stdout == f"would change:\n  - api: execute /bin/sh in api of task {task}\n"


@pytest.mark.parametrize(
    "words",
    [["ecs.scale", "--count", "2"], ["ecs.prune", "--newest", "1"], ["ecs.rollback"], ["ecs.update"]],
    ids=lambda words: words[0],
)
def test_while_a_release_holds_the_environment_nothing_is_changed_by_hand(desk: Desk, words: list[str]) -> None:
    desk.cloud.register("serve")
    desk.cloud.serve(desk.cloud.register("serve", "0"))
    if words[0] == "ecs.update":
        desk.cloud.register("serve", "0.1")
    else:
        record(desk, "r1", "")
    with held(desk.cloud.client("s3"), "shop-state", "20260301-000000-abcd", "kim@desk"):
        before = desk.writes()
        done = desk.invoke(*words, "--yes")
        assert (done.returncode, "kim@desk holds the environment" in done.stderr) == (3, True), done.stderr
        assert desk.writes() == before
    after = desk.invoke(*words, "--yes")
    assert after.returncode == 0, after.stderr
    assert desk.writes() != before
