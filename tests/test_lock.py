"""The lock of an environment, against a real S3 endpoint."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from gli_tasks.errors import Locked, RecordFailed, Refused
from gli_tasks.lock import KEY, Holder, Lock, held
from tests.release.release_parts import BUCKET, s3_client
from tests.state_fixtures import s3, s3_endpoint

__all__ = ["s3", "s3_endpoint"]

HOLDER = Holder("token-1", "kim@laptop", "20261121-000000-aaaa", "2026-11-21T00:00:00Z")
OTHER = Holder("token-2", "lee@ci", "20261121-000001-bbbb", "2026-11-21T00:00:01Z")


class Clock:
    """Steady seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def make(s3: Any) -> Iterator[Callable[..., Lock]]:
    made: list[Lock] = []

    def new(**options: Any) -> Lock:
        made.append(Lock(options.pop("client", s3), BUCKET, **options))
        return made[-1]

    yield new
    for one in made:
        one.release()


def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_second_release_is_told_who_holds_the_environment(make: Callable[..., Lock]) -> None:
    make().acquire(HOLDER)
    with pytest.raises(Locked, match=r"kim@laptop holds the environment since .* for 20261121-000000-aaaa") as it:
        make().acquire(OTHER)
    assert it.value.exit_code == 3
    assert "its lease runs out in" in it.value.remedy


def test_one_of_many_wins(make: Callable[..., Lock]) -> None:
    def attempt(number: int) -> bool:
        try:
            make().acquire(replace(HOLDER, token=f"token-{number}"))
        except Locked:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_what_was_given_back_can_be_taken(make: Callable[..., Lock]) -> None:
    first, second = make(), make()
    first.acquire(HOLDER)
    first.release()
    second.acquire(OTHER)
    seen = second.look()
    assert seen is not None
    assert seen.holder == OTHER


def test_a_dead_holder_is_taken_over_after_its_lease_and_never_before(make: Callable[..., Lock], s3: Any) -> None:
    import msgspec

    # What a holder leaves that was killed: nobody renews it.
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=msgspec.json.encode(HOLDER))
    died = time.monotonic()
    taker = make(lease_s=3)
    while True:
        try:
            taker.acquire(OTHER)
            break
        except Locked:
            assert time.monotonic() - died < 10
            time.sleep(0.2)
    # S3 tells whole seconds.
    assert time.monotonic() - died >= 2


def test_a_living_holder_is_not_taken_over(make: Callable[..., Lock]) -> None:
    holder = make(lease_s=2)
    holder.acquire(HOLDER)
    began = time.monotonic()
    while time.monotonic() - began < 4.5:
        with pytest.raises(Locked):
            make(lease_s=2).acquire(OTHER)
        time.sleep(0.3)


def test_a_holder_that_stood_still_past_its_lease_stops_before_its_next_write(make: Callable[..., Lock]) -> None:
    clock = Clock()
    lock = make(clock=clock)
    lock.acquire(HOLDER)
    lock.require_held()
    clock.now += 54
    lock.require_held()
    clock.now += 2
    with pytest.raises(Locked, match="not renewed for 56 s"):
        lock.require_held()
    clock.now -= 56
    with pytest.raises(Locked, match="was lost"):
        lock.require_held()


def test_a_holder_whose_lock_was_broken_open_learns_of_it(make: Callable[..., Lock]) -> None:
    holder = make(lease_s=1)
    holder.acquire(HOLDER)
    broken = make().break_open("park@laptop", "the CI job was cancelled")
    assert broken == HOLDER

    def lost() -> bool:
        try:
            holder.require_held()
        except Locked:
            return True
        return False

    until(lost)
    seen = make().look()
    assert seen is not None
    assert (seen.holder.token, seen.holder.who, seen.holder.reason) == ("", "park@laptop", "the CI job was cancelled")


def test_a_lock_that_another_has_is_not_given_back_by_its_old_holder(make: Callable[..., Lock]) -> None:
    old, new = make(), make()
    old.acquire(HOLDER)
    make().break_open("park@laptop", "stuck")
    new.acquire(OTHER)
    old.release()
    seen = new.look()
    assert seen is not None
    assert seen.holder == OTHER


def test_nothing_to_break_open(make: Callable[..., Lock]) -> None:
    with pytest.raises(Refused, match="nobody holds"):
        make().break_open("park@laptop", "why not")


def test_what_is_no_lock_is_not_taken(make: Callable[..., Lock], s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"hello")
    with pytest.raises(RecordFailed, match="is not a lock"):
        make().acquire(HOLDER)


def test_a_missing_bucket_is_said(s3: Any) -> None:
    with pytest.raises(RecordFailed, match="NoSuchBucket"):
        Lock(s3, "no-such-bucket").acquire(HOLDER)


class Forgetful(ThreadingHTTPServer):
    """Hands requests on to S3, and loses the answer to the first PUT after S3 has carried it out; or, with ``cut``, all
    of each such answer but the beginning of its head.
    """

    daemon_threads = True

    def __init__(self, endpoint: str, *, cut: bool = False) -> None:
        self.s3 = urlsplit(endpoint)
        self.lost, self.cut = 0, cut
        super().__init__(("127.0.0.1", 0), _Forward)


class _Forward(BaseHTTPRequestHandler):
    server: Forgetful

    def _hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.server.s3.hostname or "", self.server.s3.port, timeout=10)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
        except OSError:
            self.close_connection = True
            return
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if self.command == "PUT" and (self.server.cut or not self.server.lost):
            self.server.lost += 1
            if self.server.cut:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nx-amz-request-id: 1\r\n")
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("date", "server", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = _hand_on

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def through(s3_endpoint: str) -> Iterator[Callable[..., tuple[Any, Forgetful]]]:
    """Return the function that gives a client which reaches S3 by way of a server that loses answers."""
    with ExitStack() as stack:

        def start(tries: int, *, cut: bool = False) -> tuple[Any, Forgetful]:
            server = Forgetful(s3_endpoint, cut=cut)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            client = s3_client(f"http://127.0.0.1:{server.server_port}", retries={"total_max_attempts": tries})
            for end in (client.close, lambda: thread.join(5), server.server_close, server.shutdown):
                stack.callback(end)
            return client, server

        yield start


def test_a_lost_answer_to_our_own_write_is_ours_all_the_same(
    make: Callable[..., Lock], s3: Any, through: Callable[..., tuple[Any, Forgetful]]
) -> None:
    client, server = through(3)
    lock = make(client=client)
    lock.acquire(HOLDER)
    assert server.lost == 1
    lock.require_held()
    seen = make().look()
    assert seen is not None
    assert seen.holder == HOLDER
    assert lock.release() == ""


def test_an_answer_that_was_cut_short_is_read_back(
    make: Callable[..., Lock], s3: Any, through: Callable[..., tuple[Any, Forgetful]]
) -> None:
    client, server = through(1, cut=True)
    lock = make(client=client)
    lock.acquire(HOLDER)
    lock.require_held()
    assert lock.release() == ""
    assert server.lost == 2
    assert make().holder() is None


def test_a_lock_that_cannot_be_given_back_says_when_it_runs_out_and_fails_nothing(
    s3: Any, s3_endpoint: str, through: Callable[..., tuple[Any, Forgetful]]
) -> None:
    client, server = through(1, cut=True)
    told: list[str] = []
    with held(client, BUCKET, "r", "kim", on_left=told.append) as lock:
        server.s3 = urlsplit("http://127.0.0.1:9")
        lock.require_held()
    assert len(told) == 1
    assert "could not be given back, and its lease runs out in 60 s" in told[0]
