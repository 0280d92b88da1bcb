"""The stacks of both projects on a real HTTP server, each made anew for a test."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from gli_tasks.aws import Aws
from gli_tasks.settings import Settings, load
from tests.ecs.verify_parts import Denying, Stack, make_stack
from tests.floor_parts import REPOSITORY

ACCOUNT = "123456789012"


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@pytest.fixture(scope="module")
def doorman() -> Iterator[tuple[Denying, str]]:
    """Serve one stack after another on one port."""
    door = Denying()
    server = make_server("127.0.0.1", 0, door, threaded=True, request_handler=_Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield door, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture(scope="module")
def session(doorman: tuple[Denying, str]) -> Callable[[Settings], Aws]:
    """Return what makes a session; its clients are shared by the tests of a module, as they take a while to make."""
    made: dict[str, Aws] = {}

    def of(settings: Settings) -> Aws:
        if settings.aws.region not in made:
            made[settings.aws.region] = Aws(settings.aws.region, settings.aws.account)
        return made[settings.aws.region]

    return of


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, doorman: tuple[Denying, str]) -> pytest.MonkeyPatch:
    """This process's environment with credentials that open nothing but the stack."""
    for key in [key for key in os.environ if key.startswith("AWS_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_ENDPOINT_URL", doorman[1])
    return monkeypatch


@pytest.fixture
def make(
    process: pytest.MonkeyPatch,
    doorman: tuple[Denying, str],
    session: Callable[[Settings], Aws],
    tmp_path: Path,
) -> Iterator[Callable[[str], Stack]]:
    """Return what puts up the stack of a project's production."""
    stops: list[Callable[[], None]] = []

    def put_up(project: str) -> Stack:
        values = {"ECR_REGISTRY": "127.0.0.1:5000"} | ({"AWS_ACCOUNT_ID": ACCOUNT} if project == "greenflow" else {})
        settings = load(REPOSITORY / "env", project, "prod", values).settings
        process.setenv("MOTO_ACCOUNT_ID", settings.aws.account)
        moto = DomainDispatcherApplication(create_backend_app)
        stack, plane = make_stack(settings, session(settings), doorman[0], moto, tmp_path)
        httpx.post(f"{doorman[1]}/moto-api/reset").raise_for_status()
        stops.extend((plane.stop, stack.registry.stop))
        plane.start()
        stack.put_up()
        return stack

    yield put_up
    for stop in stops:
        stop()


@pytest.fixture
def gli(make: Callable[[str], Stack]) -> Stack:
    return make("gli")


@pytest.fixture
def greenflow(make: Callable[[str], Stack]) -> Stack:
    return make("greenflow")
