"""The twin's second door does to the calls that a rule names what it says, and lets every other through."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session
from werkzeug.serving import WSGIRequestHandler, make_server

from gli_tasks.rehearsal.door import Door, DoorFault, DoorRule, SignedInTime
from gli_tasks.rehearsal.wire.messages import Environ, StartResponse, read_body, read_headers

Taken = list[tuple[str, str]]


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


def aws(taken: Taken) -> Callable[[Environ, StartResponse], Iterable[bytes]]:
    """Answer any call with success, and note it."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        read_body(environ)
        target = read_headers(environ).get("x-amz-target", "")
        taken.append((target.rpartition(".")[2] or environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        body = b"{}" if target else b""
        start_response("200 OK", [("ETag", '"1"'), ("Content-Length", str(len(body)))])
        return [body]

    return answer


@contextmanager
def served(app: Any) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class World:
    """A door in front of an AWS that takes everything, and clients that come in by it."""

    def __init__(self, url: str, door: Door, taken: Taken, tries: int) -> None:
        self.url, self.door, self.taken, self.tries = url, door, taken, tries

    def client(self, service: str) -> Any:
        return Session().create_client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(retries={"mode": "standard", "total_max_attempts": self.tries}, proxies={}),
        )

    def put(self, key: str = "a") -> Any:
        return self.client("s3").put_object(Bucket="b", Key=key, Body=b"x")


@pytest.fixture
def world() -> Iterator[Callable[..., World]]:
    with ExitStack() as stack:

        def make(*rules: DoorRule, tries: int = 1) -> World:
            taken: Taken = []
            door = Door(aws(taken))
            door.set_rules(rules)
            return World(stack.enter_context(served(door)), door, taken, tries)

        yield make


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_without_rules_everything_passes(world: Callable[..., World]) -> None:
    made = world()
    assert made.put()["ETag"] == '"1"'
    assert made.door.fired() == 0


def test_a_lost_reply_is_of_a_call_that_was_carried_out_and_comes_at_the_second_try(
    world: Callable[..., World],
) -> None:
    made = world(DoorRule(DoorFault.LOST_REPLY, "s3", "PutObject"), tries=2)
    assert made.put()["ResponseMetadata"]["RetryAttempts"] == 1
    assert made.taken == [("PUT", "/b/a"), ("PUT", "/b/a")]
    assert made.door.fired() == 1


def test_an_answer_cut_in_its_head_reaches_the_caller_as_success_with_fields_missing(
    world: Callable[..., World],
) -> None:
    made = world(DoorRule(DoorFault.CUT_HEAD, "s3", "PutObject"))
    answer = made.put()
    assert "ETag" not in answer
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert made.taken == [("PUT", "/b/a")]


def test_a_session_that_has_ended_stays_so_for_every_service(world: Callable[..., World]) -> None:
    made = world(DoorRule(DoorFault.EXPIRED, "ecs", "UpdateService"))
    made.put()
    ecs = made.client("ecs")
    ecs.list_clusters()
    with pytest.raises(ClientError) as refused:
        ecs.update_service(service="s")
    assert code_of(refused) == "ExpiredTokenException"
    with pytest.raises(ClientError) as read:
        ecs.list_clusters()
    assert code_of(read) == "ExpiredTokenException"
    with pytest.raises(ClientError) as stored:
        made.put()
    assert code_of(stored) == "ExpiredToken"
    assert made.taken == [("PUT", "/b/a"), ("ListClusters", "/")]
    made.door.set_rules(())
    made.put()


def test_only_what_a_rule_names_is_away(world: Callable[..., World]) -> None:
    made = world(DoorRule(DoorFault.UNAVAILABLE, "s3", "PutObject", "/lock.json"))
    made.put("releases/1.json")
    with pytest.raises(ClientError) as refused:
        made.put("lock.json")
    assert code_of(refused) == "ServiceUnavailable"


@pytest.mark.parametrize(
    ("service", "off", "code", "words"),
    [
        ("s3", timedelta(hours=1), "RequestTimeTooSkewed", "too large"),
        ("s3", timedelta(minutes=10), "", ""),
        ("ecs", timedelta(hours=1), "InvalidSignatureException", "Signature expired"),
        ("ecs", timedelta(hours=-1), "InvalidSignatureException", "Signature not yet current"),
        ("ecs", timedelta(minutes=4), "", ""),
        ("sts", timedelta(hours=1), "SignatureDoesNotMatch", "Signature expired"),
    ],
)
def test_what_a_wrong_clock_signed_is_refused_as_aws_does(service: str, off: timedelta, code: str, words: str) -> None:
    taken: Taken = []
    with served(SignedInTime(aws(taken), lambda: datetime.now(UTC) + off)) as url:
        made = World(url, Door(aws(taken)), taken, 1)
        ask = {
            "s3": made.put,
            "ecs": lambda: made.client("ecs").list_clusters(),
            "sts": lambda: made.client("sts").get_caller_identity(),
        }[service]
        if not code:
            ask()
            return
        with pytest.raises(ClientError) as refused:
            ask()
    assert code_of(refused) == code
    assert words in str(refused.value)
    assert taken == []
