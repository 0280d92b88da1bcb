"""A registry with its ECR, and engines that speak as much of the Docker API as it takes to fail in the middle."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gli_tasks.rehearsal.registry.server import OciRegistry


@dataclass(frozen=True)
class Registry:
    """A registry, and the ECR that tells about it."""

    ecr: Any
    host: str
    server: OciRegistry


class BrokenEngine(ThreadingHTTPServer):
    """An engine that answers as ``how`` says once work begins: ``cut``, ``junk``, ``silent``, ``refuse``."""

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
