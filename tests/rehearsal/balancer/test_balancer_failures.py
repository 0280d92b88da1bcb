"""Targets and clients that misbehave, and bodies of every size."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.rehearsal.balancer.balancer_parts import (
    BalancerProcess,
    Certificates,
    Control,
    SampleProcess,
    ScriptedTarget,
    answer_health,
    forward,
    next_address,
    read_head,
    wait_until,
)

Start = Callable[..., SampleProcess]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def serving(control: Control, script: Callable[[socket.socket, bytes], None]) -> Iterator[ScriptedTarget]:
    """Put a target behind both listeners; ``script`` gets connection and head of each request but health checks."""

    def run(connection: socket.socket) -> None:
        head = read_head(connection)
        if head and not answer_health(connection, head):
            script(connection, head)

    target = ScriptedTarget(run)
    group = control.group("scripted", health={"interval_s": 30})
    control.listener("HTTP", [{"action": forward((group, 1))}])
    control.listener("HTTPS", [{"action": forward((group, 1))}])
    control.targets(group, target.target)
    control.wait_for(group, target.address, "healthy")
    try:
        yield target
    finally:
        target.close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nbroken", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"],
    ids=["closed", "not http", "cut off", "bad length"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_broken_answer_is_502(control: Control, balancer: BalancerProcess, answer: bytes, method: str) -> None:
    with serving(control, lambda connection, _: connection.sendall(answer)):
        status, headers, body = balancer.ask("x", "/", method, b"abc" if method == "POST" else None)
        assert (status, headers["server"]) == (502, "awselb/2.0")
        assert b"502 Bad Gateway" in body
        balancer.close()  # delivers the last counts
        assert (
            control.total("elb_5xx") == control.total("requests") == 1
            and control.total("target_connection_errors") == 0
        )


def test_a_refused_connection_is_502_and_counted(control: Control, balancer: BalancerProcess) -> None:
    group = control.group("nobody")
    control.listener("HTTPS", [{"action": forward((group, 1))}])
    address = next_address()
    control.targets(group, (address, 9))
    control.wait_for(group, address, "unhealthy")
    assert balancer.ask("x")[0] == 502
    balancer.close()
    assert control.total("elb_5xx") == control.total("target_connection_errors") == 1


def test_a_silent_target_is_504(control: Control, certificates: Certificates) -> None:
    balancer = BalancerProcess(control.url, certificates, "--idle-timeout-s", "0.4")
    try:
        with serving(control, lambda *_: time.sleep(1)):
            assert balancer.ask("x")[0] == 504
            assert balancer.ask("x", "/", "POST", b"abc")[0] == 504
    finally:
        assert balancer.close() == 0


def test_an_idle_client_is_closed(control: Control, certificates: Certificates) -> None:
    balancer = BalancerProcess(control.url, certificates, "--idle-timeout-s", "0.3")
    try:
        with balancer.raw() as client:
            client.sendall(b"GET / HT")
            assert client.recv(100) == b""
    finally:
        assert balancer.close() == 0


def test_the_race_with_a_target_that_closes_idle_connections(control: Control, balancer: BalancerProcess) -> None:
    """The target answers one request a connection without saying so, and closes as the next one comes."""

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(OK)
        read_head(connection)  # the next request is read and the connection closed without an answer

    with serving(control, script) as target:
        client = balancer.connection()
        for number in range(60):
            method = "POST" if number % 5 == 4 else "GET"
            client.request(method, "/", b"x" if method == "POST" else None, {"Host": "x"})
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, b"ok")
        client.close()
        wait_until(lambda: control.total("requests") == 60, "metrics")
        assert control.total("target_2xx") == 60 and control.total("elb_5xx") == 0
        assert target.connections >= 60


def test_a_request_that_is_not_idempotent_is_never_sent_twice(control: Control, balancer: BalancerProcess) -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket, head: bytes) -> None:
        while head:
            seen.append(head.split(b" ")[0])
            if head.startswith(b"POST"):
                return
            connection.sendall(OK)
            head = read_head(connection)

    with serving(control, script):
        client = balancer.connection()
        for method, expected in (("GET", 200), ("GET", 200), ("POST", 502), ("GET", 200)):
            client.request(method, "/", b"", {"Host": "x"})
            answer = client.getresponse()
            answer.read()
            assert answer.status == expected
        client.close()
        assert seen.count(b"POST") == 1


def test_large_bodies_both_ways(control: Control, balancer: BalancerProcess) -> None:
    """24 MB up in chunks, its hash and 24 MB down, without the balancer holding either."""
    piece, count = bytes(range(256)) * 256, 384
    seen: list[str] = []

    def script(connection: socket.socket, head: bytes) -> None:
        assert b"\r\nTransfer-Encoding: chunked\r\n" in head
        stream = connection.makefile("rb")
        digest = hashlib.sha256()
        while size := int(stream.readline(), 16):
            digest.update(stream.read(size))
            stream.readline()
        stream.readline()
        seen.append(digest.hexdigest())
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(count):
            connection.sendall(piece)

    with serving(control, script):
        client = balancer.connection()
        client.request("POST", "/", (piece for _ in range(count)), {"Host": "x"}, encode_chunked=True)
        body = client.getresponse().read()
        client.close()
    assert seen == [hashlib.sha256(piece * count).hexdigest()]
    assert body == piece * count
    status = Path(f"/proc/{balancer.process.pid}/status").read_text(encoding="ascii")
    peak_kb = int(status.split("VmHWM:")[1].split()[0])
    assert peak_kb < 120_000


def test_a_slow_client_does_not_fill_the_memory(control: Control, balancer: BalancerProcess) -> None:
    sent: list[int] = []

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n")
        for _ in range(4096):
            connection.sendall(b"x" * 65536)
            sent.append(65536)

    with serving(control, script):
        client = balancer.raw()
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
        wait_until(lambda: sent, "the first bytes")
        before = -1
        while before != len(sent):  # until the target cannot send any more
            before = len(sent)
            time.sleep(0.3)
        assert sum(sent) < 64 << 20
        client.close()
        wait_until(lambda: active(control) == 0, "the end of the exchange")


def active(control: Control) -> int:
    with control.changed:
        return sum(target["active"] for target in control.health.values())


def test_a_client_that_vanishes_frees_the_target(control: Control, balancer: BalancerProcess) -> None:
    closed = threading.Event()

    def script(connection: socket.socket, _: bytes) -> None:
        connection.settimeout(8)
        try:
            if connection.recv(1) == b"":
                closed.set()
        except ConnectionError:
            closed.set()

    with serving(control, script):
        client = balancer.connection()
        client.request("GET", "/", headers={"Host": "x"})
        wait_until(lambda: active(control) == 1, "the request in flight")
        client.close()
        assert closed.wait(5)
        wait_until(lambda: active(control) == 0, "the end of the exchange")
        wait_until(lambda: control.total("elb_4xx") == 1, "the metric of status 460")
        assert control.total("elb_5xx") == 0


def test_a_cut_answer_is_seen_as_cut(control: Control, balancer: BalancerProcess) -> None:
    def script(connection: socket.socket, head: bytes) -> None:
        if b"GET /chunked" in head:
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")

    with serving(control, script):
        for path in (b"/chunked", b"/length"):
            with balancer.raw() as client:
                client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
                data = b""
                try:
                    while piece := client.recv(65536):
                        data += piece
                except ConnectionResetError:
                    pass
                assert b"0\r\n\r\n" not in data


def test_an_answer_before_the_end_of_the_upload(control: Control, balancer: BalancerProcess) -> None:
    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        time.sleep(0.2)

    with serving(control, script), balancer.raw() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 100_000)
        head = read_head(client)
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b"Connection: close" in head


def test_expect_100_continue(control: Control, balancer: BalancerProcess) -> None:
    def script(connection: socket.socket, head: bytes) -> None:
        assert b"Expect: 100-continue" in head
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert connection.recv(3) == b"abc"
        connection.sendall(OK)

    with serving(control, script), balancer.raw() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert read_head(client) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        assert read_head(client).startswith(b"HTTP/1.1 200 OK\r\n")


def test_pipelined_requests_are_answered_in_order(control: Control, balancer: BalancerProcess) -> None:
    def script(connection: socket.socket, head: bytes) -> None:
        while head:
            number = head.split(b" ")[1][1:]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(number), number))
            head = read_head(connection)

    with serving(control, script), balancer.raw() as client:
        asked = [b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(100, 120)]
        client.sendall(b"".join(asked)[:-4] + b"\r\nConnection: close\r\n\r\n")
        stream = client.makefile("rb").read()
        bodies = [part[:3] for part in stream.split(b"\r\n\r\n")[1:]]
        assert bodies == [b"%d" % number for number in range(100, 120)]


def test_an_old_client_gets_what_it_understands(control: Control, balancer: BalancerProcess) -> None:
    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\n me\r\n0\r\n\r\n")

    with serving(control, script), balancer.raw() as client:
        client.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        answer = client.makefile("rb").read()
        assert answer.endswith(b"\r\n\r\nhello me") and b"chunked" not in answer


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 80_000 + b"\r\n\r\n", 400),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused(control: Control, balancer: BalancerProcess, raw: bytes, status: int) -> None:
    control.listener("HTTP", [{"action": {"type": "fixed-response", "status": 200}}])
    with balancer.raw() as client:
        client.sendall(raw)
        assert read_head(client).startswith(b"HTTP/1.1 %d " % status)


def test_what_targets_are_told(control: Control, balancer: BalancerProcess) -> None:
    heads: list[bytes] = []

    def script(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        connection.sendall(OK)

    with serving(control, script):
        balancer.ask("api.glibiz.com", "/a%2Fb?x=%20", X_Forwarded_For="10.1.1.1")
    head = heads[0]
    assert head.startswith(b"GET /a%2Fb?x=%20 HTTP/1.1\r\n")
    assert b"\r\nX-Forwarded-For: 10.1.1.1, 127.0.0.1\r\n" in head
    assert b"\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nX-Amzn-Trace-Id: Root=1-" in head
