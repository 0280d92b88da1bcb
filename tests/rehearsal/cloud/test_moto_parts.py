"""What rests on moto's own objects: invalidations, sites, logs, secrets, and ids that settings name."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gli_tasks.rehearsal.cloud import (
    LogSink,
    SecretResolver,
    Site,
    distribution_sites,
)
from gli_tasks.rehearsal.cloud.restamp import (
    CannotRestamp,
    restamp_certificate,
    restamp_distribution,
    restamp_hosted_zone,
    restamp_listener,
    restamp_load_balancer,
    restamp_rule,
    restamp_secret,
    restamp_target_group,
)
from gli_tasks.rehearsal.ecs.ports import LogGroupMissing, LogLine, SecretUnavailable
from gli_tasks.rehearsal.ecs.ports import LogSink as LogSinkPort
from gli_tasks.rehearsal.ecs.ports import SecretResolver as SecretResolverPort

from .conftest import ACCOUNT, REGION, START, Clock, Network, Twin


def make_distribution(client: Any, host: str = "glibiz.com") -> dict[str, Any]:
    config = {
        "CallerReference": host,
        "Comment": "",
        "Enabled": True,
        "Aliases": {"Quantity": 1, "Items": [host]},
        "DefaultRootObject": "index.html",
        "Origins": {
            "Quantity": 1,
            "Items": [
                {
                    "Id": "s3",
                    "DomainName": f"gli-user-frontend.s3.{REGION}.amazonaws.com",
                    "S3OriginConfig": {"OriginAccessIdentity": ""},
                }
            ],
        },
        "DefaultCacheBehavior": {"TargetOriginId": "s3", "ViewerProtocolPolicy": "redirect-to-https"},
        "CustomErrorResponses": {
            "Quantity": 1,
            "Items": [
                {"ErrorCode": 403, "ResponsePagePath": "/index.html", "ResponseCode": "200", "ErrorCachingMinTTL": 0}
            ],
        },
    }
    made: dict[str, Any] = client.create_distribution(DistributionConfig=config)["Distribution"]
    return made


def test_an_invalidation_completes(fresh_twin: Twin) -> None:
    client = fresh_twin.client("cloudfront")
    distribution = make_distribution(client)["Id"]
    batch = {"Paths": {"Quantity": 1, "Items": ["/*"]}, "CallerReference": "1"}
    made = client.create_invalidation(DistributionId=distribution, InvalidationBatch=batch)
    assert made["Invalidation"]["Status"] == "InProgress"
    assert made["Invalidation"]["InvalidationBatch"] == batch
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    invalidation = made["Invalidation"]["Id"]
    assert (
        client.get_invalidation(DistributionId=distribution, Id=invalidation)["Invalidation"]["Status"] == "InProgress"
    )
    assert client.get_distribution(Id=distribution)["Distribution"]["InProgressInvalidationBatches"] == 1
    began = time.monotonic()
    waiter = client.get_waiter("invalidation_completed")
    waiter.wait(DistributionId=distribution, Id=invalidation, WaiterConfig={"Delay": 0.02, "MaxAttempts": 200})
    assert time.monotonic() - began < 3
    (listed,) = client.list_invalidations(DistributionId=distribution)["InvalidationList"]["Items"]
    assert listed["Status"] == "Completed"
    assert client.get_distribution(Id=distribution)["Distribution"]["InProgressInvalidationBatches"] == 0
    with pytest.raises(ClientError):
        client.create_invalidation(DistributionId="E0", InvalidationBatch=batch)


def test_distributions_are_sites(fresh_twin: Twin) -> None:
    make_distribution(fresh_twin.client("cloudfront"))
    assert distribution_sites(ACCOUNT) == (Site("glibiz.com", "gli-user-frontend", "index.html"),)
    assert fresh_twin.topology.read()["sites"] == [
        {"host": "glibiz.com", "bucket": "gli-user-frontend", "fallback": "index.html"}
    ]


def test_log_lines_keep_their_order(fresh_twin: Twin) -> None:
    logs = fresh_twin.client("logs")
    clock = Clock(time.time() - 60)
    sink = LogSink(ACCOUNT, REGION, clock=clock)
    port: LogSinkPort = sink
    assert port is sink
    with pytest.raises(LogGroupMissing, match="The specified log group does not exist"):
        sink.write("/ecs/api", "ecs/api/1", "lost")
    logs.create_log_group(logGroupName="/ecs/api")
    sink.open_stream("/ecs/api", "ecs/api/1", create_group=False)
    for index in range(5):
        sink.write("/ecs/api", "ecs/api/1", f"line {index}")
        clock.now -= 0.5
    sink.write("/ecs/api", "ecs/api/2", "other task")
    sink.write("/ecs/api", "ecs/api/2", "")
    events = logs.get_log_events(logGroupName="/ecs/api", logStreamName="ecs/api/1", startFromHead=True)["events"]
    assert [event["message"] for event in events] == [f"line {index}" for index in range(5)]
    assert len({event["timestamp"] for event in events}) == 1  # the clock ran backwards
    found = logs.filter_log_events(logGroupName="/ecs/api", interleaved=True, filterPattern="line")["events"]
    assert len(found) == 5
    assert len(logs.filter_log_events(logGroupName="/ecs/api", interleaved=True)["events"]) == 6
    streams = logs.describe_log_streams(logGroupName="/ecs/api")["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == ["ecs/api/1", "ecs/api/2"]
    with pytest.raises(LogGroupMissing):
        sink.open_stream("/ecs/new", "s", create_group=False)
    sink.open_stream("/ecs/new", "s", create_group=True)
    now = datetime.now(UTC)
    sink.put("/ecs/new", "s", [LogLine(now, "é" * 200_000), LogLine(now, "")])
    parts = logs.get_log_events(logGroupName="/ecs/new", logStreamName="s", startFromHead=True)["events"]
    assert "".join(part["message"] for part in parts) == "é" * 200_000
    assert len(parts) == 2


def test_logs_can_be_followed(fresh_twin: Twin) -> None:
    """Follow as ``aws logs tail --follow`` does: from the last timestamp on, known event ids passed over."""
    logs, sink = fresh_twin.client("logs"), LogSink(ACCOUNT, REGION)
    sink.open_stream("/ecs/api", "ecs/api/1", create_group=True)
    seen: dict[str, str] = {}
    start = round((time.time() - 60) * 1000)
    for batch in range(4):
        for task in ("1", "2"):
            sink.write("/ecs/api", f"ecs/api/{task}", f"{task}: batch {batch}")
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName="/ecs/api", interleaved=True, startTime=start, PaginationConfig={"PageSize": 2}
        )
        for event in (event for page in pages for event in page["events"]):
            seen[event["eventId"]] = event["message"]
            start = max(start, event["timestamp"])
    assert list(seen.values()) == [f"{task}: batch {batch}" for batch in range(4) for task in ("1", "2")]


def test_secrets_and_parameters(fresh_twin: Twin) -> None:
    manager, ssm = fresh_twin.client("secretsmanager"), fresh_twin.client("ssm")
    made = manager.create_secret(Name="gli/db/prod", SecretString="one")
    arn, first = made["ARN"], made["VersionId"]
    manager.put_secret_value(SecretId=arn, SecretString="two")
    ssm.put_parameter(Name="/gli/prod/key", Value="sealed", Type="SecureString")
    ssm.put_parameter(Name="plain", Value="text", Type="String")
    resolver: SecretResolverPort = SecretResolver(ACCOUNT, REGION)
    assert [resolver.secret(secret_id, None, None) for secret_id in (arn, arn[:-7], "gli/db/prod")] == ["two"] * 3
    assert resolver.secret(arn, "AWSPREVIOUS", None) == "one"
    assert resolver.secret(arn, None, first) == "one"
    assert resolver.secret(arn, "AWSPREVIOUS", first) == "one"
    parameter = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter"
    assert resolver.parameter("/gli/prod/key") == resolver.parameter(f"{parameter}/gli/prod/key") == "sealed"
    assert resolver.parameter("plain") == resolver.parameter(f"{parameter}/plain") == "text"
    assert resolver.parameter("plain:1") == "text"


def test_secrets_that_cannot_be_had(fresh_twin: Twin) -> None:
    manager, ssm = fresh_twin.client("secretsmanager"), fresh_twin.client("ssm")
    arn = manager.create_secret(Name="gli/plain", SecretString="Pa55")["ARN"]
    binary = manager.create_secret(Name="gli/binary", SecretBinary=b"Pa55")["ARN"]
    deleted = manager.create_secret(Name="gli/deleted", SecretString="Pa55")["ARN"]
    manager.delete_secret(SecretId=deleted)
    ssm.put_parameter(Name="known", Value="Pa55", Type="String")
    missing = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:gli/missing-AbCdEf"
    not_found = "ResourceNotFoundException: Secrets Manager can't find the specified secret"
    resolver = SecretResolver(ACCOUNT, REGION)
    for secret_id, stage, version, reason in (
        (missing, None, None, not_found + "."),
        (arn.replace(ACCOUNT, "999999999999"), None, None, not_found + "."),
        (arn.replace(REGION, "us-east-1"), None, None, not_found + "."),
        (arn, "AWSPREVIOUS", None, not_found),
        (arn, None, "00000000-0000-0000-0000-000000000000", not_found),
        (deleted, None, None, "InvalidRequestException"),
        (binary, None, None, "binary"),
    ):
        with pytest.raises(SecretUnavailable) as caught:
            resolver.secret(secret_id, stage, version)
        assert reason in str(caught.value)
        assert "Pa55" not in str(caught.value) + repr(caught.value.__cause__)
    for name in ("/gli/none", "known:7", "arn:aws:ssm:us-east-1:999999999999:parameter/known"):
        with pytest.raises(SecretUnavailable, match="ParameterNotFound"):
            resolver.parameter(name)


def test_restamped_secret(fresh_twin: Twin) -> None:
    client = fresh_twin.client("secretsmanager")
    client.create_secret(Name="gli/api", SecretString="x")
    arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:gli/api-AbC123"
    restamp_secret(ACCOUNT, REGION, "gli/api", arn)
    for secret_id in (arn, arn[:-7], "gli/api"):
        assert client.get_secret_value(SecretId=secret_id)["ARN"] == arn
    client.put_secret_value(SecretId=arn, SecretString="y")
    assert client.describe_secret(SecretId=arn)["ARN"] == arn
    assert SecretResolver(ACCOUNT, REGION).secret(arn, None, None) == "y"
    with pytest.raises(CannotRestamp):
        restamp_secret(ACCOUNT, REGION, "gli/other", arn.replace("gli/api", "gli/other"))
    with pytest.raises(CannotRestamp):
        restamp_secret(ACCOUNT, REGION, "gli/api", arn.replace("gli/api", "gli/other"))


def test_restamped_distribution(fresh_twin: Twin) -> None:
    client = fresh_twin.client("cloudfront")
    old = make_distribution(client)
    client.tag_resource(Resource=old["ARN"], Tags={"Items": [{"Key": "env", "Value": "prod"}]})
    restamp_distribution(ACCOUNT, old["Id"], "E1QNFYHX22T4KU", "d111.cloudfront.net")
    found = client.get_distribution(Id="E1QNFYHX22T4KU")["Distribution"]
    assert found["ARN"] == f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1QNFYHX22T4KU"
    assert (found["Id"], found["DomainName"]) == ("E1QNFYHX22T4KU", "d111.cloudfront.net")
    assert client.list_distributions()["DistributionList"]["Items"][0]["Id"] == "E1QNFYHX22T4KU"
    assert client.list_tags_for_resource(Resource=found["ARN"])["Tags"]["Items"] == [{"Key": "env", "Value": "prod"}]
    batch = {"Paths": {"Quantity": 1, "Items": ["/*"]}, "CallerReference": "1"}
    assert client.create_invalidation(DistributionId="E1QNFYHX22T4KU", InvalidationBatch=batch)["Invalidation"]["Id"]
    with pytest.raises(client.exceptions.NoSuchDistribution):
        client.get_distribution(Id=old["Id"])


def test_restamped_certificate(fresh_twin: Twin) -> None:
    client = fresh_twin.client("acm")
    old = client.request_certificate(DomainName="api.glibiz.com", Tags=[{"Key": "env", "Value": "prod"}])[
        "CertificateArn"
    ]
    arn = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/11111111-2222-3333-4444-555555555555"
    restamp_certificate(ACCOUNT, REGION, old, arn)
    assert client.describe_certificate(CertificateArn=arn)["Certificate"]["CertificateArn"] == arn
    assert [one["CertificateArn"] for one in client.list_certificates()["CertificateSummaryList"]] == [arn]
    assert client.list_tags_for_certificate(CertificateArn=arn)["Tags"] == [{"Key": "env", "Value": "prod"}]


def test_restamped_load_balancer_and_below(twin: Twin, network: Network) -> None:
    client = twin.client("elbv2")
    made = client.create_load_balancer(Name="gli-alb", Subnets=network.subnets, Tags=[{"Key": "env", "Value": "prod"}])
    base = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}"
    arn = f"{base}:loadbalancer/app/gli-alb/4dd48a414b137281"
    dns_name = f"gli-alb-123.{REGION}.elb.amazonaws.com"
    old = made["LoadBalancers"][0]["LoadBalancerArn"]
    restamp_load_balancer(ACCOUNT, REGION, old, arn, dns_name=dns_name, hosted_zone_id="ZWKZPGTI48KDX")
    (found,) = client.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"]
    assert (found["DNSName"], found["CanonicalHostedZoneId"]) == (dns_name, "ZWKZPGTI48KDX")
    assert client.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"] == [{"Key": "env", "Value": "prod"}]
    group_made = client.create_target_group(Name="api-tg", Protocol="HTTP", Port=80, VpcId=network.vpc, TargetType="ip")
    group = f"{base}:targetgroup/api-tg/0123456789abcdef"
    restamp_target_group(ACCOUNT, REGION, group_made["TargetGroups"][0]["TargetGroupArn"], group)
    forward = [{"Type": "forward", "TargetGroupArn": group}]
    listener_made = client.create_listener(LoadBalancerArn=arn, Protocol="HTTP", Port=80, DefaultActions=forward)
    listener = f"{base}:listener/app/gli-alb/4dd48a414b137281/aaaaaaaaaaaaaaaa"
    restamp_listener(ACCOUNT, REGION, listener_made["Listeners"][0]["ListenerArn"], listener)
    rule_made = client.create_rule(
        ListenerArn=listener, Priority=1, Conditions=[{"Field": "host-header", "Values": ["a.b"]}], Actions=forward
    )
    rule = f"{base}:listener-rule/app/gli-alb/4dd48a414b137281/aaaaaaaaaaaaaaaa/bbbbbbbbbbbbbbbb"
    restamp_rule(ACCOUNT, REGION, rule_made["Rules"][0]["RuleArn"], rule)
    assert client.describe_rules(RuleArns=[rule])["Rules"][0]["Actions"][0]["TargetGroupArn"] == group
    assert len(client.describe_rules(ListenerArn=listener)["Rules"]) == 2
    client.modify_rule(RuleArn=rule, Conditions=[{"Field": "host-header", "Values": ["c.d"]}])
    (topology_listener,) = twin.topology.read()["listeners"]
    assert topology_listener["load_balancer"] == "app/gli-alb/4dd48a414b137281"
    assert [one["hosts"] for one in topology_listener["rules"]] == [["c.d"], []]
    assert client.describe_listeners(LoadBalancerArn=arn)["Listeners"][0]["ListenerArn"] == listener
    assert client.describe_target_groups(LoadBalancerArn=arn)["TargetGroups"][0]["TargetGroupArn"] == group
    with pytest.raises(CannotRestamp, match="listeners already"):
        restamp_load_balancer(ACCOUNT, REGION, arn, arn[:-1] + "2")
    with pytest.raises(CannotRestamp, match="in use"):
        restamp_target_group(ACCOUNT, REGION, group, group[:-1] + "0")


def test_restamped_hosted_zone(fresh_twin: Twin) -> None:
    client = fresh_twin.client("route53")
    old = client.create_hosted_zone(Name="glibiz.com", CallerReference="1")["HostedZone"]["Id"].rsplit("/", 1)[1]
    client.change_tags_for_resource(
        ResourceType="hostedzone", ResourceId=old, AddTags=[{"Key": "env", "Value": "prod"}]
    )
    restamp_hosted_zone(ACCOUNT, old, "Z0123456789ABCDEFGHIJ")
    assert client.get_hosted_zone(Id="Z0123456789ABCDEFGHIJ")["HostedZone"]["Id"] == "/hostedzone/Z0123456789ABCDEFGHIJ"
    client.change_resource_record_sets(
        HostedZoneId="Z0123456789ABCDEFGHIJ",
        ChangeBatch={
            "Changes": [
                {
                    "Action": "UPSERT",
                    "ResourceRecordSet": {
                        "Name": "api.glibiz.com",
                        "Type": "A",
                        "TTL": 60,
                        "ResourceRecords": [{"Value": "127.0.0.1"}],
                    },
                }
            ]
        },
    )
    names = client.list_resource_record_sets(HostedZoneId="Z0123456789ABCDEFGHIJ")["ResourceRecordSets"]
    assert "api.glibiz.com." in [one["Name"] for one in names]
    (listed,) = client.list_hosted_zones_by_name(DNSName="glibiz.com")["HostedZones"]
    assert listed["Id"] == "/hostedzone/Z0123456789ABCDEFGHIJ"
    tags = client.list_tags_for_resource(ResourceType="hostedzone", ResourceId="Z0123456789ABCDEFGHIJ")
    assert tags["ResourceTagSet"]["Tags"] == [{"Key": "env", "Value": "prod"}]
    with pytest.raises(CannotRestamp):
        restamp_hosted_zone(ACCOUNT, old, "Z1")


def test_start_is_a_whole_minute() -> None:
    assert START % 60 == 0
