"""Health checks asked of real servers."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler

import pytest

from gli_tasks.errors import ChecksFailed, UsageError
from gli_tasks.health.plan import CheckResult, Expectation
from gli_tasks.health.probe import ask_all, wait_healthy
from tests.health.health_parts import Service, expect, say


def ask(*checks: Expectation, days: int = 0, to: str = "", ca: str = "", timeout_s: float = 5) -> list[CheckResult]:
    return ask_all(checks, certificate_days=days, connect_to=to, ca_file=ca, request_timeout_s=timeout_s)


def wait(*checks: Expectation, timeout_s: float = 5, seen: list[CheckResult] | None = None) -> list[CheckResult]:
    return wait_healthy(
        checks,
        certificate_days=0,
        request_timeout_s=2,
        timeout_s=timeout_s,
        interval_s=0.05,
        on_result=(seen if seen is not None else []).append,
    )


def test_a_healthy_answer_passes(service: Service) -> None:
    service.answers["/health"] = say(200, '{"status": "ok", "database": {"state": "connected"}}')
    (result,) = ask(expect(f"http://{service.place}/health", {".status": "ok", ".database.state": "connected"}))
    assert result.passed
    assert result.status == 200
    assert result.certificate_days is None
    assert 0 < result.latency_ms < 5000
    assert service.hosts == [service.place]


@pytest.mark.parametrize("status", [204, 301, 404, 500, 503])
def test_any_status_may_be_the_right_one_and_no_other(service: Service, status: int) -> None:
    service.answers["/"] = say(status, "", Location="/elsewhere")
    url = f"http://{service.place}/"
    right, wrong = ask(expect(url, status=status), expect(url, status=200))
    assert right.passed
    assert wrong.findings == (f"answered {status}, not 200",)
    assert "/elsewhere" not in service.paths


@pytest.mark.parametrize("body", ["", "{", "<html>ok</html>", "null", "[1]", "\x00"])
def test_a_body_that_is_no_json_has_no_values(service: Service, body: str) -> None:
    service.answers["/"] = say(200, body)
    plain, with_value = ask(expect(f"http://{service.place}/"), expect(f"http://{service.place}/", {".status": "ok"}))
    assert plain.passed
    assert with_value.findings == ("has no .status",)


def test_a_body_packed_wrongly_is_a_finding(service: Service) -> None:
    service.answers["/"] = say(200, "not gzip", Content_Encoding="gzip")
    (result,) = ask(expect(f"http://{service.place}/"))
    assert "cannot be reached" in result.findings[0]


def test_a_slow_answer_is_over_its_limit(service: Service) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.15)
        say(200, "ok")(handler)

    service.answers["/"] = slow
    fine, over = ask(expect(f"http://{service.place}/"), expect(f"http://{service.place}/", limit_ms=100))
    assert fine.passed
    assert "over 100 ms" in over.findings[0]
    assert over.latency_ms >= 150


def test_silence_ends_with_the_timeout(service: Service) -> None:
    service.answers["/"] = lambda _: service.stopping.wait(10) and None
    began = time.monotonic()
    (result,) = ask(expect(f"http://{service.place}/"), timeout_s=0.2)
    assert result.findings == ("did not answer in time",)
    assert time.monotonic() - began < 3


def test_a_body_that_never_ends_does_not_hold_the_check(service: Service) -> None:
    """As an event stream, or a proxy that trickles: each piece comes in time, and there is always one more."""

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not service.stopping.wait(0.05):
            handler.wfile.write(b"data: tick\n\n")

    service.answers["/"] = trickle
    began = time.monotonic()
    (result,) = ask(expect(f"http://{service.place}/"), timeout_s=0.3)
    assert result.findings == ("did not answer in time",)
    assert time.monotonic() - began < 3


def test_a_server_that_hangs_up_and_one_that_is_not_there(service: Service, nowhere: str) -> None:
    service.answers["/"] = lambda handler: handler.connection.close()
    for url in (f"http://{service.place}/", f"http://{nowhere}/", f"https://{service.place}/"):
        (result,) = ask(expect(url))
        assert result.findings[0].startswith("cannot be reached: "), url
        assert result.status == 0


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999/", "https://[::1/", "http://exa\x00mple/", "ftp://x/", "http://"]
)
def test_an_address_that_is_none_is_a_finding_and_no_crash(url: str) -> None:
    (result,) = ask(expect(url), timeout_s=1)
    assert not result.passed


def test_all_are_asked_side_by_side_and_come_back_in_their_order(service: Service) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        say(200, "")(handler)

    service.answers |= {f"/{number}": slow for number in range(8)}
    began = time.monotonic()
    results = ask(*(expect(f"http://{service.place}/{number}", name=str(number)) for number in range(8)))
    assert time.monotonic() - began < 1.5
    assert [result.name for result in results] == [str(number) for number in range(8)]
    assert ask() == []


def test_over_tls_the_days_left_are_known(secure: Service, ca_file: str) -> None:
    secure.answers["/health"] = say(200, '{"status": "ok"}')
    check = expect("https://api.example.com/health", {".status": "ok"})
    (result,) = ask(check, days=14, to=secure.place, ca=ca_file)
    assert result.passed, result.findings
    assert result.certificate_days == pytest.approx(20, abs=0.05)
    (result,) = ask(check, days=30, to=secure.place, ca=ca_file)
    assert result.findings == ("its certificate ends in 20.0 days, under 30",)


def test_connecting_elsewhere_keeps_the_name_in_tls_and_host(secure: Service, ca_file: str) -> None:
    secure.answers["/"] = say(200, "")
    results = ask(
        expect("https://api.example.com/"), expect("https://api.example.com:8443/"), to=secure.place, ca=ca_file
    )
    assert [result.findings for result in results] == [(), ()]
    assert sorted(secure.hosts) == ["api.example.com", "api.example.com:8443"]
    assert secure.names == ["api.example.com", "api.example.com"]


def test_connecting_elsewhere_in_the_open_keeps_the_host(service: Service) -> None:
    service.answers["/"] = say(200, "")
    assert ask(expect("http://api.example.com/"), to=service.place)[0].passed
    assert service.hosts == ["api.example.com"]


def test_a_certificate_of_another_name_is_refused(secure: Service, ca_file: str) -> None:
    (result,) = ask(expect("https://www.example.com/"), to=secure.place, ca=ca_file)
    assert "certificate verify failed" in result.findings[0]
    assert "www.example.com" in result.findings[0]
    assert secure.paths == []


def test_a_certificate_of_an_unknown_authority_is_refused(secure: Service) -> None:
    (result,) = ask(expect("https://api.example.com/"), to=secure.place)
    assert "certificate verify failed" in result.findings[0]
    assert secure.paths == []


def test_an_expired_certificate_is_refused_and_says_so(expired: Service, ca_file: str) -> None:
    (result,) = ask(expect("https://api.example.com/"), to=expired.place, ca=ca_file)
    assert "expired" in result.findings[0]
    assert expired.paths == []


@pytest.mark.parametrize("place", ["127.0.0.1", "localhost", ":443", "127.0.0.1:", "127.0.0.1:https", "127.0.0.1:0"])
def test_a_place_that_is_no_host_and_port_is_a_matter_of_settings(place: str) -> None:
    with pytest.raises(UsageError, match="is no host:port"):
        ask(expect("http://api.example.com/"), to=place)


def test_a_ca_file_that_is_missing_or_no_certificate_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("ca")
    (folder / "bad.pem").write_text("no certificate")
    for name in ("absent.pem", "bad.pem"):
        with pytest.raises(UsageError, match=name):
            ask(expect("https://x/"), ca=str(folder / name))


def test_a_failed_check_is_asked_until_it_passes_and_a_passed_one_is_left_alone(service: Service) -> None:
    def starting(handler: BaseHTTPRequestHandler) -> None:
        say(200 if service.count("/slow") > 3 else 503, "")(handler)

    service.answers |= {"/slow": starting, "/fast": say(200, "")}
    seen: list[CheckResult] = []
    results = wait(
        expect(f"http://{service.place}/slow", name="slow"),
        expect(f"http://{service.place}/fast", name="fast"),
        seen=seen,
    )
    assert [(one.name, one.passed) for one in results] == [("slow", True), ("fast", True)]
    assert service.count("/slow") == 4
    assert service.count("/fast") == 1
    # The same finding three times over is told once.
    assert [(one.name, one.passed) for one in seen] == [("slow", False), ("fast", True), ("slow", True)]


def test_when_time_is_over_each_check_that_failed_is_named(service: Service, nowhere: str) -> None:
    service.answers |= {"/good": say(200, ""), "/bad": say(500, "")}
    began = time.monotonic()
    with pytest.raises(ChecksFailed) as caught:
        wait(
            expect(f"http://{service.place}/good", name="good"),
            expect(f"http://{service.place}/bad", name="bad"),
            expect(f"http://{nowhere}/", name="gone"),
            timeout_s=0.3,
        )
    assert 0.2 < time.monotonic() - began < 3
    text = str(caught.value)
    assert "2 of 3 health checks did not pass within 0.3 s" in text
    assert f"bad (http://{service.place}/bad) answered 500, not 200" in text
    assert "gone (" in text
    assert "good (" not in text


def test_with_no_time_at_all_each_is_asked_once(service: Service) -> None:
    with pytest.raises(ChecksFailed):
        wait(expect(f"http://{service.place}/"), timeout_s=0)
    assert service.count("/") == 1
    service.answers["/"] = say(200, "")
    assert wait(expect(f"http://{service.place}/"), timeout_s=0)[0].passed


def test_two_checks_of_one_name_are_two_checks(service: Service) -> None:
    """The second one's health must not stand in for the first one's."""
    service.answers |= {"/bad": say(500, ""), "/good": say(200, "")}
    pair = [expect(f"http://{service.place}/bad"), expect(f"http://{service.place}/good")]
    for checks in (pair, pair[::-1]):
        with pytest.raises(ChecksFailed, match="1 of 2"):
            wait(*checks, timeout_s=0)


def test_without_checks_there_is_nothing_to_wait_for() -> None:
    assert wait() == []
