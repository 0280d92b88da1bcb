"""A registry with images in it, specifications of containers, and waiting with a deadline."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from gli_tasks.rehearsal.builder.engine import StandInBuilder
from gli_tasks.rehearsal.registry.client import Credentials
from gli_tasks.rehearsal.registry.server import OciRegistry
from gli_tasks.rehearsal.runtime.contract import ContainerSpec, HealthCheck

CREDENTIALS = Credentials("AWS", "a-password")
AUTH = {"username": CREDENTIALS.user, "password": CREDENTIALS.password}

SERVICE_DOCKERFILE = """\
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}
WORKDIR /app
COPY . /app
ENV PATH=/app/bin:$PATH FROM_IMAGE=yes
CMD ["python3", "-u", "service.py"]
"""

# A service in few lines: answers its version, tells its environment, and does as FAULT says.
SERVICE = """\
import http.server, json, os, signal, subprocess, sys, threading, time

fault = os.environ.get("FAULT", "")
print("starting", os.getcwd(), flush=True)
if fault == "exit":
    print("no way", file=sys.stderr)
    print("last words without an end", end="")
    sys.exit(int(os.environ["CODE"]))
if fault == "lines":
    for number in range(int(os.environ["COUNT"])):
        print(f"line {number}")
    sys.exit(0)
if fault == "memory":
    kept = [bytearray(8_000_000) for _ in range(100)]
if fault == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif fault != "plain":
    def leave(*_):
        print("leaving", flush=True)
        os._exit(0)
    signal.signal(signal.SIGTERM, leave)
if fault in ("family", "stubborn"):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("child", child.pid, flush=True)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(dict(os.environ)).encode()
        self.send_response(500 if os.path.exists("broken") else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

host = os.environ.get("BIND_ADDRESS", "0.0.0.0")
server = http.server.ThreadingHTTPServer((host, int(os.environ["PORT"])), Handler)
print("listening", flush=True)
server.serve_forever()
"""

CHECK = """\
#!/usr/bin/env python3
import os, sys, urllib.request
address = os.environ.get("TASK_ADDRESS", "127.0.0.1")
urllib.request.urlopen(f"http://{address}:{os.environ['PORT']}/", timeout=2)
"""

FILES = {"Dockerfile": SERVICE_DOCKERFILE, "service.py": SERVICE, "bin/check": CHECK}


@dataclass(frozen=True)
class Images:
    """Builds images and pushes them to the registry."""

    client: docker.DockerClient
    registry: str

    def push(self, tag: str, files: Mapping[str, str | bytes] = FILES, **options: Any) -> str:
        """Push the image of ``files`` as ``team/api:tag`` and return its reference by digest."""
        name = f"{self.registry}/team/api"
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, content in files.items():
                data = content.encode() if isinstance(content, str) else content
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(data), 0o755
                tar.addfile(member, io.BytesIO(data))
        archive.seek(0)
        self.client.images.build(fileobj=archive, custom_context=True, tag=f"{name}:{tag}", rm=True, **options)
        for line in self.client.api.push(name, tag=tag, stream=True, decode=True, auth_config=AUTH):
            assert "error" not in line, line
            digest = line.get("aux", {}).get("Digest")
        return f"{name}@{digest}"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[OciRegistry]:
    server = OciRegistry(
        tmp_path / "registry",
        authenticate=lambda user, password: (user, password) == (CREDENTIALS.user, CREDENTIALS.password),
        repository_exists={"team/api"}.__contains__,
    )
    yield server
    server.stop()


@pytest.fixture
def stand_in_images(tmp_path: Path, registry: OciRegistry) -> Iterator[Images]:
    builder = StandInBuilder(tmp_path / "builder")
    client = docker.DockerClient(base_url=builder.url)
    yield Images(client, registry.address)
    client.close()
    builder.stop()


_NEXT = iter(range(10, 250))


def make_spec(image: str, **changes: Any) -> ContainerSpec:
    """Return a specification on an address of its own."""
    number = next(_NEXT)
    values: dict[str, Any] = {
        "task_id": f"{number:032x}",
        "name": "api",
        "image": image,
        "entry_point": None,
        "command": None,
        "environment": {},
        "working_directory": None,
        "user": None,
        "address": f"127.0.77.{number}",
        "ports": (8000,),
        "health_check": None,
        "memory_bytes": None,
        "stop_timeout_s": 5.0,
    }
    values |= changes
    values["environment"] = {"PORT": "8000", **values["environment"]}
    return ContainerSpec(**values)


def make_check(**changes: Any) -> HealthCheck:
    values: dict[str, Any] = {"interval_s": 0.1, "timeout_s": 1.0, "retries": 2, "start_period_s": 0.0}
    values |= {"command": ("CMD-SHELL", "check || exit 1")} | changes
    return HealthCheck(**values)


def eventually(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Wait until ``condition`` holds, and return what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
    return found
