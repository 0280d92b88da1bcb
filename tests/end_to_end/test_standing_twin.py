"""A twin that stands (`rehearse.up`): the aws command works against it, and so do single tasks and releases at once."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from gli_tasks.aws import is_read
from tests.conftest import missing
from tests.end_to_end.conftest import ROOT, invoke, traces, wait_until_gone

pytestmark = pytest.mark.end_to_end

CLUSTER = "production-gli-cluster"


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """Put the twin up by `rehearse.up`, give the environment that it writes, and take it down."""
    before = traces()
    state = ROOT / ".rehearsal"
    assert not state.exists(), "a twin is up already"
    up = invoke("rehearse.up", "--engine", "process")
    assert up.returncode == 0, up.stderr
    try:
        done = subprocess.run(
            ["sh", "-c", f". {shlex.quote(str(state / 'environment'))} && env -0"],
            capture_output=True,
            check=True,
        )
        yield dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if "=" in pair)
    finally:
        down = invoke("rehearse.down")
    assert down.returncode == 0, down.stderr
    assert not state.exists()
    assert not wait_until_gone(before)


def commands() -> list[str]:
    """Return every `aws` command that is here: those that GLI_AWS_COMMANDS names, else the one on PATH."""
    named = [path for path in os.environ.get("GLI_AWS_COMMANDS", "").split(":") if path]
    found = shutil.which("aws")
    return named or ([found] if found else [])


def aws(command: str, environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        # Version 2.9 of the command does not know AWS_ENDPOINT_URL yet.
        [command, "--endpoint-url", environment["AWS_ENDPOINT_URL"], *words],
        env={**environment, "AWS_PAGER": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=[1, 2])
def command(request: pytest.FixtureRequest) -> str:
    """Return an `aws` command of this major version."""
    for path in commands():
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        if version.startswith(f"aws-cli/{request.param}."):
            return path
    missing(f"version {request.param} of the aws command (GLI_AWS_COMMANDS)")
    raise AssertionError


def test_ecs(command: str, environment: dict[str, str]) -> None:
    aws(
        command, environment, "ecs", "wait", "services-stable", "--cluster", CLUSTER, "--services", "production-gli-api"
    )
    tasks = json.loads(aws(command, environment, "ecs", "list-tasks", "--cluster", CLUSTER, "--output", "json"))
    described = json.loads(
        aws(command, environment, "ecs", "describe-tasks", "--cluster", CLUSTER, "--tasks", *tasks["taskArns"])
    )
    assert {task["lastStatus"] for task in described["tasks"]} == {"RUNNING"}
    assert all(task["containers"][0]["imageDigest"].startswith("sha256:") for task in described["tasks"])


def test_target_health(command: str, environment: dict[str, str]) -> None:
    query = ("--query", "TargetGroups[0].TargetGroupArn", "--output", "text")
    group = aws(command, environment, "elbv2", "describe-target-groups", "--names", "gli-prod-api-tg", *query).strip()
    health = json.loads(aws(command, environment, "elbv2", "describe-target-health", "--target-group-arn", group))
    states = [one["TargetHealth"]["State"] for one in health["TargetHealthDescriptions"]]
    assert states == ["healthy", "healthy"]


def test_logs(command: str, environment: dict[str, str]) -> None:
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    if version.startswith("aws-cli/1."):
        # Version 1 has no `logs tail`; this is what it has.
        found = aws(command, environment, "logs", "filter-log-events", "--log-group-name", "/ecs/production-gli-api")
    else:
        found = aws(command, environment, "logs", "tail", "/ecs/production-gli-api", "--since", "10m")
    assert "version 1.0.0 listens" in found


def test_s3(command: str, environment: dict[str, str]) -> None:
    assert "index.html" in aws(command, environment, "s3", "ls", "s3://gli-user-frontend-production")


def test_the_tool_itself_works_in_that_environment(environment: dict[str, str]) -> None:
    shown = invoke("release.status", "-e", "prod", "--json", environment=environment)
    assert shown.returncode == 0, shown.stderr
    services = json.loads(shown.stdout)["services"]
    assert [(one["service"], one["running"]) for one in services] == [("api", 2), ("websocket", 2)]
    checked = invoke("health.check", "-e", "prod", environment=environment)
    assert checked.returncode == 0, checked.stderr
    assert Path(environment["CA_FILE"]).is_file()


def test_of_two_releases_at_once_one_wins_and_the_other_says_who_holds_it(environment: dict[str, str]) -> None:
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: invoke("release.prod", "--yes", "--json", environment=environment), range(2)))
    winner, other = sorted(done, key=lambda one: one.returncode)
    assert (winner.returncode, other.returncode) == (0, 3), winner.stderr + other.stderr
    record = json.loads(winner.stdout)
    assert f"for {record['id']}" in other.stderr
    assert "holds the environment since" in other.stderr
    # What the winner gave back can be taken at once, and a release with nothing changed makes no new revision.
    again = invoke("release.prod", "--yes", "--json", environment=environment)
    assert again.returncode == 0, again.stderr
    before, after = (json.loads(one.stdout)["services"]["api"]["task_definition"] for one in (winner, again))
    assert before == after
    assert [call["operation"] for call in json.loads(again.stdout)["calls"]] == []


def test_a_lock_that_a_dead_release_left_can_be_broken_open(environment: dict[str, str]) -> None:
    refused = invoke("release.unlock", "-e", "prod", "--yes", environment=environment)
    assert refused.returncode == 2
    assert "--reason" in refused.stderr
    nobody = invoke("release.unlock", "-e", "prod", "--yes", "--reason", "cancelled", environment=environment)
    assert nobody.returncode == 2
    assert "nobody holds the lock" in nobody.stderr
    killed = subprocess.Popen(
        [sys.executable, "-m", "invoke", "release.prod", "--yes"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert killed.stderr is not None
    next(line for line in killed.stderr if "git.check" in line)
    killed.kill()
    killed.communicate(timeout=10)
    locked = invoke("release.prod", "--yes", environment=environment)
    assert locked.returncode == 3
    freed = invoke("release.unlock", "-e", "prod", "--yes", "--reason", "job cancelled", environment=environment)
    assert freed.returncode == 0, freed.stderr
    assert invoke("release.prod", "--yes", environment=environment).returncode == 0


def commit(environment: dict[str, str], version: str, files: dict[str, str] | None = None) -> None:
    """Commit a version of the API and push it."""
    folder = Path(environment["API_SOURCE"])
    for name, text in {"VERSION": f"{version}\n", **(files or {})}.items():
        (folder / name).write_text(text)
    identity = ("-c", "user.name=x", "-c", "user.email=x@localhost")
    for words in (("add", "--all"), (*identity, "commit", "-qm", f"release: {version}"), ("push", "-q")):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


def serving(environment: dict[str, str]) -> str:
    """Return the version that answers."""
    context = ssl.create_default_context(cafile=environment["CA_FILE"])
    with httpx.Client(verify=context, trust_env=False) as client:
        host = "api.glibiz.com"
        answer = client.get(
            f"https://{environment['CONNECT_TO']}/", headers={"Host": host}, extensions={"sni_hostname": host}
        )
    return str(answer.json()["version"])


def test_going_back_is_to_the_last_healthy_release_and_never_to_what_was_left(environment: dict[str, str]) -> None:
    for version in ("2.0.0", "3.0.0"):
        commit(environment, version)
        done = invoke("release.prod", "--yes", environment=environment)
        assert done.returncode == 0, done.stderr
        assert serving(environment) == version
    commit(environment, "4.0.0", {"FAULTS": "CRASH_AT_START=1\n"})
    assert invoke("release.prod", "--yes", environment=environment).returncode == 1
    assert serving(environment) == "3.0.0"
    back = invoke("release.rollback", "-e", "prod", "--yes", "--json", environment=environment)
    assert back.returncode == 0, back.stderr
    assert serving(environment) == "2.0.0"
    record = json.loads(back.stdout)
    assert [step["name"] for step in record["steps"]] == ["ecs.update", "ecs.wait", "health.check", "notify"]
    assert record["rollback_to"]
    # 3.0.0 ended healthy as well, but was left: the next one further back is 1.0.0.
    again = invoke("release.rollback", "-e", "prod", "--yes", environment=environment)
    assert again.returncode == 0, again.stderr
    assert serving(environment) == "1.0.0"
    forward = [
        one
        for one in json.loads(
            invoke("release.history", "-e", "prod", "--json", "--limit", "20", environment=environment).stdout
        )
        if one["outcome"] == "healthy"
    ]
    assert forward[0]["rollback_to"]
    unknown = invoke("release.rollback", "-e", "prod", "--yes", "--to", "nope", environment=environment)
    assert unknown.returncode == 2


def writes(environment: dict[str, str]) -> dict[str, int]:
    """Return how often each call that changes something reached the server."""
    counted = httpx.get(f"{environment['AWS_ENDPOINT_URL']}/_twin/calls").json()
    return {
        f"{service} {operation}": count
        for service, operations in counted.items()
        for operation, count in operations.items()
        # REST services are counted by HTTP method.
        if not is_read(operation) and operation not in ("GET", "HEAD")
    }


def test_a_plan_says_what_would_change_and_writes_nothing(environment: dict[str, str]) -> None:
    before = writes(environment)
    tags = {name: git_tags(environment[f"{name}_SOURCE"]) for name in ("API", "WEBSOCKET")}
    done = invoke("release.plan", "-e", "prod", "--json", environment=environment)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["steps"][0]["name"] == "git.check"
    assert set(plan["services"]) == {"api", "websocket"}
    assert plan["obstacles"] == []
    assert {one["level"] for one in plan["findings"]} <= {"OK", "SKIP"}
    assert "API_SOURCE" in plan["overridden_settings"]
    # The same by the flag of the release itself, and of every other task that changes something.
    for words in (
        ("release.prod", "--plan", "--json"),
        ("ecs.register", "-e", "prod", "--plan"),
        ("ecs.update", "-e", "prod", "--plan"),
        ("ecs.prune", "-e", "prod", "--plan"),
        ("ecs.scale", "-e", "prod", "-s", "api", "--count", "3", "--plan"),
        ("image.push", "-e", "prod", "--plan"),
        ("image.prune", "-e", "prod", "--plan"),
        ("release.unlock", "-e", "prod", "--plan"),
    ):
        planned = invoke(*words, environment=environment)
        assert planned.returncode == 0, planned.stderr
    assert writes(environment) == before
    assert {name: git_tags(environment[f"{name}_SOURCE"]) for name in tags} == tags


def git_tags(folder: str) -> str:
    return subprocess.run(["git", "ls-remote", "origin"], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_a_plan_shows_a_new_commit_and_every_obstacle(environment: dict[str, str]) -> None:
    folder = environment["API_SOURCE"]
    file = os.path.join(folder, "forgotten.txt")
    with open(file, "w") as opened:
        opened.write("not committed")
    try:
        done = invoke("release.plan", "-e", "prod", environment=environment)
    finally:
        os.unlink(file)
    assert done.returncode == 2
    assert "1 files differ from the commit (forgotten.txt)" in done.stdout
    assert "a release would refuse or fail now:" in done.stdout
    assert "build gli-api-production:" in done.stdout
    assert "1 thing is in the way of a release" in done.stderr


def test_a_forged_write_inside_a_plan_is_refused(environment: dict[str, str]) -> None:
    before = writes(environment)
    program = """
import os
from pathlib import Path
from gli_tasks.console import Console
from gli_tasks.edge import planning
from gli_tasks.errors import PlanWouldWrite
from gli_tasks.release.forecast import foresee_release
from gli_tasks.release.steps import STEPS, Step
from gli_tasks.settings import load
planning(True)
loaded = load(Path("env").resolve(), "gli", "prod", os.environ)
def forged(run):
    run.aws.client("ecs").update_service(cluster="production-gli-cluster", service="production-gli-api", desiredCount=0)
STEPS["notify"] = Step(STEPS["notify"].act, forged)
try:
    foresee_release(loaded, Console())
except PlanWouldWrite as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert "a plan tried to write: ecs UpdateService" in done.stdout, done.stderr
    assert writes(environment) == before
