"""What the tests of the floor share: a project's settings on disk, `invoke` as a program, and AWS on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import settings

from tests.marker_secrets import look_into

#: The same examples in every run, however slow the machine is just now.
steady = settings(derandomize=True, deadline=None)

REPOSITORY = Path(__file__).resolve().parents[1]
REGION = "ap-northeast-2"
ACCOUNT = "123456789012"  # moto's own

TOML = """\
[aws]
account = "${AWS_ACCOUNT_ID}"
region = "${AWS_REGION}"

[state]
bucket = "${STATE_BUCKET}"

[git]
branch = "main"

[registry]
host = "${ECR_REGISTRY}"

[ecs]
cluster = "shop-cluster"

[load_balancer]
name = "shop-alb"

[rollout]
timeout_s = 60

[notify]
slack_webhook = "${SLACK_WEBHOOK}"

[services.api]
kind = "ecs"
source = "../source"
repository = "shop-api"
service = "shop-api"
task_definition = "taskdefs/api.json"
container = "api"
port = 8000
target_group = "shop-api-tg"
host = "${API_HOST}"

[health]
interval_s = 2

[[health.checks]]
name = "api"
url = "https://${API_HOST}/health"

[pipelines]
dev = ["git.check", ["build.check", "image.build"], "image.push"]
"""
ENV = f"""\
# What differs between environments.
AWS_ACCOUNT_ID={ACCOUNT}
AWS_REGION={REGION}
STATE_BUCKET=shop-state
ECR_REGISTRY={ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com
API_HOST=api.example.com
LOG_GROUP=/ecs/shop-api
SLACK_WEBHOOK=aws-sm:shop/slack#webhook
"""
TASK_DEFINITION: dict[str, Any] = {
    "family": "shop-api",
    "containerDefinitions": [
        {
            "name": "api",
            "image": "${IMAGE}",
            "environment": [{"name": "APP_VERSION", "value": "${VERSION}"}],
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "${LOG_GROUP}"}},
        }
    ],
}


@dataclass
class Shop:
    """The settings of a project ``shop`` with one environment ``dev``, on disk, whole until a test breaks them."""

    root: Path

    @property
    def toml(self) -> Path:
        return self.root / "shop" / "project.toml"

    @property
    def env(self) -> Path:
        return self.root / "shop" / "dev.env"

    @property
    def task_definition(self) -> Path:
        return self.root / "shop" / "taskdefs" / "api.json"

    def replace(self, file: Path, old: str, new: str) -> None:
        """Change one place of a file; the place must be there."""
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def add(self, file: Path, text: str) -> None:
        file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def write_shop(root: Path) -> Shop:
    """Write the settings of ``shop``."""
    shop = Shop(root)
    shop.task_definition.parent.mkdir(parents=True)
    shop.toml.write_text(TOML, encoding="utf-8")
    shop.env.write_text(ENV, encoding="utf-8")
    shop.task_definition.write_text(json.dumps(TASK_DEFINITION, indent=2), encoding="utf-8")
    return shop


def clean_process_environment(**variables: str) -> dict[str, str]:
    """Return an environment without AWS, without choices of ours and with no file of the operator's own."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "TMPDIR") if key in os.environ}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {
        **kept,
        "PATH": path,
        "HOME": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
        **variables,
    }


def invoke(*words: str, root: Path | None = None, variables: Mapping[str, str] | None = None, **options: Any) -> Any:
    """Run the real `invoke` in the repository and return the completed process."""
    environment = clean_process_environment(**(variables or {}))
    if root is not None:
        environment["GLI_ENV_FOLDER"] = str(root)
    command = [sys.executable, "-m", "invoke", *words]
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 60, **options}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False, **options)
    look_into({f"invoke {words[0]}, {name}": getattr(done, name) or "" for name in ("stdout", "stderr")})
    return done


@dataclass
class AwsServer:
    """An HTTP endpoint in AWS's place: it gives the answers it was told to give, one after the other, the last again
    and again."""

    url: str
    answers: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    asked: int = 0

    def answers_with(self, status: int, body: str, **headers: str) -> None:
        self.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))


def heed_ctrl_c() -> None:
    """Let a program that a test starts heed SIGINT and SIGHUP, which a background job ignores with all it starts."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
