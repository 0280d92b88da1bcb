"""The load generator against real servers, and against another load generator."""

from __future__ import annotations

import csv
import io
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
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.rehearsal.load.answer import Answer, MalformedAnswer
from gli_tasks.rehearsal.load.summary import FAILURES_KEPT, Failure, Histogram, Summary
from tests.conftest import missing

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "gli_tasks" / "rehearsal" / "sample"


@pytest.fixture
def start_sample() -> Iterator[Callable[..., int]]:
    """Yield a function that starts a sample service and returns its port."""
    started: list[subprocess.Popen[str]] = []

    def start(service: str = "api", **environment: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-B", "server.py"],
            cwd=SAMPLE / service,
            env={**os.environ, "BIND_ADDRESS": "127.0.0.1", "PORT": "0", **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return int(process.stdout.readline().rpartition(":")[2])

    yield start
    for process in started:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def load(output: Path, port: int, *more: str, duration_s: float = 2.0, scheme: str = "http") -> dict[str, Any]:
    subprocess.run(
        [
            *(sys.executable, "-m", "gli_tasks.rehearsal.load", "--target", f"127.0.0.1:{port}", "--scheme", scheme),
            *("--host", "api.glibiz.com", "--output", str(output), "--duration-s", str(duration_s), *more),
        ],
        cwd=ROOT,
        check=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(output.read_bytes())
    return found


def test_a_good_server_serves_all(start_sample: Callable[..., int], tmp_path: Path) -> None:
    seen = load(tmp_path / "out.json", start_sample(), "--rate", "100")
    assert 195 <= seen["requested"] <= 205 and seen["failed"] == 0 and seen["served"] == seen["requested"]
    assert seen["by_version"] == {"1.0.0": {"served": seen["served"], "failed": 0}}
    assert 0 < seen["p50_ms"] <= seen["p95_ms"] <= seen["p99_ms"]
    assert seen["ended"] - seen["started"] == pytest.approx(2, abs=0.5)
    assert seen["websocket"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_errors_are_counted_with_their_version(start_sample: Callable[..., int], tmp_path: Path) -> None:
    seen = load(tmp_path / "out.json", start_sample(ERROR_RATE="0.2"), "--rate", "200")
    bound = 4 * (seen["requested"] * 0.2 * 0.8) ** 0.5
    assert abs(seen["failed"] - seen["requested"] * 0.2) < bound
    assert seen["served"] + seen["failed"] == seen["requested"]
    failure = seen["failures"][0]
    assert (failure["status"], failure["version"]) == (500, "1.0.0")
    assert seen["started"] <= failure["at"] <= seen["ended"]


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    seen = load(tmp_path / "out.json", port, "--rate", "50", "--websocket-host", "ws", duration_s=1)
    assert seen["failed"] == seen["requested"] > 40
    assert seen["failures"][0]["error"] == "connection failed: ConnectionRefusedError"
    assert seen["by_version"] == {"unknown": {"served": 0, "failed": seen["failed"]}}
    assert seen["websocket"]["failed_to_open"] > 0 and seen["websocket"]["opened"] == 0


def test_latency_counts_from_the_intended_time(start_sample: Callable[..., int], tmp_path: Path) -> None:
    """A server that stands still for a second is seen by all who would have asked meanwhile."""
    port, output = start_sample(), tmp_path / "out.json"
    with socket.create_server(("127.0.0.1", 0)) as front:
        frozen = threading.Event()

        def carry(client: socket.socket) -> None:
            with client, socket.create_connection(("127.0.0.1", port)) as server:
                while data := client.recv(65536):
                    while frozen.is_set():
                        time.sleep(0.005)
                    server.sendall(data)
                    client.sendall(server.recv(65536))

        def accept() -> None:
            while True:
                try:
                    client, _ = front.accept()
                except OSError:
                    return
                threading.Thread(target=carry, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        freeze = threading.Timer(1.5, frozen.set)
        thaw = threading.Timer(2.5, frozen.clear)
        freeze.start()
        thaw.start()
        seen = load(output, front.getsockname()[1], "--rate", "100", duration_s=4)
        front.shutdown(socket.SHUT_RDWR)
    assert seen["failed"] == 0
    assert seen["p50_ms"] < 100 < seen["p95_ms"] < 1100  # a quarter of all requests waited, 0 to 1,000 ms
    assert seen["p95_ms"] > 600


def test_timeouts_are_failures(start_sample: Callable[..., int], tmp_path: Path) -> None:
    more = ("--rate", "20", "--path", "/work?ms=900", "--timeout-s", "0.3")
    seen = load(tmp_path / "out.json", start_sample(), *more, duration_s=1)
    assert seen["failed"] == seen["requested"]
    assert {failure["error"] for failure in seen["failures"]} == {"timeout"}
    assert 290 < seen["p50_ms"] < 400


def test_a_server_that_hangs_is_not_stormed(tmp_path: Path) -> None:
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:

        def accept() -> None:
            while True:
                try:
                    accepted.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        more = ("--rate", "400", "--timeout-s", "1.5")
        seen = load(tmp_path / "out.json", listener.getsockname()[1], *more, duration_s=1.4)
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    for connection in accepted:
        connection.close()
    assert seen["failed"] == seen["requested"] > 500
    assert {failure["error"] for failure in seen["failures"]} == {"timeout"}
    assert len(accepted) < 400, "256 at once, and few more as those time out"


@pytest.mark.parametrize("milliseconds", [20, 80])
def test_hey_sees_the_same(start_sample: Callable[..., int], tmp_path: Path, milliseconds: int) -> None:
    if shutil.which("hey") is None:
        missing("hey")
    port = start_sample()
    url = f"http://127.0.0.1:{port}/work?ms={milliseconds}"
    text = subprocess.run(
        ["hey", "-o", "csv", "-q", "10", "-c", "10", "-n", "200", url], capture_output=True, text=True, check=True
    ).stdout
    theirs = sorted(float(row["response-time"]) * 1000 for row in csv.DictReader(io.StringIO(text)))
    ours = load(tmp_path / "out.json", port, "--rate", "100", "--path", f"/work?ms={milliseconds}")
    assert ours["p50_ms"] == pytest.approx(theirs[len(theirs) // 2], rel=0.2, abs=6)


def test_tls_is_verified(start_sample: Callable[..., int], tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name, error in (("api.glibiz.com", None), ("other.example", "TLS: CERTIFICATE_VERIFY_FAILED")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve_tls, args=(listener, context), daemon=True)
            thread.start()
            seen = load(
                tmp_path / "out.json",
                listener.getsockname()[1],
                *("--ca", str(tmp_path / "ca.pem"), "--rate", "50"),
                duration_s=0.5,
                scheme="https",
            )
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        if error is None:
            assert seen["failed"] == 0 and seen["served"] > 20
        else:
            assert seen["served"] == 0 and seen["failures"][0]["error"] == error


def serve_tls(listener: socket.socket, context: ssl.SSLContext) -> None:
    def serve(plain: socket.socket) -> None:
        try:
            with context.wrap_socket(plain, server_side=True) as connection:
                while connection.recv(65536):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        except OSError:
            plain.close()

    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(plain,), daemon=True).start()


def test_websockets_are_held_and_opened_again(start_sample: Callable[..., int], tmp_path: Path) -> None:
    port = start_sample("websocket", CLOSE_GRACE_S="0.1")
    more = ("--path", "/health", "--rate", "20", "--websocket-host", "ws", "--websocket-interval-s", "0.1")
    seen = load(tmp_path / "out.json", port, *more)["websocket"]
    assert (seen["wanted"], seen["opened"], seen["failed_to_open"]) == (4, 4, 0)
    assert seen["echoed"] > 40 and seen["sent"] - seen["echoed"] <= 4
    assert seen["by_version"] == {"1.0.0": 4} and seen["dropped"] == 0 and seen["open"] == 0
    assert 0 < seen["p50_ms"] < 100


def test_a_closing_server_is_told_from_a_dropped_connection(tmp_path: Path) -> None:
    for number, (way, count) in enumerate((("terminate", "closed_by_server"), ("kill", "dropped"))):
        process = subprocess.Popen(
            [sys.executable, "-B", "server.py"],
            cwd=SAMPLE / "websocket",
            env={**os.environ, "BIND_ADDRESS": "127.0.0.1", "PORT": "0", "CLOSE_GRACE_S": "0.1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        stop = threading.Timer(1.0, getattr(process, way))
        stop.start()
        more = ("--path", "/health", "--rate", "5", "--websocket-host", "ws")
        seen = load(tmp_path / f"{number}.json", port, *more)["websocket"]
        process.wait(10)
        process.stdout.close()
        stop.cancel()
        assert (seen["opened"], seen[count]) == (4, 4), seen


@pytest.mark.parametrize("way", ["terminate", "stdin"])
def test_it_ends_with_its_result(start_sample: Callable[..., int], tmp_path: Path, way: str) -> None:
    output = tmp_path / "out.json"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gli_tasks.rehearsal.load", "--target", f"127.0.0.1:{start_sample()}"),
            *("--scheme", "http", "--host", "x", "--output", str(output), "--until-stdin-closes"),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
    )
    assert process.stdin is not None
    end = time.monotonic() + 10
    while not output.exists() or json.loads(output.read_bytes())["served"] == 0:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert json.loads(output.read_bytes())["ended"] is None
    if way == "terminate":
        process.terminate()
    process.stdin.close()
    assert process.wait(5) == 0
    seen = json.loads(output.read_bytes())
    assert seen["ended"] and seen["requested"] == seen["served"]


def test_percentiles_are_within_the_width_of_a_bucket() -> None:
    random = Random(3)
    values = sorted(random.lognormvariate(-5, 1) for _ in range(5000))
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    for percent in (50, 95, 99):
        exact = values[int(len(values) * percent / 100) - 1] * 1000
        assert histogram.percentile_ms(percent) == pytest.approx(exact, rel=0.012)
    assert Histogram().percentile_ms(50) is None


def test_only_the_first_failures_are_kept() -> None:
    summary = Summary(started=0)
    for number in range(FAILURES_KEPT + 50):
        summary.fail(Failure(number, 502, None, "unknown"))
    assert summary.failed == FAILURES_KEPT + 50
    assert [failure.at for failure in summary.failures] == list(range(FAILURES_KEPT))


@given(st.lists(st.binary(min_size=1, max_size=99), max_size=5), st.integers(1, 64), st.booleans())
def test_answers_are_read_whatever_the_cuts(pieces: list[bytes], step: int, chunked: bool) -> None:
    head = b"HTTP/1.1 503 Nope\r\nX-App-Version: 1.2.3\r\nConnection: close\r\n"
    if chunked:
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        wire = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    else:
        body = b"".join(pieces)
        wire = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    answer = Answer()
    done = [answer.feed(wire[start : start + step]) for start in range(0, len(wire), step)]
    assert done == [False] * (len(done) - 1) + [True]
    assert (answer.status, answer.version, answer.keep_alive) == (503, "1.2.3", False)


@pytest.mark.parametrize(
    "wire",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"x" * 70_000,
    ],
)
def test_malformed_answers(wire: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        Answer().feed(wire)
