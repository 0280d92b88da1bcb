"""News: what is said, and that nothing which befalls it is ever raised or tells where it was sent."""

from __future__ import annotations

import socket
import time

import pytest

from gli_tasks.console import Secret
from gli_tasks.notify.plan import message
from gli_tasks.notify.slack import send
from tests.notify.notify_parts import PATH, Sink, news


def test_the_news_arrive_with_their_channel(sink: Sink) -> None:
    assert send(Secret(sink.address), news(), "#releases") == "Slack was told"
    assert sink.bodies == [
        {
            "text": ":white_check_mark: gli prod: release 20260301-040506-abcd by kim@desk is healthy after 62 s."
            " Serving: api 0123456789ab, websocket fedcba987654.",
            "channel": "#releases",
        }
    ]


def test_without_a_channel_the_webhooks_own_is_used() -> None:
    assert set(message(news(), "")) == {"text"}


@pytest.mark.parametrize(
    ("outcome", "mark"), [("healthy", ":white_check_mark:"), ("failed", ":x:"), ("interrupted", ":information_source:")]
)
def test_each_outcome_has_its_mark(outcome: str, mark: str) -> None:
    assert message(news(outcome=outcome), "")["text"].startswith(mark + " ")


def test_a_failure_says_why_and_that_nothing_changed() -> None:
    text = message(news(outcome="failed", versions={}, reason="ecs.wait: crash loop"), "")["text"]
    assert "Serving: unchanged." in text
    assert text.endswith("\necs.wait: crash loop")


def test_a_reason_cannot_call_the_channel_or_break_the_text() -> None:
    text = message(news(reason="expected <!channel> & </html>"), "")["text"]
    assert text.endswith("expected &lt;!channel&gt; &amp; &lt;/html&gt;")


@pytest.mark.parametrize("status", [201, 302, 400, 403, 404, 410, 429, 500, 503])
def test_any_answer_but_200_is_a_sentence(sink: Sink, status: int) -> None:
    sink.status = status
    said = send(Secret(sink.address), news(), "")
    assert said == f"Slack was not told (it answered {status}); the release goes on"
    assert len(sink.bodies) == 1


def test_a_sink_that_never_answers_does_not_hold_the_release(sink: Sink) -> None:
    sink.silent = True
    began = time.monotonic()
    assert (
        send(Secret(sink.address), news(), "", timeout_s=0.3) == "Slack was not told (ReadTimeout); the release goes on"
    )
    assert time.monotonic() - began < 3
    assert len(sink.bodies) == 1


def test_nobody_there_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        said = send(Secret(f"http://127.0.0.1:{taken.getsockname()[1]}{PATH}"), news(), "")
    assert said == "Slack was not told (ConnectError); the release goes on"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "xoxSECRETxox",
        PATH,
        "hooks.slack.com" + PATH,
        "http://" + PATH,
        "http://127.0.0.1:99999" + PATH,
        "https://[::1" + PATH,
        "http://127.0.0.1:1\n" + PATH,
        "ftp://127.0.0.1" + PATH,
        "http://" + "a" * 300 + ".invalid" + PATH,
        "http://xn--\udcff" + PATH,
    ],
)
def test_an_address_that_is_none_is_a_sentence_without_it(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    said = send(Secret(address), news(), "")
    assert said.startswith("Slack was not told (")
    captured = capfd.readouterr()
    for text in (said, captured.out, captured.err):
        assert "SECRET" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "nonsense"),
        ("ALL_PROXY", "gopher://127.0.0.1:1"),
        ("ALL_PROXY", "socks5://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
        ("SSL_CERT_FILE", "/nonexistent/ca.pem"),
    ],
)
def test_surroundings_that_are_wrong_are_a_sentence(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "")
    said = send(Secret(sink.address), news(), "")
    assert said.startswith("Slack was not told (")
    assert PATH not in said


def test_words_that_cannot_be_sent_are_a_sentence(sink: Sink) -> None:
    said = send(Secret(sink.address), news(reason="a name \udcff that is no UTF-8"), "")
    assert said.startswith("Slack was") and "SECRET" not in said
