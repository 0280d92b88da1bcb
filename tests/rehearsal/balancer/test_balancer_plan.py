"""The balancer's decisions, as properties."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.rehearsal.balancer import plan
from gli_tasks.rehearsal.balancer.plan import (
    Health,
    ProbeAnswered,
    ProbeFailed,
    ProbeTimedOut,
    TargetState,
    choose_group,
    choose_targets,
    step_health,
)
from gli_tasks.rehearsal.balancer.topology import (
    FixedResponse,
    Forward,
    Listener,
    Redirect,
    Rule,
    Topology,
    WeightedGroup,
)

NO = FixedResponse(status=404)
weights = st.lists(st.integers(0, 999), min_size=1, max_size=5)
probes = st.one_of(
    st.builds(ProbeAnswered, st.sampled_from([200, 204, 301, 404, 500, 503])),
    st.builds(ProbeTimedOut),
    st.builds(ProbeFailed),
)


def groups(shares: list[int]) -> list[WeightedGroup]:
    return [WeightedGroup(str(number), share) for number, share in enumerate(shares)]


@given(weights, st.floats(0, 1, exclude_max=True))
def test_a_group_of_weight_0_is_never_chosen_among_several(shares: list[int], draw: float) -> None:
    chosen = choose_group(groups(shares), draw)
    if len(shares) == 1:
        assert chosen == "0"
    elif sum(shares) == 0:
        assert chosen is None
    else:
        assert chosen is not None and shares[int(chosen)] > 0


@given(weights.filter(lambda shares: sum(shares) > 0))
def test_draws_fall_by_weight(shares: list[int]) -> None:
    total = sum(shares)
    found = [choose_group(groups(shares), (point + 0.5) / total) for point in range(total)]
    if len(shares) > 1:
        assert [found.count(str(number)) for number in range(len(shares))] == shares


def test_weights_hold_within_binomial_bounds() -> None:
    random, draws = Random(1), 20_000
    chosen = [choose_group(groups([90, 10]), random.random()) for _ in range(draws)].count("1")
    assert abs(chosen - draws * 0.1) < 4 * (draws * 0.1 * 0.9) ** 0.5


@given(st.lists(st.sampled_from(TargetState)))
def test_healthy_first_then_fail_open_and_never_draining(states: list[TargetState]) -> None:
    chosen = choose_targets(dict(enumerate(states)))
    found = {states[number] for number in chosen}
    if TargetState.HEALTHY in states:
        assert found == {TargetState.HEALTHY} and len(chosen) == states.count(TargetState.HEALTHY)
    else:
        assert found <= {TargetState.UNHEALTHY, TargetState.INITIAL}
        assert len(chosen) == states.count(TargetState.UNHEALTHY) + states.count(TargetState.INITIAL)


@given(st.lists(probes, min_size=1), st.integers(2, 10), st.integers(2, 10))
def test_health_follows_the_last_probes(seen: list[plan.Probe], healthy: int, unhealthy: int) -> None:
    """Against a model: look back over the history instead of counting."""

    def good(probe: plan.Probe) -> bool:
        return isinstance(probe, ProbeAnswered) and 200 <= probe.status < 400

    health = plan.REGISTERING
    for number, probe in enumerate(seen, 1):
        before = health
        health = step_health(health, probe, matcher="200-399", healthy_threshold=healthy, unhealthy_threshold=unhealthy)
        history = [good(past) for past in seen[:number]]
        if before.state is TargetState.UNHEALTHY:
            recovered = len(history) >= healthy and all(history[-healthy:])
            assert (health.state is TargetState.HEALTHY) == recovered
        elif history[-1]:
            assert health.state is TargetState.HEALTHY
        else:
            lost = len(history) >= unhealthy and not any(history[-unhealthy:])
            assert (health.state is TargetState.UNHEALTHY) == lost
        if health.state is not before.state:
            assert (health.reason == "") == (health.state is TargetState.HEALTHY)


@pytest.mark.parametrize(
    ("probe", "reason", "description"),
    [
        (ProbeAnswered(500), "Target.ResponseCodeMismatch", "Health checks failed with these codes: [500]"),
        (ProbeTimedOut(), "Target.Timeout", "Request timed out"),
        (ProbeFailed(), "Target.FailedHealthChecks", "Health checks failed"),
    ],
)
def test_reasons_are_in_the_words_of_aws(probe: plan.Probe, reason: str, description: str) -> None:
    once = step_health(plan.REGISTERING, probe, matcher="200", healthy_threshold=5, unhealthy_threshold=2)
    assert once.state is TargetState.INITIAL and once.reason == "Elb.InitialHealthChecking"
    twice = step_health(once, probe, matcher="200", healthy_threshold=5, unhealthy_threshold=2)
    assert (twice.state, twice.reason, twice.description) == (TargetState.UNHEALTHY, reason, description)


@given(st.integers(0, 5), st.floats(0, 100), st.floats(0, 100))
def test_a_target_is_gone_when_idle_or_late(active: int, waited_s: float, delay_s: float) -> None:
    gone = plan.has_drained(active=active, since_s=0, now_s=waited_s, delay_s=delay_s)
    assert gone == (active == 0 or waited_s >= delay_s)


@pytest.mark.parametrize(
    ("hosts", "paths", "host", "path", "expected"),
    [
        (("api.glibiz.com",), (), "api.glibiz.com", "/", True),
        (("API.glibiz.com",), (), "api.glibiz.com", "/", True),
        (("*.glibiz.com",), (), "api.glibiz.com", "/", True),
        (("*.glibiz.com",), (), "glibiz.com", "/", False),
        (("ap?.glibiz.com",), (), "api.glibiz.com", "/", True),
        (("api.glibiz.com",), (), "apixglibiz.com", "/", False),
        ((), ("/ws/*",), "any", "/ws/1", True),
        ((), ("/ws/*",), "any", "/WS/1", False),
        (("api.glibiz.com",), ("/ws/*",), "api.glibiz.com", "/", False),
        ((), (), "any", "/", True),
    ],
)
def test_conditions(hosts: tuple[str, ...], paths: tuple[str, ...], host: str, path: str, expected: bool) -> None:
    assert plan.matches(Rule("arn", NO, hosts=hosts, paths=paths), host, path) is expected


@given(st.text(alphabet="ab.*?-", min_size=1, max_size=8), st.text(alphabet="ab.-", max_size=8))
def test_patterns_match_as_a_slow_matcher_does(pattern: str, text: str) -> None:
    def slow(rest: str, left: str) -> bool:
        if not rest:
            return not left
        if rest[0] == "*":
            return any(slow(rest[1:], left[number:]) for number in range(len(left) + 1))
        return bool(left) and rest[0] in (left[0], "?") and slow(rest[1:], left[1:])

    assert plan.matches(Rule("arn", NO, hosts=(pattern,)), text, "/") == slow(pattern, text)


def test_the_host_tells_which_load_balancer_is_meant() -> None:
    def listener(load_balancer: str, protocol: str, *hosts: str) -> Listener:
        rules = (*(Rule("r", NO, hosts=(host,)) for host in hosts), Rule("default", NO))
        return Listener(f"{load_balancer}/{protocol}", 0, protocol, load_balancer, rules)  # type: ignore[arg-type]

    topology = Topology(
        1,
        listeners=(
            listener("one", "HTTP"),
            listener("one", "HTTPS", "one.example"),
            listener("two", "HTTP"),
            listener("two", "HTTPS", "*.two.example"),
        ),
    )

    def found(protocol: str, host: str) -> str:
        chosen = plan.find_listener(topology, protocol, host)
        assert chosen is not None
        return chosen.arn

    assert found("HTTPS", "one.example") == "one/HTTPS"
    assert found("HTTP", "api.two.example") == "two/HTTP"  # known by its HTTPS rule
    assert found("HTTPS", "nowhere.example") == "one/HTTPS"
    assert plan.find_listener(Topology(1), "HTTP", "one.example") is None


@pytest.mark.parametrize(
    ("header", "host"),
    [("API.glibiz.com:8443", "api.glibiz.com"), ("[::1]:80", "[::1]"), (" a ", "a"), ("", "")],
)
def test_host_of(header: str, host: str) -> None:
    assert plan.host_of(header) == host


@pytest.mark.parametrize(
    ("redirect", "location"),
    [
        (Redirect(protocol="HTTPS", port="443"), "https://api.glibiz.com/a/b?x=1"),
        (Redirect(protocol="HTTPS", port="8443", query=""), "https://api.glibiz.com:8443/a/b"),
        (Redirect(host="www.#{host}", path="/new/#{path}"), "http://www.api.glibiz.com/new/a/b?x=1"),
    ],
)
def test_redirects(redirect: Redirect, location: str) -> None:
    assert (
        plan.redirect_location(redirect, protocol="HTTP", host="api.glibiz.com", port=80, path="/a/b", query="x=1")
        == location
    )


def test_matchers() -> None:
    assert [range(200, 201), range(300, 400)] == list(plan.parse_matcher("200, 300-399"))
    with pytest.raises(ValueError, match="invalid literal"):
        plan.parse_matcher("fine")


def test_groups_in_use_include_those_of_weight_0() -> None:
    action = Forward((WeightedGroup("new", 0), WeightedGroup("old", 100)))
    topology = Topology(1, listeners=(Listener("l", 443, "HTTPS", "lb", (Rule("r", action),)),))
    assert plan.groups_in_use(topology) == {"new", "old"}
    assert not plan.may_stick(action, "new") and plan.may_stick(action, "old")


def test_a_health_that_recovers_needs_its_threshold() -> None:
    health = Health(TargetState.UNHEALTHY, "Target.Timeout", "Request timed out")
    for expected in (TargetState.UNHEALTHY, TargetState.UNHEALTHY, TargetState.HEALTHY):
        health = step_health(health, ProbeAnswered(200), matcher="200", healthy_threshold=3, unhealthy_threshold=2)
        assert health.state is expected
