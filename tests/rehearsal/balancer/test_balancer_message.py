"""HTTP/1.1 heads and bodies: what is passed on, and what is refused."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.rehearsal.balancer.message import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    BodyKind,
    Forwarded,
    Framing,
    MalformedMessage,
    parse_request,
    parse_response,
    request_for_target,
    response_for_client,
    values_of,
)
from gli_tasks.rehearsal.balancer.stream import CutOff, encode, end_of, read_body

FORWARDED = Forwarded("127.0.0.9", "HTTPS", 443, "1-0-0")


def request(*lines: str) -> bytes:
    return "\r\n".join((*lines, "", "")).encode("latin-1")


@pytest.mark.parametrize(
    "raw",
    [
        request("GET / HTTP/1.1"),  # no host
        request("GET / HTTP/1.1", "Host: a", "Host: b"),
        request("GET / HTTP/2.0", "Host: a"),
        request("GET  / HTTP/1.1", "Host: a"),
        request("GET / HTTP/1.1", "Host: a", "Content-Length: 1", "Content-Length: 2"),
        request("GET / HTTP/1.1", "Host: a", "Content-Length: +1"),
        request("GET / HTTP/1.1", "Host: a", "Content-Length: 1, 1"),
        request("GET / HTTP/1.1", "Host: a", "Content-Length: 1", "Transfer-Encoding: chunked"),
        request("GET / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked"),
        request("GET / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        request("GET / HTTP/1.0", "Host: a", "Transfer-Encoding: chunked"),
        request("GET / HTTP/1.1", "Host : a"),
        request("GET / HTTP/1.1", "Host: a", " folded"),
        request("GET / HTTP/1.1", "Host: a\nX: b"),
        request("GET / HTTP/1.1", "Host: a", "X: \0"),
        request("GET a HTTP/1.1", "Host: a"),
        request("G\x7fT / HTTP/1.1", "Host: a"),
        b"\r\n\r\n",
    ],
)
def test_what_could_smuggle_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_request(raw).framing()


def test_framing_of_requests() -> None:
    assert parse_request(request("GET / HTTP/1.1", "Host: a")).framing() == NO_BODY
    assert parse_request(request("POST / HTTP/1.1", "Host: a", "content-length: 7")).framing().length == 7
    assert parse_request(request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: Chunked")).framing() == CHUNKED


@pytest.mark.parametrize(
    ("raw", "method", "framing"),
    [
        (request("HTTP/1.1 200 OK", "Content-Length: 5"), b"GET", Framing(BodyKind.LENGTH, 5)),
        (request("HTTP/1.1 200 OK", "Content-Length: 5"), b"HEAD", NO_BODY),
        (request("HTTP/1.1 204 No Content"), b"GET", NO_BODY),
        (request("HTTP/1.1 304 Not Modified", "Content-Length: 5"), b"GET", NO_BODY),
        (request("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), b"GET", CHUNKED),
        (request("HTTP/1.1 200 OK"), b"GET", UNTIL_CLOSE),
        (request("HTTP/1.0 200"), b"GET", UNTIL_CLOSE),
    ],
)
def test_framing_of_responses(raw: bytes, method: bytes, framing: Framing) -> None:
    assert parse_response(raw).framing(method) == framing


@pytest.mark.parametrize(
    "raw", [b"\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\nx\r\n\r\n"]
)
def test_malformed_responses(raw: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_response(raw)


def test_what_a_target_gets_to_see() -> None:
    head = parse_request(
        request(
            "POST /a?b=c HTTP/1.1",
            "Host: api.glibiz.com",
            "X-Forwarded-For: 10.0.0.1",
            "X-Forwarded-Proto: http",
            "Connection: keep-alive, X-Private",
            "X-Private: secret",
            "Keep-Alive: 5",
            "TE: trailers",
            "Upgrade: h2c",
            "Content-Length: 3",
            "Cookie: a=b",
        )
    )
    sent = parse_request(request_for_target(head, head.framing(), FORWARDED))
    assert sent.target == b"/a?b=c" and sent.host == "api.glibiz.com"
    assert values_of(sent.headers, b"x-forwarded-for") == [b"10.0.0.1, 127.0.0.9"]
    assert values_of(sent.headers, b"x-forwarded-proto") == [b"https"]
    assert values_of(sent.headers, b"x-forwarded-port") == [b"443"]
    assert values_of(sent.headers, b"x-amzn-trace-id") == [b"Root=1-0-0"]
    assert values_of(sent.headers, b"cookie") == [b"a=b"]
    assert sent.framing().length == 3
    for gone in (b"connection", b"x-private", b"keep-alive", b"te", b"upgrade"):
        assert not values_of(sent.headers, gone)


def test_an_absolute_target_names_the_host() -> None:
    head = parse_request(request("GET http://api.glibiz.com/a HTTP/1.1", "Host: other"))
    assert (head.host, head.target) == ("api.glibiz.com", b"/a")


def test_the_answer_to_head_keeps_its_length() -> None:
    head = parse_response(request("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: close", "X: y"))
    sent = parse_response(response_for_client(head, b"HEAD", NO_BODY, keep_alive=True))
    assert values_of(sent.headers, b"content-length") == [b"5"] and values_of(sent.headers, b"x") == [b"y"]
    assert sent.keep_alive


token = st.text("abcdefgXYZ-", min_size=1, max_size=8)
value = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)


@given(st.lists(st.tuples(token, value), max_size=8))
def test_fields_come_through_unchanged(fields: list[tuple[str, str]]) -> None:
    raw = request("GET / HTTP/1.1", "Host: a", *(f"X-{name}: {text}" for name, text in fields))
    head = parse_request(raw)
    again = parse_request(request_for_target(head, NO_BODY, FORWARDED))
    assert again.headers[: len(head.headers)] == head.headers


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.binary(max_size=20), st.integers(1, 200))
def test_bodies_come_through_in_any_framing(pieces: list[bytes], after: bytes, step: int) -> None:
    """Whatever the cuts on the wire, the body is whole and not a byte of the next message is taken."""
    whole = b"".join(pieces)

    async def carry(framing: Framing) -> tuple[bytes, bytes]:
        reader = asyncio.StreamReader()
        wire = b"".join(encode(piece, framing) for piece in pieces) + end_of(framing) + after

        async def feed() -> None:
            for start in range(0, len(wire), step):
                reader.feed_data(wire[start : start + step])
                await asyncio.sleep(0)
            reader.feed_eof()

        feeding = asyncio.create_task(feed())
        body = b"".join([piece async for piece in read_body(reader, framing, 5.0)])
        await feeding
        return body, await reader.read()

    for framing in (CHUNKED, Framing(BodyKind.LENGTH, len(whole))):
        assert asyncio.run(carry(framing)) == (whole, after)


@pytest.mark.parametrize(
    ("wire", "framing", "error"),
    [
        (b"ab", Framing(BodyKind.LENGTH, 3), CutOff),
        (b"3\r\nab", CHUNKED, CutOff),
        (b"3\r\nabc\r\n", CHUNKED, CutOff),
        (b"3\r\nabcd\r\n0\r\n\r\n", CHUNKED, MalformedMessage),
        (b"-3\r\nabc\r\n0\r\n\r\n", CHUNKED, MalformedMessage),
        (b"0x3\r\nabc\r\n0\r\n\r\n", CHUNKED, MalformedMessage),
        (b"\r\nabc\r\n0\r\n\r\n", CHUNKED, MalformedMessage),
    ],
)
def test_a_body_that_is_cut_is_never_taken_for_whole(wire: bytes, framing: Framing, error: type[Exception]) -> None:
    async def read() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(wire)
        reader.feed_eof()
        async for _ in read_body(reader, framing, 5.0):
            pass

    with pytest.raises(error):
        asyncio.run(read())


def test_a_silent_body_ends() -> None:
    async def read() -> None:
        async for _ in read_body(asyncio.StreamReader(), CHUNKED, 0.01):
            pass

    with pytest.raises(CutOff):
        asyncio.run(read())
