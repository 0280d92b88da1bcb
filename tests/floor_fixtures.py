"""Fixtures of the floor's tests: settings on disk, and AWS on loopback."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gli_tasks.aws import Aws
from tests.floor_parts import ACCOUNT, REGION, AwsServer, Shop, write_shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return write_shop(tmp_path / "env")


@pytest.fixture
def aws_server() -> Iterator[AwsServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.asked += 1
            status, headers, body = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body.encode())), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_PUT = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = AwsServer(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    http.shutdown()
    thread.join(5)
    http.server_close()


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws_process(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """This process's environment with credentials that open nothing, and without the operator's own."""
    _set_aws(monkeypatch)
    return monkeypatch


def _set_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [key for key in os.environ if key.startswith("AWS_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


@pytest.fixture(scope="session")
def moto_aws(moto_url: str) -> Aws:
    """moto as `Aws` finds it; its clients, once made, are shared by all tests, since making one takes a while."""
    aws = Aws(REGION, ACCOUNT)
    with pytest.MonkeyPatch.context() as process:
        _set_aws(process)
        process.setenv("AWS_ENDPOINT_URL", moto_url)
        for service in ("ecr", "secretsmanager"):
            aws.client(service)
    return aws
