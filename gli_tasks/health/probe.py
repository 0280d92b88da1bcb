"""Ask health checks, all at once, until every one passes or the time is over."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from gli_tasks.errors import ChecksFailed, UsageError
from gli_tasks.health.plan import Answer, CheckResult, Expectation, judge
from gli_tasks.web import http_client

if TYPE_CHECKING:
    import httpx

_AT_ONCE = 16


def _client(ca_file: str, request_timeout_s: float) -> httpx.Client:
    import httpx

    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise UsageError(f"the CA file cannot be read: {error}", where=ca_file, remedy="check CA_FILE") from None
    # Each question opens a connection of its own: a kept one would go on to reach an address that DNS has left.
    limits = httpx.Limits(max_keepalive_connections=0)
    return http_client(verify=context, timeout=request_timeout_s, limits=limits, trust_env=False)


def _place(connect_to: str) -> tuple[str, int]:
    host, _, port = connect_to.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise UsageError(f"{connect_to!r} is no host:port", where="health.connect_to", remedy="write 127.0.0.1:443")
    return host, int(port)


def _ask(client: httpx.Client, url: str, connect_to: str, request_timeout_s: float) -> Answer:
    import httpx

    try:
        target = httpx.URL(url)
    except httpx.InvalidURL as error:
        return Answer(0, None, 0.0, None, f"is no address: {error}")
    headers = {"User-Agent": "gli-tasks", "Host": target.netloc.decode()}
    extensions: dict[str, Any] = {}
    if connect_to:
        host, port = _place(connect_to)
        extensions["sni_hostname"] = target.host
        target = target.copy_with(host=host, port=port)
    started = time.monotonic()
    try:
        with client.stream("GET", target, headers=headers, extensions=extensions) as response:
            days = _certificate_days(response)
            content = bytearray()
            for piece in response.iter_bytes():
                content += piece
                # httpx bounds each wait, not their sum: a body that trickles would hold the check for ever.
                if time.monotonic() - started > request_timeout_s:
                    raise httpx.ReadTimeout("the body did not end")
    except httpx.TimeoutException:
        return Answer(0, None, (time.monotonic() - started) * 1000, None, "did not answer in time")
    except httpx.RequestError as error:
        return Answer(0, None, (time.monotonic() - started) * 1000, None, f"cannot be reached: {error}")
    latency_ms = (time.monotonic() - started) * 1000
    try:
        body = httpx.Response(200, content=bytes(content)).json()
    except ValueError:
        body = None
    return Answer(response.status_code, body, latency_ms, days)


def _certificate_days(response: httpx.Response) -> float | None:
    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("ssl_object") if stream is not None else None
    if connection is None:
        return None
    certificate = connection.getpeercert() or {}
    ends = certificate.get("notAfter")
    return (ssl.cert_time_to_seconds(ends) - time.time()) / 86_400 if isinstance(ends, str) else None


def ask_all(
    expectations: Sequence[Expectation],
    *,
    certificate_days: int,
    connect_to: str = "",
    ca_file: str = "",
    request_timeout_s: float = 10,
) -> list[CheckResult]:
    """Ask every check once, side by side, and return the results in the order of the checks."""
    if not expectations:
        return []
    with (
        _client(ca_file, request_timeout_s) as client,
        ThreadPoolExecutor(min(_AT_ONCE, len(expectations)), "health") as pool,
    ):
        answers = list(pool.map(lambda one: _ask(client, one.url, connect_to, request_timeout_s), expectations))
    return [judge(one, answer, certificate_days) for one, answer in zip(expectations, answers, strict=True)]


def wait_healthy(
    expectations: Sequence[Expectation],
    *,
    certificate_days: int,
    connect_to: str = "",
    ca_file: str = "",
    request_timeout_s: float = 10,
    timeout_s: float,
    interval_s: float,
    on_result: Callable[[CheckResult], None],
    sleep: Callable[[float], None] = time.sleep,
) -> list[CheckResult]:
    """Ask until every check has passed, asking again only those that have not; return the last result of each.

    Raises ChecksFailed, naming each check and what it found, when ``timeout_s`` is over.
    """
    deadline = time.monotonic() + timeout_s
    # By their place in the list: two checks of one name are two checks.
    results: dict[int, CheckResult] = {}
    while True:
        asked = time.monotonic()
        open_ones = [place for place in range(len(expectations)) if place not in results or not results[place].passed]
        answered = ask_all(
            [expectations[place] for place in open_ones],
            certificate_days=certificate_days,
            connect_to=connect_to,
            ca_file=ca_file,
            request_timeout_s=request_timeout_s,
        )
        for place, result in zip(open_ones, answered, strict=True):
            if place not in results or results[place].findings != result.findings:
                on_result(result)
            results[place] = result
        failed = [result for result in results.values() if not result.passed]
        if not failed:
            return [results[place] for place in range(len(expectations))]
        if time.monotonic() + interval_s > deadline:
            lines = "\n".join(f"  - {one.name} ({one.url}) {'; '.join(one.findings)}" for one in failed)
            raise ChecksFailed(
                f"{len(failed)} of {len(results)} health checks did not pass within {timeout_s:g} s:\n{lines}",
                remedy="read what each check found; `invoke health.check` asks again",
            )
        sleep(max(0.0, interval_s - (time.monotonic() - asked)))
