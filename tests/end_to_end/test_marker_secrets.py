"""On a twin whose every secret is marked: no task shows one, whatever befalls it, and nothing that it leaves holds one.

The tasks run once, each as an operator runs it; the tests look at one place each where a secret could have gone.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import shlex
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from tests.end_to_end.conftest import ROOT, invoke
from tests.marker_secrets import MARKER, VARIABLES, ArgvWatch, draw, leaks, look_into

pytestmark = pytest.mark.end_to_end

REGION = "ap-northeast-2"
ARN = f"arn:aws:secretsmanager:{REGION}:917891822317:secret"
DATABASE, SLACK = "gli/db/production", "gli/slack"
#: What an operator's shell holds, and what every program that is started from it sees therefore.
INHERITED = {"AWS_SECRET_ACCESS_KEY", *VARIABLES}
# Python reads this at its start: each program that a Python program of the tool starts is noted with its argv and the
# variables of its environment that hold a marker.
EAR = """
import json, os, sys

def hear(event, arguments):
    if event not in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        return
    argv = arguments[:1] if event == "os.system" else arguments[1]
    words = [argv] if isinstance(argv, (str, bytes)) else list(argv)
    given = arguments[-1] if event != "os.system" and arguments[-1] is not None else os.environ
    environment = {os.fsdecode(name): os.fsdecode(value) for name, value in dict(given).items()}
    line = json.dumps({"argv": [os.fsdecode(one) for one in words], "environment": environment})
    with open(PLACE, "a") as file:
        file.write(line + "\\n")

sys.addaudithook(hear)
"""


@dataclass
class Twin:
    """A standing twin, and what was said by the tasks that ran against it."""

    environment: dict[str, str]
    heard: Path
    said: dict[str, str] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return Path(json.loads((ROOT / ".rehearsal" / "stage.json").read_text())["folder"])

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",
        )

    def secret(self, name: str) -> str:
        return str(self.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])

    def run(self, name: str, *words: str, **variables: str) -> str:
        """Run a task under a name of its own, and keep what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *words],
            cwd=ROOT,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.said |= {f"{name}, standard output": done.stdout, f"{name}, standard error": done.stderr}
        self.ended[name] = done.returncode
        return done.stdout

    def commit(self, version: str, **files: str) -> None:
        """Commit a version of the API and push it."""
        folder = Path(self.environment["API_SOURCE"])
        for name, text in {"VERSION": f"{version}\n", **files}.items():
            (folder / name).write_text(text)
        identity = ("-c", "user.name=x", "-c", "user.email=x@localhost")
        for words in (("add", "--all"), (*identity, "commit", "-qm", f"release: {version}"), ("push", "-q")):
            subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    """Put the twin up, run what an operator runs, well and ill, and give what there is to look at."""
    state = ROOT / ".rehearsal"
    assert not state.exists(), "a twin is up already"
    ear = tmp_path_factory.mktemp("ear")
    (ear / "sitecustomize.py").write_text(f"PLACE = {str(ear / 'heard')!r}\n{EAR}")
    up = invoke("rehearse.up", "--engine", "process")
    assert up.returncode == 0, up.stderr
    try:
        program = f". {shlex.quote(str(state / 'environment'))} && env -0"
        done = subprocess.run(["sh", "-c", program], capture_output=True, check=True)
        environment = dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if "=" in pair)
        one = Twin({**environment, "PYTHONPATH": str(ear)}, ear / "heard")
        _run_all(one)
        yield one
    finally:
        down = invoke("rehearse.down")
    assert down.returncode == 0, down.stderr


def _run_all(twin: Twin) -> None:
    prod = ("-e", "prod")
    told = ("notify.send", *prod, "--yes")
    opened = f"https://hooks.slack.com/services/T0/B0/{draw()}"
    twin.commit("1.1.0")
    twin.run("plan", "release.plan", *prod)
    twin.run("release", "release.prod", "--yes")
    with ThreadPoolExecutor(3) as pool:
        for name, words, variables in (
            ("status", ("release.status", *prod, "--json"), {}),
            ("settings", ("config.show", *prod), {"DEPLOY_TOKEN": draw()}),
            ("verify", ("ecs.verify", *prod, "--json"), {}),
            ("diff", ("ecs.diff", *prod), {}),
            ("register", ("ecs.register", *prod, "--plan"), {}),
            ("one-off", ("ecs.run", *prod, "-s", "api", "--yes", "--command", "python3 -c 'print(41 + 1)'"), {}),
            ("logs", ("ecs.logs", *prod), {}),
            ("news", told, {}),
            ("news with all of Invoke's debugging", ("-d", *told), {}),
            # What goes wrong, and could tell more than it should.
            ("a webhook in the open", told, {"SLACK_WEBHOOK": opened}),
            ("an unknown key", told, {"SLACK_WEBHOOK": f"aws-sm:{SLACK}#nope"}),
            # The secret as a whole is no address, and httpx quotes what is none.
            ("a secret that is no address", told, {"SLACK_WEBHOOK": f"aws-sm:{DATABASE}"}),
            ("no address behind a key", told, {"SLACK_WEBHOOK": f"aws-sm:{DATABASE}#password"}),
            ("keys that the secret lacks", ("ecs.verify", *prod), {"DB_SECRET_ARN": f"{ARN}:{SLACK}"}),
            (
                "a password in the open",
                ("config.show", *prod),
                {"FRONTEND_BASE_URL": f"https://app:{draw()}@glibiz.com"},
            ),
        ):
            pool.submit(twin.run, name, *words, **variables)
    twin.commit("2.0.0", FAULTS="CRASH_AT_START=1\n")
    twin.run("a failing release", "release.prod", "--yes", "--json")


def test_every_task_ended_as_it_should(twin: Twin) -> None:
    """So that the tests below look at what they mean to look at."""
    bad = {
        "a webhook in the open": 2,
        "an unknown key": 2,
        "keys that the secret lacks": 2,
        "a password in the open": 2,
        "a failing release": 1,
    }
    assert len(twin.ended) == 18
    assert twin.ended == {name: bad.get(name, 0) for name in twin.ended}, twin.said
    assert "42" in twin.said["one-off, standard output"] + twin.said["one-off, standard error"]
    assert "Slack was told" in twin.said["news, standard output"]
    assert "Slack was told" in twin.said["release, standard error"]
    assert "has no field 'nope'" in twin.said["an unknown key, standard error"]
    assert "fields: webhook" in twin.said["an unknown key, standard error"]
    assert "password" in twin.said["keys that the secret lacks, standard output"]
    assert "Slack was not told" in twin.said["a secret that is no address, standard output"]
    assert "Slack was not told" in twin.said["no address behind a key, standard output"]


def test_the_secrets_in_use_are_marked(twin: Twin) -> None:
    """Without this, nothing below could fail."""
    password = json.loads(twin.secret(DATABASE))["password"]
    webhook = json.loads(twin.secret(SLACK))["webhook"]
    token = twin.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    assert MARKER.fullmatch(password.encode())
    assert MARKER.search(webhook.encode())
    assert MARKER.search(token.encode())
    assert MARKER.search(base64.b64decode(token))
    assert all(MARKER.fullmatch(twin.environment[name].encode()) for name in INHERITED)
    # The very password has reached the tasks, and the news came by the very webhook.
    assert any(f"DB_PASSWORD={password}".encode() in one for one in environments_of_tasks(twin))
    assert "1.1.0" in str(httpx.get(webhook).json()) or "release" in str(httpx.get(webhook).json())


def environments_of_tasks(twin: Twin) -> list[bytes]:
    """Return the environments of the processes that the twin runs as tasks."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(twin.folder / "runtime").encode() in os.fsencode(os.readlink(entry / "cwd")):
                found.append((entry / "environ").read_bytes())
        except OSError:
            continue
    return found


def test_no_task_says_one(twin: Twin) -> None:
    look_into(twin.said)


def in_buckets(twin: Twin) -> dict[str, bytes]:
    s3 = twin.client("s3")
    return {
        f"s3://{bucket['Name']}/{one['Key']} {one['VersionId']}": s3.get_object(
            Bucket=bucket["Name"], Key=one["Key"], VersionId=one["VersionId"]
        )["Body"].read()
        for bucket in s3.list_buckets()["Buckets"]
        for one in s3.list_object_versions(Bucket=bucket["Name"]).get("Versions", ())
    }


def in_logs(twin: Twin) -> dict[str, str]:
    logs = twin.client("logs")
    return {
        f"{group['logGroupName']} {event['eventId']}": event["message"]
        for group in logs.describe_log_groups()["logGroups"]
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
        for event in page["events"]
    }


def in_definitions(twin: Twin) -> dict[str, str]:
    ecs = twin.client("ecs")
    return {
        arn: json.dumps(ecs.describe_task_definition(taskDefinition=arn, include=["TAGS"]), default=str)
        for arn in ecs.list_task_definitions()["taskDefinitionArns"]
    }


def in_deployments(twin: Twin) -> dict[str, str]:
    ecs = twin.client("ecs")
    cluster = "production-gli-cluster"
    services = ecs.describe_services(cluster=cluster, services=ecs.list_services(cluster=cluster)["serviceArns"])
    arns = [
        arn
        for status in ("RUNNING", "STOPPED")
        for arn in ecs.list_tasks(cluster=cluster, desiredStatus=status)["taskArns"]
    ]
    tasks = ecs.describe_tasks(cluster=cluster, tasks=arns, include=["TAGS"])["tasks"]
    return {"services": json.dumps(services, default=str)} | {
        one["taskArn"]: json.dumps(one, default=str) for one in tasks
    }


def in_news(twin: Twin) -> dict[str, str]:
    return {"Slack": httpx.get(f"{twin.environment['AWS_ENDPOINT_URL']}/_twin/slack").text}


def in_git(twin: Twin) -> dict[str, bytes]:
    return {
        str(folder): subprocess.run(
            ["git", "cat-file", "--batch-all-objects", "--batch"], cwd=folder, capture_output=True, check=True
        ).stdout
        for folder in (twin.folder / "sources").iterdir()
    }


def in_files(twin: Twin) -> dict[str, bytes]:
    """Return every file of the rehearsal but the database's own and what git packs, layers of images unpacked."""
    found = {}
    for folder, folders, names in os.walk(twin.folder):
        folders[:] = [name for name in folders if name not in ("database", "objects", "interpreters")]
        for file in (Path(folder) / name for name in names):
            try:
                data = file.read_bytes() if file.is_file() else b""
            except OSError:
                continue  # it ended meanwhile, with its task
            found[str(file)] = data
            if data.startswith(b"\x1f\x8b"):
                try:
                    found[f"{file}, unpacked"] = gzip.decompress(data)
                except (OSError, EOFError, zlib.error):
                    continue
    return found


PLACES: Mapping[str, Callable[[Twin], Mapping[str, str | bytes]]] = {
    "buckets": in_buckets,
    "logs": in_logs,
    "definitions": in_definitions,
    "deployments": in_deployments,
    "news": in_news,
    "git": in_git,
    "files": in_files,
}


@pytest.mark.parametrize("place", PLACES)
def test_nothing_that_is_left_holds_one(twin: Twin, place: str) -> None:
    texts = PLACES[place](twin)
    assert sum(map(len, texts.values())) > 100
    look_into(texts)


def test_the_places_are_those_where_the_tool_writes(twin: Twin) -> None:
    """Each kind of thing that a release leaves is among what was looked at."""
    keys = [name.split(" ")[0] for name in in_buckets(twin)]
    state = "s3://gli-release-state-production/"
    assert {f"{state}current.json", f"{state}lock.json"} < set(keys)
    assert sum(key.startswith(f"{state}releases/") for key in keys) > 10
    assert any("listens" in text for text in in_logs(twin).values())
    assert any(b"\ntagger " in text and b"tag deploy-" in text for text in in_git(twin).values())
    names = in_files(twin)
    assert any(name.endswith("twin.log") for name in names)
    assert any(name.endswith(", unpacked") and b"server.py" in data for name, data in names.items())
    assert any(name.endswith(".env.production") for name in names)


def test_what_holds_a_secret_is_for_its_owner_alone(twin: Twin) -> None:
    noted = ROOT / ".rehearsal"
    holding = {str(file): file.read_bytes() for file in noted.iterdir()}
    assert leaks("", holding[str(noted / "environment")])
    keys = {name: data for name, data in in_files(twin).items() if b"PRIVATE KEY-----" in data}
    assert keys
    for name in (*holding, *keys):
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(noted.stat().st_mode) == 0o700


def test_programs_get_none_in_argv_nor_more_than_the_shell_held_in_their_environment(
    twin: Twin, argv_watch: ArgvWatch
) -> None:
    heard = [json.loads(line) for line in twin.heard.read_text().splitlines()]
    programs = {Path(one["argv"][0]).name for one in heard}
    assert {"git", "npm"} <= programs, programs
    look_into({f"argv of {one['argv'][0]}": "\0".join(one["argv"]) for one in heard})
    for one in heard:
        holding = {name for name, value in one["environment"].items() if leaks("", value)}
        changed = {name for name in holding if one["environment"][name] != twin.environment.get(name)}
        assert (holding <= INHERITED, changed) == (True, set()), one["argv"]
    assert argv_watch.looks > 20
    assert argv_watch.found == ()


def test_a_leak_in_any_of_these_places_is_seen(twin: Twin) -> None:
    """The last test: what it plants stays until the twin goes."""
    twin.client("s3").put_object(Bucket="gli-release-state-production", Key="releases/x.json", Body=draw())
    logs, group = twin.client("logs"), "/ecs/production-gli-api"
    logs.create_log_stream(logGroupName=group, logStreamName="planted")
    now = max(event["timestamp"] for event in logs.filter_log_events(logGroupName=group)["events"])
    logs.put_log_events(
        logGroupName=group, logStreamName="planted", logEvents=[{"timestamp": now, "message": f"with {draw()}"}]
    )
    twin.client("ecs").register_task_definition(
        family="planted",
        containerDefinitions=[
            {"name": "x", "image": "x", "memory": 64, "environment": [{"name": "A", "value": draw()}]}
        ],
    )
    httpx.post(f"{twin.environment['AWS_ENDPOINT_URL']}/_twin/slack", json={"text": draw()}).raise_for_status()
    identity = ("-c", "user.name=x", "-c", "user.email=x@localhost")
    source = Path(twin.environment["API_SOURCE"])
    subprocess.run(
        ["git", *identity, "tag", "-a", "-F", "-", "planted"], input=draw(), text=True, cwd=source, check=True
    )
    (twin.folder / "planted.gz").write_bytes(gzip.compress(draw().encode()))
    blind = [
        place
        for place in ("buckets", "logs", "definitions", "news", "git", "files")
        if not [one for name, text in PLACES[place](twin).items() for one in leaks(name, text)]
    ]
    assert blind == []
