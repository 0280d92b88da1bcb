"""A registry with its ECR, and engines that speak as much of the Docker API as it takes to fail in the middle."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gli_tasks.image.content import Content, read_content
from gli_tasks.rehearsal.registry.server import OciRegistry
from gli_tasks.source import read_source
from tests.ecs.rollout_parts import Cluster

_REQUEST = re.compile(rb"((?:GET|HEAD|POST|PUT|DELETE|PATCH) \S+) HTTP/1\.[01]\r\n")


@dataclass(frozen=True)
class Registry:
    """A registry, and the ECR that tells about it."""

    ecr: Any
    host: str
    server: OciRegistry
    #: The repositories whose tags may not move.
    immutable: set[str] = field(default_factory=set)
    url: str = ""
    #: Every call of AWS that the server got, by operation, or by method and path where it has no target.
    asked: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cloud:
    """A registry, a cluster and an S3 of one account."""

    registry: Registry
    cluster: Cluster
    s3: Any


class Checkout:
    """A git repository with the source of an image in a folder of its own, as one that holds several services."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "api"
        self.folder.mkdir(parents=True)

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=Kim", "-c", "user.email=kim@example.com")
        command = ["git", *identity, *words]
        # A commit's time has seconds only; what must differ is told by its content.
        done = subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True, timeout=30)
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def commit(self, subject: str, **files: str) -> str:
        """Write files of the service's folder (``__`` stands for a dot) and commit all that is there."""
        for name, text in files.items():
            self.write(f"api/{name.replace('__', '.')}", text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.git("rev-parse", "HEAD")

    def read(self, **options: Any) -> Content:
        return read_content(self.folder, read_source(self.folder), **{"arguments": {}, **options})


class RealRegistry:
    """Debian's docker-registry on a port of its own, without authentication; it can be killed and started again."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        self._config = root / "registry.yml"
        self._config.write_text(
            f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root / 'peer'}\nhttp:\n  addr: {self.host}\n"
        )
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )
        deadline = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < deadline, "docker-registry does not start"
            time.sleep(0.05)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def _answers(self) -> bool:
        host, _, port = self.host.partition(":")
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            return False
        return True


class Watched:
    """An engine behind a port that notes the first line of every request to it."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        # Closing alone would leave it listening for as long as the thread waits in it.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            scheme, _, place = self._engine.partition("://")
            if scheme == "unix":
                server = socket.socket(socket.AF_UNIX)
                server.connect(place)
            else:
                host, _, port = place.partition(":")
                server = socket.create_connection((host, int(port)))
            threading.Thread(target=self._copy, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, False), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if asks:
                    self.requests += [line.decode() for line in _REQUEST.findall(data)]
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class BrokenEngine(ThreadingHTTPServer):
    """An engine that answers as ``how`` says once work begins: ``cut``, ``junk``, ``silent``, ``refuse``.

    ``silent-inspection``: it has no image, and does not come back from asking a registry.
    """

    daemon_threads = True

    def __init__(self, how: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.how = how
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()
        self._thread.join(5)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up here, and are meant to."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BrokenEngine

    def do_GET(self) -> None:
        if "/distribution/" in self.path:
            self.server.stopping.wait(20)
            self.close_connection = True
            return
        if self.path.endswith("/json") and self.server.how == "silent-inspection":
            self._say(404, b'{"message": "No such image"}')
            return
        if self.path.endswith("/json"):
            self._say(200, b'{"Id": "sha256:1", "Config": {"Labels": null}}')
            return
        self._say(200, b'{"ApiVersion": "1.41", "Version": "1"}' if "version" in self.path else b"OK")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._read_body()
        how = self.server.how
        if how == "refuse":
            self._say(500, b'{"message": "no space left on device"}')
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._piece(b'{"stream": "Step 1/1"}\n')
        if how == "silent":
            self.server.stopping.wait(20)
        elif how == "junk":
            self._piece(b"}}{{")
            self._piece(b"")
        self.close_connection = True

    def _read_body(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _piece(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def write_source(folder: Path, dockerfile: str = "FROM scratch\nCOPY app.py /app.py\n") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "app.py").write_text("print('hello')")
    return folder
