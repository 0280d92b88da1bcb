"""A release of small real steps, and where its record goes."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from gli_tasks.aws import Aws
from gli_tasks.console import Console
from gli_tasks.release.journal import Journal
from gli_tasks.release.progress import LineProgress
from gli_tasks.release.record import Record, StepOutcome
from gli_tasks.release.run import Run
from gli_tasks.release.steps import Step
from gli_tasks.settings import model
from gli_tasks.settings.model import (
    Ecs,
    Git,
    Health,
    LoadBalancer,
    Notify,
    Registry,
    Rollout,
    Settings,
    State,
)

BUCKET = "state"


def s3_client(endpoint: str, **config: Any) -> Any:
    return boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(s3={"addressing_style": "path"}, **{"retries": {"total_max_attempts": 1}, **config}),
    )


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "project": "gli",
        "environment": "prod",
        "folder": Path("/nowhere"),
        "aws": model.Aws("123456789012", "us-east-1"),
        "state": State(BUCKET),
        "git": Git("main"),
        "registry": Registry("registry"),
        "ecs": Ecs("main"),
        "load_balancer": LoadBalancer("alb"),
        "rollout": Rollout(),
        "health": Health(),
        "notify": Notify(),
        "services": {},
        "pipelines": {},
    }
    return Settings(**{**values, **changes})


def record(name: str = "20260301-040506-abcd") -> Record:
    return Record(name, "gli", "prod", "kim@desk", "arn:aws:iam::123456789012:user/kim", "2026-03-01T04:05:06.000Z")


class Release:
    """A run whose lines are kept, with steps that note what befell them."""

    def __init__(self, s3: Any, **changes: Any) -> None:
        self.lines = io.StringIO()
        self.s3 = s3
        self.journal = Journal(s3, BUCKET)
        console = Console(stream=self.lines)
        begun = datetime.now(UTC)
        self.run = Run(
            settings(**changes),
            Aws("us-east-1", "123456789012"),
            console,
            LineProgress(console),
            self.journal,
            record(),
            begun,
        )
        self.events: list[str] = []
        self._lock = threading.Lock()

    def note(self, event: str) -> None:
        with self._lock:
            self.events.append(event)

    def step(
        self,
        name: str,
        *,
        seconds: float = 0.0,
        fails: Exception | None = None,
        undo: str | Exception | None = None,
        changes: bool = False,
        also: Callable[[], None] = lambda: None,
    ) -> Step:
        """Return a step that takes its time, fails or not, and can be undone where ``undo`` is given."""

        def act(_: Run) -> str:
            self.note(f"{name} begins")
            time.sleep(seconds)
            also()
            self.note(f"{name} ends")
            if fails is not None:
                raise fails
            return f"{name} did it"

        def take_back(_: Run) -> str:
            self.note(f"{name} undone")
            if isinstance(undo, Exception):
                raise undo
            return str(undo)

        return Step(act, changes=changes, undo=take_back if undo is not None else None)

    def stored(self) -> Record:
        return Journal(self.s3, BUCKET).read(self.run.record.id)

    def outcomes(self) -> dict[str, StepOutcome]:
        return {step.name: step.outcome for step in self.stored().steps}
