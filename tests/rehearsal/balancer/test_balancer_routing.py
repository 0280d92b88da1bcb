"""Rules, weights and static answers, over real connections."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable

from tests.rehearsal.balancer.balancer_parts import (
    FIXED_503,
    TO_HTTPS,
    BalancerProcess,
    Control,
    SampleProcess,
    forward,
    wait_until,
)

Start = Callable[..., SampleProcess]


def versions(balancer: BalancerProcess, host: str, count: int, **headers: str) -> Counter[str]:
    """Ask on one connection and count the versions that answered."""
    connection = balancer.connection()
    seen: Counter[str] = Counter()
    for _ in range(count):
        connection.request("GET", "/", headers={"Host": host, **headers})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        seen[answer.getheader("X-App-Version") or ""] += 1
    connection.close()
    return seen


def test_hosts_paths_redirects_and_defaults(control: Control, balancer: BalancerProcess, start_sample: Start) -> None:
    api, other = control.group("api"), control.group("other")
    first, second = start_sample("api"), start_sample("other")
    control.targets(api, first.target)
    control.targets(other, second.target)
    control.listener("HTTP", [{"action": TO_HTTPS}])
    control.listener(
        "HTTPS",
        [
            {"hosts": ["api.glibiz.com"], "paths": ["/work*"], "action": forward((other, 1))},
            {"hosts": ["api.glibiz.com"], "action": forward((api, 1))},
            {"action": FIXED_503},
        ],
    )
    control.wait_for(api, first.address, "healthy")
    control.wait_for(other, second.address, "healthy")
    assert balancer.ask("api.glibiz.com")[1]["x-app-version"] == "api"
    assert balancer.ask("API.glibiz.com:443", "/work?ms=1")[1]["x-app-version"] == "other"
    assert balancer.ask("unknown.example")[::2] == (503, b"no such host")

    plain = http.client.HTTPConnection("127.0.0.1", balancer.http, timeout=10)
    plain.request("GET", "/a?b=c", headers={"Host": "api.glibiz.com"})
    answer = plain.getresponse()
    assert (answer.status, answer.getheader("Location")) == (301, "https://api.glibiz.com/a?b=c")
    plain.close()


def test_weights_choose_the_group(control: Control, balancer: BalancerProcess, start_sample: Start) -> None:
    stable, canary = control.group("stable"), control.group("canary")
    first, second = start_sample("stable"), start_sample("canary")
    control.targets(stable, first.target)
    control.targets(canary, second.target)
    control.listener("HTTPS", [{"action": forward((stable, 90), (canary, 10))}])
    control.wait_for(stable, first.address, "healthy")
    control.wait_for(canary, second.address, "healthy")
    count = 2000
    seen = versions(balancer, "api.glibiz.com", count)
    assert abs(seen["canary"] - count * 0.1) < 4 * (count * 0.1 * 0.9) ** 0.5

    with control.change() as topology:
        topology["listeners"][0]["rules"][0]["action"] = forward((stable, 0), (canary, 100))
    wait_until(lambda: versions(balancer, "api.glibiz.com", 1)["canary"], "the new weights")
    assert versions(balancer, "api.glibiz.com", 100) == {"canary": 100}
    with control.change() as topology:
        topology["listeners"][0]["rules"][0]["action"] = forward((stable, 0), (canary, 0))
    wait_until(lambda: balancer.ask("api.glibiz.com")[0] == 503, "no group with a weight")


def test_turns_within_a_group(control: Control, balancer: BalancerProcess, start_sample: Start) -> None:
    api = control.group("api")
    samples = [start_sample(name) for name in ("a", "b", "c")]
    control.targets(api, *(sample.target for sample in samples))
    control.listener("HTTPS", [{"action": forward((api, 1))}])
    for sample in samples:
        control.wait_for(api, sample.address, "healthy")
    assert versions(balancer, "x", 30) == {"a": 10, "b": 10, "c": 10}


def test_a_sticky_client_keeps_its_group(control: Control, balancer: BalancerProcess, start_sample: Start) -> None:
    stable, canary = control.group("stable"), control.group("canary")
    first, second = start_sample("stable"), start_sample("canary")
    control.targets(stable, first.target)
    control.targets(canary, second.target)
    control.listener("HTTPS", [{"action": forward((stable, 50), (canary, 50), stickiness_s=3600)}])
    control.wait_for(stable, first.address, "healthy")
    control.wait_for(canary, second.address, "healthy")
    _, headers, _ = balancer.ask("x")
    cookie = headers["set-cookie"].partition(";")[0]
    assert cookie.startswith("AWSALBTG=")
    assert versions(balancer, "x", 40, Cookie=f"a=b; {cookie}") == {headers["x-app-version"]: 40}
    assert len(versions(balancer, "x", 40)) == 2


def test_no_targets_is_503_and_metrics_tell_all(
    control: Control, balancer: BalancerProcess, start_sample: Start
) -> None:
    empty, api = control.group("empty"), control.group("api")
    good = start_sample("1")
    control.targets(api, good.target)
    control.listener("HTTPS", [{"hosts": ["empty"], "action": forward((empty, 1))}, {"action": forward((api, 1))}])
    control.wait_for(api, good.address, "healthy")
    assert balancer.ask("empty")[0] == 503
    assert balancer.ask("api", "/nowhere")[0] == 404
    for _ in range(5):
        assert balancer.ask("api")[0] == 200
    wait_until(lambda: control.total("target_2xx") == 5 and control.total("elb_5xx") == 1, "metrics")
    assert control.total("requests") == 6  # as in AWS: only those for which a target was chosen
    assert control.total("target_4xx") == 1
    with control.changed:
        times = [second for window in control.metrics for second in window["response_times_s"]]
        last = [window for window in control.metrics if window["target_group"] == api][-1]
    assert len(times) == 6 and all(0 < second < 5 for second in times)
    assert (last["healthy_hosts"], last["unhealthy_hosts"]) == (1, 0)
    assert last["load_balancer"] == "app/alb/1" and last["target_group_dimension"].startswith("targetgroup/api/")


def test_sites_come_from_s3(control: Control, balancer: BalancerProcess) -> None:
    control.objects = {
        "/gli-front/index.html": ("text/html", b"<h1>home</h1>"),
        "/gli-front/assets/a%20b.js": ("text/javascript", b"1" * 200_000),
    }
    with control.change() as topology:
        topology["sites"] = [
            {"host": "glibiz.com", "bucket": "gli-front", "fallback": "index.html"},
            {"host": "bare.example", "bucket": "gli-front", "fallback": None},
        ]
    wait_until(lambda: balancer.ask("glibiz.com")[0] == 200, "the site")
    status, headers, body = balancer.ask("glibiz.com", "/")
    assert (status, body, headers["content-type"]) == (200, b"<h1>home</h1>", "text/html")
    assert balancer.ask("glibiz.com", "/assets/a%20b.js")[2] == b"1" * 200_000
    assert balancer.ask("glibiz.com", "/deep/link?x=1")[::2] == (200, b"<h1>home</h1>")
    assert balancer.ask("bare.example", "/deep/link")[0] == 403
    status, headers, body = balancer.ask("glibiz.com", "/", "HEAD")
    assert (status, headers["content-length"], body) == (200, "13", b"")
    assert balancer.ask("glibiz.com", "/", "POST", b"x")[0] == 405
    reads = control.object_reads
    for _ in range(20):
        balancer.ask("glibiz.com", "/assets/a%20b.js")
    assert control.object_reads - reads <= 10, "small objects are cached for a second"


def test_many_clients_at_once(control: Control, balancer: BalancerProcess, start_sample: Start) -> None:
    api = control.group("api")
    sample = start_sample("1")
    control.targets(api, sample.target)
    control.listener("HTTPS", [{"action": forward((api, 1))}])
    control.wait_for(api, sample.address, "healthy")
    seen: list[int] = []

    def ask() -> None:
        for number in range(25):
            status, _, body = balancer.ask("x", f"/work?ms={number}")
            assert json.loads(body)["worked_ms"] == number
            seen.append(status)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == [200] * 200
