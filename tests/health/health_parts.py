"""A service on 127.0.0.1 that answers health checks, in the open or over TLS."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gli_tasks.health.plan import Expectation

Answering = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Service:
    """What was asked of it, and how it answers each path."""

    port: int = 0
    answers: dict[str, Answering] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def count(self, path: str) -> int:
        return self.paths.count(path)


class Server(ThreadingHTTPServer):
    """Serves one ``Service`` and prints nothing."""

    daemon_threads = True
    service: Service

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us, or waits no longer, hangs up."""


class Handler(BaseHTTPRequestHandler):
    """Notes what was asked and answers from the service's table."""

    server: Server

    def do_GET(self) -> None:
        service = self.server.service
        service.hosts.append(self.headers["Host"])
        service.paths.append(self.path)
        service.answers.get(self.path, say(404, "nothing here"))(self)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def say(status: int, body: str, **headers: str) -> Answering:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        content = body.encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def serve(tls: ssl.SSLContext | None = None) -> tuple[Service, Callable[[], None]]:
    """Serve, and return the service and the way to end it."""
    server = Server(("127.0.0.1", 0), Handler)
    service = server.service = Service(server.server_port)
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: service.names.append(name)
        # The handshake belongs into the thread of its connection, or a silent client would hold all others.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()

    def end() -> None:
        service.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)

    return service, end


def expect(
    url: str,
    values: Mapping[str, str] | None = None,
    *,
    name: str = "api",
    status: int = 200,
    limit_ms: float = 60_000,
) -> Expectation:
    return Expectation(name, url, status, values or {}, limit_ms)
