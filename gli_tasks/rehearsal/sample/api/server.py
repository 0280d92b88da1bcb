"""A small API server that behaves as a service on ECS should.

It answers health checks, says which version it is, and on SIGTERM finishes what it has begun and exits 0.
Settings come from the environment: BIND_ADDRESS, PORT, API_PREFIX, APP_VERSION, DATABASE_URL or DB_*, REDIS_URL.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from urllib.parse import parse_qs, urlsplit

from dependencies import CONNECTED, NOT_CONFIGURED, Dependencies
from faults import Faults, read_faults

STOP_WITHIN_S = 5.0
SOURCE = Path(__file__).resolve().parent


class Application:
    """What the service answers, apart from how it is asked."""

    def __init__(self, version: str, prefix: str, dependencies: Dependencies, faults: Faults) -> None:
        """Remember the parts and the time of the start."""
        self.version, self.faults = version, faults
        self._health_paths = {"/health", f"{prefix}/health"}
        self._dependencies = dependencies
        self._started = time.monotonic()

    def answer(self, target: str, agent: str = "") -> tuple[int, dict[str, object]]:
        """Return status and body for a request target; ``agent`` is what asks."""
        url = urlsplit(target)
        path = url.path.rstrip("/") or "/"
        fails_after = self.faults.requests_fail_after_s
        # The container's own health check goes on to pass: from inside, all looks well.
        if fails_after is not None and time.monotonic() - self._started >= fails_after and agent != "curl":
            return 500, {"error": "a fault that was asked for (REQUESTS_FAIL_AFTER_S)", "version": self.version}
        if path in self._health_paths:
            return self._health()
        time.sleep(self.faults.latency_ms / 1000)
        if random.random() < self.faults.error_rate:
            return 500, {"error": "a fault that was asked for (ERROR_RATE)", "version": self.version}
        if path == "/":
            return 200, {"version": self.version}
        if path == "/work":
            wanted = parse_qs(url.query).get("ms", ["20"])[-1]
            milliseconds = min(int(wanted), 60_000) if wanted.isdigit() else 20
            time.sleep(milliseconds / 1000)
            return 200, {"version": self.version, "worked_ms": milliseconds}
        return 404, {"error": "not found", "version": self.version}

    def _health(self) -> tuple[int, dict[str, object]]:
        states = self._dependencies.states()
        after = self.faults.unhealthy_after_s
        failing = self.faults.health_fails or (after is not None and time.monotonic() - self._started > after)
        good = not failing and set(states.values()) <= {CONNECTED, NOT_CONFIGURED}
        return (200 if good else 503), {"status": "ok" if good else "degraded", "version": self.version, **states}


class Server(ThreadingMixIn, TCPServer):
    """An HTTP server with a thread for each connection, that knows how many requests are in flight."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], application: Application) -> None:
        """Listen on ``address``."""
        super().__init__(address, Handler)
        self.application = application
        self.stopping = False
        self._busy = 0
        self._changed = threading.Condition()

    def count(self, change: int) -> None:
        """Note that a request has begun (+1) or ended (-1)."""
        with self._changed:
            self._busy += change
            self._changed.notify_all()

    def stop(self, within_s: float) -> bool:
        """Take no new connection; wait for the requests in flight. Return False if some did not end in time."""
        self.stopping = True
        self.shutdown()
        self.server_close()
        with self._changed:
            return self._changed.wait_for(lambda: self._busy == 0, within_s)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Say in one line that a connection broke; clients that vanish are no news."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            print(f"connection of {client_address}: {type(error).__name__}", file=sys.stderr, flush=True)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "sample-api", ""
    wbufsize = -1  # head and body leave in one packet
    timeout = 75  # idle for longer than the load balancer's 60 s, so that the balancer is the one to close

    def do_GET(self) -> None:
        """Answer."""
        self.server.count(+1)
        try:
            length = self.headers.get("Content-Length", "0")
            self.rfile.read(int(length) if length.isdigit() else 0)
            status, answer = self.server.application.answer(self.path, self.headers.get("User-Agent", ""))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-App-Version", self.server.application.version)
            if self.server.stopping:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.wfile.flush()
        finally:
            self.server.count(-1)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Write no access log: the load balancer counts."""


def main() -> int:
    """Serve until SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    faults = read_faults(SOURCE / "FAULTS", os.environ)
    if faults.crash_at_start is not None:
        print(f"crashing at start with exit code {faults.crash_at_start}, as asked", file=sys.stderr, flush=True)
        return faults.crash_at_start
    if stop.wait(faults.start_delay_s):
        return 0
    if faults.crash_after_s is not None:
        threading.Thread(target=_crash, args=(faults.crash_after_s,), daemon=True).start()

    version_file = SOURCE / "VERSION"
    version = version_file.read_text(encoding="utf-8").strip() if version_file.is_file() else ""
    version = version or os.environ.get("APP_VERSION", "unknown")
    prefix = os.environ.get("API_PREFIX", "").rstrip("/")
    address = os.environ.get("BIND_ADDRESS") or "0.0.0.0", int(os.environ.get("PORT") or 8000)
    server = Server(address, Application(version, prefix, Dependencies(os.environ), faults))
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    print(f"version {version} listens on {address[0]}:{server.server_address[1]}", flush=True)

    stop.wait()
    done = server.stop(STOP_WITHIN_S - 0.5)
    print("stopped" if done else "stopped with requests in flight", flush=True)
    return 0


def _crash(after_s: float) -> None:
    time.sleep(after_s)
    print(f"crashing after {after_s} s, as asked", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
