"""Real parts for the balancer's tests: a control server, the balancer's process, sample services."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "gli_tasks" / "rehearsal" / "sample"
DEADLINE_S = 15.0
_numbers = itertools.count(1)


def next_address() -> str:
    """Return a loopback address that no other test of this process uses."""
    number = next(_numbers)
    return f"127.{60 + os.getpid() % 60}.{number // 250}.{number % 250 + 1}"


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Return the condition's first true value, or fail."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {deadline_s} s in vain for {what}"
        time.sleep(0.01)
    return value


class Control:
    """A control process: it gives the topology and takes the reports."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.topology: dict[str, Any] = {
            "version": 1,
            "time_scale": 0.05,
            "listeners": [],
            "target_groups": [],
            "sites": [],
        }
        self.health: dict[tuple[str, str], dict[str, Any]] = {}
        self.history: list[tuple[str, str, str]] = []
        self.metrics: list[dict[str, Any]] = []
        self.objects: dict[str, tuple[str, bytes]] = {}
        self.object_reads = 0
        control = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                if url.path != "/_twin/topology":
                    control.object_reads += 1
                    kind, body = control.objects.get(url.path, ("", b""))
                    return self._answer(200 if kind else 404, body, kind or "application/xml")
                after = parse_qs(url.query).get("after")
                with control.changed:
                    if after:
                        control.changed.wait_for(lambda: control.topology["version"] != int(after[0]), 1.0)
                    body = json.dumps(control.topology).encode()
                return self._answer(200, body)

            def do_POST(self) -> None:
                report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with control.changed:
                    if self.path == "/_twin/metrics":
                        control.metrics += report
                    else:
                        for target in report:
                            key = target["target_group"], target["address"]
                            before = control.health.get(key, {}).get("state")
                            if before != target["state"]:
                                control.history.append((*key, target["state"]))
                            control.health[key] = target
                self._answer(200, b"{}")

            def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        with self.changed:
            yield self.topology
            self.topology["version"] += 1
            self.changed.notify_all()

    def group(self, name: str, **settings: Any) -> str:
        """Add a target group; return its ARN."""
        health = {
            "path": "/health",
            "interval_s": 2,
            "timeout_s": 5,
            "healthy_threshold": 2,
            "unhealthy_threshold": 2,
            "matcher": "200-399",
        }
        health.update(settings.pop("health", {}))
        arn = f"arn:aws:elasticloadbalancing:ap-northeast-2:123456789012:targetgroup/{name}/0123456789abcdef"
        with self.change() as topology:
            topology["target_groups"].append(
                {
                    "arn": arn,
                    "name": name,
                    "dimension": f"targetgroup/{name}/0123456789abcdef",
                    "health": health,
                    "deregistration_delay_s": 300,
                    "targets": [],
                    **settings,
                }
            )
        return arn

    def listener(self, protocol: str, rules: list[dict[str, Any]], load_balancer: str = "app/alb/1") -> None:
        """Add a listener; the last rule is the default one."""
        port = 443 if protocol == "HTTPS" else 80
        with self.change() as topology:
            topology["listeners"].append(
                {
                    "arn": f"{load_balancer}/{port}",
                    "port": port,
                    "protocol": protocol,
                    "load_balancer": load_balancer,
                    "rules": [
                        {"arn": f"rule/{number}", "priority": number, "hosts": [], "paths": [], **rule}
                        for number, rule in enumerate(rules, 1)
                    ],
                }
            )

    def targets(self, arn: str, *targets: tuple[str, int], draining: tuple[tuple[str, int], ...] = ()) -> None:
        """Set a group's targets."""
        with self.change() as topology:
            for group in topology["target_groups"]:
                if group["arn"] == arn:
                    group["targets"] = [
                        {"address": address, "port": port, "draining": False} for address, port in targets
                    ] + [{"address": address, "port": port, "draining": True} for address, port in draining]

    def state(self, arn: str, address: str) -> str | None:
        with self.changed:
            return self.health.get((arn, address), {}).get("state")

    def wait_for(self, arn: str, address: str, state: str) -> dict[str, Any]:
        wait_until(lambda: self.state(arn, address) == state, f"{address} {state}")
        return self.health[arn, address]

    def total(self, key: str) -> float:
        with self.changed:
            return sum(window[key] for window in self.metrics)


def forward(*groups: tuple[str, int], **more: Any) -> dict[str, Any]:
    """Return a forward action."""
    return {"type": "forward", "targets": [{"target_group": arn, "weight": weight} for arn, weight in groups], **more}


FIXED_503 = {"type": "fixed-response", "status": 503, "content_type": "text/plain", "body": "no such host"}
TO_HTTPS = {"type": "redirect", "status": 301, "protocol": "HTTPS", "port": "443", "host": "#{host}"}


class Certificates:
    """An authority and a server certificate, as files."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("api.glibiz.com", "ws.glibiz.com", "glibiz.com", "127.0.0.1")
        self.ca, self.certificate, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        for blob in issued.cert_chain_pems:
            blob.write_to_path(str(self.certificate), append=True)
        issued.private_key_pem.write_to_path(str(self.key))


class BalancerProcess:
    """The balancer as the twin starts it."""

    def __init__(self, control: str, certificates: Certificates, *more: str) -> None:
        self.certificates = certificates
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gli_tasks.rehearsal.balancer", "--control", control),
                *("--http", "127.0.0.1:0", "--https", "127.0.0.1:0"),
                *("--certificate", str(certificates.certificate), "--key", str(certificates.key), "--seed", "7"),
                *more,
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        ports = json.loads(self.process.stdout.readline())
        self.http, self.https = ports["http"], ports["https"]

    def ask(
        self, host: str, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Make one HTTPS request on a connection of its own."""
        connection = self.connection()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Host": host, **named})
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def connection(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=self.certificates.ca)
        return http.client.HTTPSConnection("127.0.0.1", self.https, timeout=10, context=context)

    def raw(self, timeout_s: float = 10.0) -> socket.socket:
        """Return a plain connection to the HTTP listener."""
        return socket.create_connection(("127.0.0.1", self.http), timeout_s)

    def close(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()
            for pipe in (self.process.stdin, self.process.stdout):
                assert pipe is not None
                pipe.close()


class SampleProcess:
    """A sample service as a task would run it."""

    def __init__(self, folder: Path, service: str, version: str, address: str, **environment: str) -> None:
        self.source = folder / f"{service}-{version}-{address}"
        shutil.copytree(SAMPLE / service, self.source, ignore=shutil.ignore_patterns("__pycache__"))
        (self.source / "VERSION").write_text(version)
        self.address = address
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DB_", "DATABASE", "REDIS"))}
        self.process = subprocess.Popen(
            [sys.executable, "-B", "server.py"],
            cwd=self.source,
            env={**kept, "BIND_ADDRESS": address, "PORT": "0", **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, "the sample did not start"
        self.port = int(line.rpartition(":")[2])

    @property
    def target(self) -> tuple[str, int]:
        return self.address, self.port

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()


class ScriptedTarget:
    """A target that does to each connection what a test says."""

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self.address = next_address()
        self._listener = socket.create_server((self.address, 0))
        self.port = self._listener.getsockname()[1]
        self._script = script
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def target(self) -> tuple[str, int]:
        return self.address, self.port

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        try:
            self._script(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def read_head(connection: socket.socket) -> bytes:
    """Read a message head and not a byte more; b"" at the end of the connection."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            return b""
        data += piece
    return data


def answer_health(connection: socket.socket, head: bytes) -> bool:
    """Answer a health check with 200; return whether it was one."""
    if b"ELB-HealthChecker" not in head:
        return False
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    return True
