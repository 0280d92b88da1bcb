"""ELBv2 through boto3, the balancer's pages over HTTP, and the metrics that come of them."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from gli_tasks.rehearsal.cloud import TargetHealth, TargetStates, UnknownTargetGroup

from .conftest import START, Network, Twin, wait_for


@dataclass
class Stack:
    """A load balancer with a listener and two target groups."""

    twin: Twin
    elbv2: Any
    balancer: str
    listener: str
    blue: str
    green: str

    def health(self, group: str, *targets: dict[str, Any]) -> list[tuple[Any, ...]]:
        params: dict[str, Any] = {"TargetGroupArn": group} | ({"Targets": list(targets)} if targets else {})
        return [
            (
                one["Target"]["Id"],
                one["Target"]["Port"],
                one["TargetHealth"]["State"],
                one["TargetHealth"].get("Reason"),
            )
            for one in self.elbv2.describe_target_health(**params)["TargetHealthDescriptions"]
        ]

    def report(
        self, group: str, address: str, state: str, reason: str = "", description: str = "", port: int = 8000
    ) -> None:
        facts = {"target_group": group, "address": address, "port": port, "state": state}
        body = [facts | {"reason": reason, "description": description, "active": 0}]
        httpx.post(f"{self.twin.url}/_twin/health", json=body).raise_for_status()

    def topology(self) -> dict[str, Any]:
        document: dict[str, Any] = httpx.get(f"{self.twin.url}/_twin/topology").raise_for_status().json()
        return document


@pytest.fixture
def stack(twin: Twin, network: Network) -> Stack:
    elbv2 = twin.client("elbv2")
    balancer = elbv2.create_load_balancer(Name="shop", Subnets=network.subnets)["LoadBalancers"][0]["LoadBalancerArn"]

    def group(name: str) -> str:
        made = elbv2.create_target_group(
            Name=name,
            Protocol="HTTP",
            Port=8000,
            VpcId=network.vpc,
            TargetType="ip",
            HealthCheckPath="/health",
            HealthCheckIntervalSeconds=15,
            HealthCheckTimeoutSeconds=5,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=3,
            Matcher={"HttpCode": "200-399"},
        )
        return str(made["TargetGroups"][0]["TargetGroupArn"])

    blue, green = group("blue"), group("green")
    listener = elbv2.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": blue}],
    )["Listeners"][0]["ListenerArn"]
    return Stack(twin, elbv2, balancer, listener, blue, green)


def test_a_target_lives_and_drains(stack: Stack) -> None:
    target = {"Id": "127.0.1.2", "Port": 8000}
    stack.elbv2.register_targets(TargetGroupArn=stack.blue, Targets=[target])
    assert stack.health(stack.blue) == [("127.0.1.2", 8000, "initial", "Elb.RegistrationInProgress")]
    stack.report(stack.blue, "127.0.1.2", "initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
    assert stack.health(stack.blue) == [("127.0.1.2", 8000, "initial", "Elb.InitialHealthChecking")]
    stack.report(stack.blue, "127.0.1.2", "healthy")
    assert stack.health(stack.blue) == [("127.0.1.2", 8000, "healthy", None)]
    stack.report(
        stack.blue,
        "127.0.1.2",
        "unhealthy",
        "Target.ResponseCodeMismatch",
        "Health checks failed with these codes: [500]",
    )
    described = stack.elbv2.describe_target_health(TargetGroupArn=stack.blue)["TargetHealthDescriptions"][0]
    assert described == {
        "Target": {"Id": "127.0.1.2", "Port": 8000},
        "HealthCheckPort": "8000",
        "TargetHealth": {
            "State": "unhealthy",
            "Reason": "Target.ResponseCodeMismatch",
            "Description": "Health checks failed with these codes: [500]",
        },
    }
    stack.elbv2.deregister_targets(TargetGroupArn=stack.blue, Targets=[target])
    stack.report(stack.blue, "127.0.1.2", "healthy")  # it crossed the deregistration
    assert stack.health(stack.blue) == [("127.0.1.2", 8000, "draining", "Target.DeregistrationInProgress")]
    assert stack.topology()["target_groups"][0]["targets"] == [{"address": "127.0.1.2", "port": 8000, "draining": True}]
    stack.report(stack.blue, "127.0.1.2", "gone")
    assert stack.health(stack.blue) == []
    assert stack.topology()["target_groups"][0]["targets"] == []
    assert stack.health(stack.blue, target) == [("127.0.1.2", 8000, "unused", "Target.NotRegistered")]


def test_a_target_taken_back_while_it_drains(stack: Stack) -> None:
    targets = stack.twin.targets
    targets.register(stack.blue, "127.0.1.2", 8000)
    targets.deregister(stack.blue, "127.0.1.2", 8000)
    targets.register(stack.blue, "127.0.1.2", 8000)
    stack.report(stack.blue, "127.0.1.2", "gone")  # of the time before
    stack.report(stack.blue, "127.0.1.2", "draining")
    assert targets.state(stack.blue, "127.0.1.2", 8000).state == TargetHealth.INITIAL


def test_draining_ends_without_a_balancer(stack: Stack) -> None:
    targets, clock = stack.twin.targets, stack.twin.clock
    targets.register(stack.blue, "127.0.1.2", 8000)
    targets.deregister(stack.blue, "127.0.1.2", 8000)
    clock.now += 300 * 0.05 + 4
    assert targets.state(stack.blue, "127.0.1.2", 8000).state == TargetHealth.DRAINING
    clock.now += 2
    assert targets.state(stack.blue, "127.0.1.2", 8000).state == TargetHealth.GONE


def test_one_address_with_two_ports(stack: Stack) -> None:
    stack.elbv2.register_targets(
        TargetGroupArn=stack.blue, Targets=[{"Id": "127.0.1.2"}, {"Id": "127.0.1.2", "Port": 9000}]
    )
    stack.report(stack.blue, "127.0.1.2", "healthy", port=9000)
    assert [one[1:3] for one in stack.health(stack.blue)] == [(8000, "initial"), (9000, "healthy")]
    assert [one[1] for one in stack.health(stack.blue, {"Id": "127.0.1.2"})] == [8000]


def test_a_group_that_no_listener_uses(stack: Stack) -> None:
    stack.elbv2.register_targets(TargetGroupArn=stack.green, Targets=[{"Id": "127.0.1.3"}])
    assert stack.health(stack.green) == [("127.0.1.3", 8000, "unused", "Target.NotInUse")]
    stack.elbv2.deregister_targets(TargetGroupArn=stack.green, Targets=[{"Id": "127.0.1.3"}])
    assert stack.health(stack.green) == []


def test_refusals(stack: Stack) -> None:
    missing = stack.blue[:-16] + "0" * 16
    for call in (stack.elbv2.describe_target_health, stack.elbv2.register_targets, stack.elbv2.deregister_targets):
        targets = {} if call == stack.elbv2.describe_target_health else {"Targets": [{"Id": "127.0.1.2"}]}
        with pytest.raises(stack.elbv2.exceptions.TargetGroupNotFoundException):
            call(TargetGroupArn=missing, **targets)
    with pytest.raises(ClientError, match="not a valid IPv4 address"):
        stack.elbv2.register_targets(TargetGroupArn=stack.blue, Targets=[{"Id": "127.0.1.9"}, {"Id": "i-1234"}])
    assert stack.health(stack.blue) == []
    stack.elbv2.deregister_targets(TargetGroupArn=stack.blue, Targets=[{"Id": "127.0.1.77"}])
    with pytest.raises(UnknownTargetGroup):
        stack.twin.targets.register(missing, "127.0.1.2", 8000)


def test_waiters(stack: Stack) -> None:
    fast = {"Delay": 0.01, "MaxAttempts": 200}
    target = {"TargetGroupArn": stack.blue, "Targets": [{"Id": "127.0.1.2", "Port": 8000}]}
    stack.elbv2.register_targets(**target)
    stack.report(stack.blue, "127.0.1.2", "healthy")
    stack.elbv2.get_waiter("target_in_service").wait(**target, WaiterConfig=fast)
    stack.elbv2.deregister_targets(**target)
    later = threading.Timer(0.1, stack.report, (stack.blue, "127.0.1.2", "gone"))
    later.start()
    stack.elbv2.get_waiter("target_deregistered").wait(**target, WaiterConfig=fast)
    later.join()


def test_targets_of_a_deleted_group_are_forgotten(stack: Stack) -> None:
    stack.elbv2.register_targets(TargetGroupArn=stack.green, Targets=[{"Id": "127.0.1.3"}])
    stack.elbv2.delete_target_group(TargetGroupArn=stack.green)
    assert stack.twin.targets.registered() == []
    assert [group["name"] for group in stack.topology()["target_groups"]] == ["blue"]


def test_topology_of_rules_and_weights(stack: Stack) -> None:
    elbv2 = stack.elbv2
    weighted = {
        "Type": "forward",
        "ForwardConfig": {
            "TargetGroups": [
                {"TargetGroupArn": stack.blue, "Weight": 90},
                {"TargetGroupArn": stack.green, "Weight": 0},
            ],
            "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 120},
        },
    }
    elbv2.create_rule(
        ListenerArn=stack.listener,
        Priority=20,
        Conditions=[
            {"Field": "host-header", "HostHeaderConfig": {"Values": ["api.glibiz.com", "*.api.glibiz.com"]}},
            {"Field": "path-pattern", "Values": ["/v1/*"]},
        ],
        Actions=[weighted],
    )
    elbv2.create_rule(
        ListenerArn=stack.listener,
        Priority=3,
        Conditions=[{"Field": "host-header", "Values": ["old.glibiz.com"]}],
        Actions=[
            {
                "Type": "redirect",
                "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "Host": "glibiz.com", "StatusCode": "HTTP_301"},
            }
        ],
    )
    elbv2.create_rule(
        ListenerArn=stack.listener,
        Priority=100,
        Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/closed"]}}],
        Actions=[
            {
                "Type": "fixed-response",
                "FixedResponseConfig": {"StatusCode": "503", "ContentType": "text/html", "MessageBody": "<p>closed"},
            }
        ],
    )
    document = stack.topology()
    (listener,) = document["listeners"]
    assert (listener["port"], listener["protocol"]) == (80, "HTTP")
    assert listener["load_balancer"] == stack.balancer.split(":loadbalancer/")[1]
    assert [rule["priority"] for rule in listener["rules"]] == [3, 20, 100, "default"]
    redirect, forward, fixed, default = (rule["action"] for rule in listener["rules"])
    assert redirect == {
        "type": "redirect",
        "status": 301,
        "protocol": "HTTPS",
        "host": "glibiz.com",
        "port": "443",
        "path": "/#{path}",
        "query": "#{query}",
    }
    assert forward == {
        "type": "forward",
        "targets": [{"target_group": stack.blue, "weight": 90}, {"target_group": stack.green, "weight": 0}],
        "stickiness_s": 120,
    }
    assert fixed == {"type": "fixed-response", "status": 503, "content_type": "text/html", "body": "<p>closed"}
    assert default == {"type": "forward", "targets": [{"target_group": stack.blue, "weight": 1}], "stickiness_s": 0}
    assert listener["rules"][1]["hosts"] == ["api.glibiz.com", "*.api.glibiz.com"]
    assert listener["rules"][1]["paths"] == ["/v1/*"]
    assert listener["rules"][2]["paths"] == ["/closed"]
    blue = document["target_groups"][0]
    assert blue["health"] == {
        "path": "/health",
        "interval_s": 15,
        "timeout_s": 5,
        "healthy_threshold": 2,
        "unhealthy_threshold": 3,
        "matcher": "200-399",
    }
    assert blue["dimension"] == stack.blue.rsplit(":", 1)[1]
    assert (blue["deregistration_delay_s"], document["time_scale"]) == (300, 0.05)


def test_changes_are_seen_at_the_next_read(stack: Stack) -> None:
    rule = stack.elbv2.create_rule(
        ListenerArn=stack.listener,
        Priority=1,
        Conditions=[{"Field": "host-header", "Values": ["a.example"]}],
        Actions=[{"Type": "forward", "TargetGroupArn": stack.blue}],
    )["Rules"][0]["RuleArn"]
    first = stack.topology()
    assert stack.topology()["version"] == first["version"]
    both = [{"TargetGroupArn": stack.blue, "Weight": 1}, {"TargetGroupArn": stack.green, "Weight": 3}]
    stack.elbv2.modify_rule(RuleArn=rule, Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": both}}])
    second = stack.topology()
    assert second["version"] == first["version"] + 1
    weights = [one["weight"] for one in second["listeners"][0]["rules"][0]["action"]["targets"]]
    assert weights == [1, 3]
    stack.elbv2.modify_target_group_attributes(
        TargetGroupArn=stack.blue, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "30"}]
    )
    stack.elbv2.set_rule_priorities(RulePriorities=[{"RuleArn": rule, "Priority": 7}])
    stack.elbv2.modify_target_group(TargetGroupArn=stack.blue, HealthCheckPath="/ready", HealthCheckIntervalSeconds=10)
    third = stack.topology()
    assert third["target_groups"][0]["deregistration_delay_s"] == 30
    assert (third["target_groups"][0]["health"]["path"], third["target_groups"][0]["health"]["interval_s"]) == (
        "/ready",
        10,
    )
    assert third["listeners"][0]["rules"][0]["priority"] == 7
    stack.elbv2.modify_listener(
        ListenerArn=stack.listener, DefaultActions=[{"Type": "forward", "TargetGroupArn": stack.green}]
    )
    assert stack.topology()["listeners"][0]["rules"][-1]["action"]["targets"][0]["target_group"] == stack.green
    stack.elbv2.delete_rule(RuleArn=rule)
    assert len(stack.topology()["listeners"][0]["rules"]) == 1


def test_long_poll_answers_at_once_on_change(stack: Stack) -> None:
    url = f"{stack.twin.url}/_twin/topology"
    version = stack.topology()["version"]
    began = time.monotonic()
    assert httpx.get(url, params={"after": version - 1}).json()["version"] == version
    assert time.monotonic() - began < 0.5
    answers: list[tuple[float, int]] = []

    def poll() -> None:
        answer = httpx.get(url, params={"after": version}).json()
        answers.append((time.monotonic(), answer["version"]))

    thread = threading.Thread(target=poll)
    thread.start()
    changed = time.monotonic()
    stack.twin.targets.register(stack.blue, "127.0.1.2", 8000)
    thread.join(5)
    assert answers[0][1] == version + 1
    assert answers[0][0] - changed < 0.5
    assert httpx.get(url, params={"after": version + 1}).json()["version"] == version + 1  # nothing new: after a second
    assert httpx.get(url, params={"after": "x"}).status_code == 400
    assert httpx.post(url).status_code == 405


def test_a_rule_that_the_balancer_cannot_do_is_left_out(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    stack.elbv2.create_rule(
        ListenerArn=stack.listener,
        Priority=1,
        Conditions=[{"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/8"]}}],
        Actions=[{"Type": "forward", "TargetGroupArn": stack.green}],
    )
    with caplog.at_level(logging.WARNING):
        assert [rule["priority"] for rule in stack.topology()["listeners"][0]["rules"]] == ["default"]
        stack.topology()
    assert caplog.text.count("condition on source-ip") == 1


def test_wrong_reports_are_refused(stack: Stack) -> None:
    for page in ("health", "metrics"):
        assert httpx.post(f"{stack.twin.url}/_twin/{page}", content=b"[{}]").status_code == 400
        assert httpx.post(f"{stack.twin.url}/_twin/{page}", content=b"nonsense").status_code == 400
        assert httpx.get(f"{stack.twin.url}/_twin/{page}").status_code == 405
    unknown = [{"target_group": "x", "address": "127.0.0.9", "port": 1, "state": "healthy"}]
    assert httpx.post(f"{stack.twin.url}/_twin/health", json=unknown).status_code == 200


def test_reports_become_metrics(stack: Stack) -> None:
    balancer = stack.balancer.split(":loadbalancer/")[1]
    group = stack.blue.rsplit(":", 1)[1]
    counts = {
        "load_balancer": balancer,
        "target_group": stack.blue,
        "target_group_dimension": group,
        "requests": 10,
        "target_2xx": 6,
        "target_3xx": 1,
        "target_4xx": 2,
        "target_5xx": 1,
        "elb_5xx": 0,
        "target_connection_errors": 0,
        "response_times_s": [0.1 * n for n in range(1, 11)],
        "healthy_hosts": 2,
        "unhealthy_hosts": 1,
        "timestamp": START + 1,
    }
    elsewhere = {"load_balancer": balancer, "target_group": "", "elb_5xx": 4, "timestamp": START + 2}
    httpx.post(f"{stack.twin.url}/_twin/metrics", json=[counts, elsewhere]).raise_for_status()
    cloudwatch = stack.twin.client("cloudwatch")

    def read(name: str, statistic: str, **dimensions: str) -> list[float]:
        metric = {
            "Namespace": "AWS/ApplicationELB",
            "MetricName": name,
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        }
        answer = cloudwatch.get_metric_data(
            MetricDataQueries=[{"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": statistic}}],
            StartTime=datetime.fromtimestamp(START, UTC),
            EndTime=datetime.fromtimestamp(START + 60, UTC),
        )
        values: list[float] = answer["MetricDataResults"][0]["Values"]
        return values

    for dimensions in (
        {"LoadBalancer": balancer},
        {"LoadBalancer": balancer, "TargetGroup": group},
        {"TargetGroup": group},
    ):
        assert read("RequestCount", "Sum", **dimensions) == [10]
        assert [read(f"HTTPCode_Target_{n}XX_Count", "Sum", **dimensions) for n in (2, 3, 4, 5)] == [[6], [1], [2], [1]]
        assert read("TargetResponseTime", "p90", **dimensions) == [0.9]
        assert read("TargetConnectionErrorCount", "Sum", **dimensions) == []  # zero is not reported, as on AWS
    assert read("RequestCount", "Average", LoadBalancer=balancer) == [1]
    assert read("HTTPCode_ELB_5XX_Count", "Sum", LoadBalancer=balancer) == [4]
    assert read("HealthyHostCount", "Average", LoadBalancer=balancer, TargetGroup=group) == [2]
    assert read("UnHealthyHostCount", "Maximum", LoadBalancer=balancer, TargetGroup=group) == [1]


def test_everything_else_is_motos(stack: Stack) -> None:
    assert len(stack.elbv2.describe_target_groups()["TargetGroups"]) == 2
    assert stack.elbv2.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerName"] == "shop"


def test_many_threads_register_and_report(stack: Stack) -> None:
    targets: TargetStates = stack.twin.targets
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            json.dumps(stack.twin.topology.read())

    reader = threading.Thread(target=read)
    reader.start()

    def churn(base: int) -> None:
        for index in range(50):
            targets.register(stack.blue, f"127.0.{base}.{index}", 80)
            targets.deregister(stack.blue, f"127.0.{base}.{index}", 80)

    workers = [threading.Thread(target=churn, args=(base,)) for base in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done.set()
    reader.join(5)
    wait_for(lambda: len(targets.registered()) == 200)
    assert all(one.is_draining for one in targets.registered())
