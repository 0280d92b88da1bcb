"""Alarms through botocore clients: definitions, evaluation, history, actions."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.sns.models import sns_backends

from gli_tasks.rehearsal.cloud import AlarmBook, AlarmEvaluator, Metric, MetricStore
from gli_tasks.rehearsal.cloud.alarm_facts import AlarmDefinition
from gli_tasks.rehearsal.cloud.alarm_rules import AlarmRule
from gli_tasks.rehearsal.cloud.metric_queries import MetricSource

from .conftest import ACCOUNT, REGION, START, Twin, wait_for

ERRORS = Metric.of("Shop", "Errors", [("Service", "api")])


def alarm(**changes: Any) -> dict[str, Any]:
    params: dict[str, Any] = {
        "AlarmName": "errors",
        "Namespace": "Shop",
        "MetricName": "Errors",
        "Dimensions": [{"Name": "Service", "Value": "api"}],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 3,
        "DatapointsToAlarm": 2,
        "Threshold": 5.0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    return {name: value for name, value in (params | changes).items() if value is not None}


def described(client: Any, name: str = "errors") -> dict[str, Any]:
    found: list[dict[str, Any]] = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert len(found) == 1
    return found[0]


def pass_minutes(twin: Twin, *sums: float | None) -> None:
    """Let minutes pass, each with a sum of errors (or none), and evaluate after each."""
    for total in sums:
        if total is not None:
            twin.store.put_value(ERRORS, total)
        twin.clock.now += 60
        twin.alarms.evaluate_due()


def test_definition_comes_back(cloudwatch: Any) -> None:
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:ops"
    cloudwatch.put_metric_alarm(
        **alarm(
            AlarmDescription="too many",
            AlarmActions=[topic],
            OKActions=[topic],
            TreatMissingData="notBreaching",
            Unit="Count",
        )
    )
    found = described(cloudwatch)
    for name, value in alarm(AlarmDescription="too many", TreatMissingData="notBreaching", Unit="Count").items():
        assert found[name] == value
    assert found["AlarmArn"] == f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:errors"
    assert (found["StateValue"], found["ActionsEnabled"]) == ("INSUFFICIENT_DATA", True)
    assert found["StateReason"] == "Unchecked: Initial alarm creation"
    assert (found["AlarmActions"], found["OKActions"], found["InsufficientDataActions"]) == ([topic], [topic], [])
    assert found["StateUpdatedTimestamp"].timestamp() == START
    by_metric = cloudwatch.describe_alarms_for_metric(
        Namespace="Shop", MetricName="Errors", Dimensions=[{"Name": "Service", "Value": "api"}]
    )
    assert [one["AlarmName"] for one in by_metric["MetricAlarms"]] == ["errors"]


def test_percentile_alarm_definition(cloudwatch: Any) -> None:
    cloudwatch.put_metric_alarm(
        **alarm(
            Statistic=None, ExtendedStatistic="p99", EvaluateLowSampleCountPercentile="ignore", DatapointsToAlarm=None
        )
    )
    found = described(cloudwatch)
    assert found["ExtendedStatistic"] == "p99" and "Statistic" not in found
    assert found["EvaluateLowSampleCountPercentile"] == "ignore"
    assert "DatapointsToAlarm" not in found and "TreatMissingData" not in found


def test_m_of_n_and_history(cloudwatch: Any, twin: Twin) -> None:
    cloudwatch.put_metric_alarm(**alarm())
    pass_minutes(twin, 1, 1)
    assert described(cloudwatch)["StateValue"] == "OK"
    pass_minutes(twin, 9)
    assert described(cloudwatch)["StateValue"] == "OK"
    pass_minutes(twin, 8.5)
    found = described(cloudwatch)
    assert found["StateValue"] == "ALARM"
    assert found["StateReason"].startswith("Threshold Crossed: 2 out of the last 3 datapoints [9.0 (")
    assert found["StateReason"].endswith("(minimum 2 datapoints for OK -> ALARM transition).")
    assert json.loads(found["StateReasonData"])["recentDatapoints"] == [1.0, 9.0, 8.5]
    pass_minutes(twin, 0, 0)
    assert described(cloudwatch)["StateValue"] == "OK"
    history = cloudwatch.describe_alarm_history(AlarmName="errors", HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    assert [item["HistorySummary"] for item in history] == [
        "Alarm updated from ALARM to OK",
        "Alarm updated from OK to ALARM",
        "Alarm updated from INSUFFICIENT_DATA to OK",
    ]
    assert json.loads(history[1]["HistoryData"])["newState"]["stateValue"] == "ALARM"
    oldest = cloudwatch.describe_alarm_history(ScanBy="TimestampAscending", MaxRecords=1)
    assert oldest["AlarmHistoryItems"][0]["HistoryItemType"] == "ConfigurationUpdate"
    assert oldest["NextToken"]


def test_silence_leads_to_insufficient_data(twin: Twin) -> None:
    client = twin.client("cloudwatch")
    client.put_metric_alarm(**alarm())
    pass_minutes(twin, 9, 9)
    assert described(client)["StateValue"] == "ALARM"
    pass_minutes(twin, None, None, None, None, None)
    assert described(client)["StateValue"] == "INSUFFICIENT_DATA"


def test_state_set_by_hand_lasts_until_the_next_evaluation(cloudwatch: Any, twin: Twin) -> None:
    cloudwatch.put_metric_alarm(**alarm())
    pass_minutes(twin, 1)
    cloudwatch.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="drill")
    found = described(cloudwatch)
    assert (found["StateValue"], found["StateReason"]) == ("ALARM", "drill")
    assert [one["AlarmName"] for one in cloudwatch.describe_alarms(StateValue="ALARM")["MetricAlarms"]] == ["errors"]
    pass_minutes(twin, 1)
    assert described(cloudwatch)["StateValue"] == "OK"
    with pytest.raises(ClientError) as caught:
        cloudwatch.set_alarm_state(AlarmName="other", StateValue="OK", StateReason="x")
    assert caught.value.response["Error"]["Code"] in ("ResourceNotFound", "ResourceNotFoundException")


def test_metric_math_alarm(cloudwatch: Any, twin: Twin) -> None:
    def stat(query_id: str, name: str) -> dict[str, Any]:
        metric = {
            "Namespace": "AWS/ApplicationELB",
            "MetricName": name,
            "Dimensions": [{"Name": "LoadBalancer", "Value": "app/x/1"}],
        }
        return {"Id": query_id, "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": False}

    queries = [
        {"Id": "rate", "Expression": "FILL(errors, 0) / requests * 100", "Label": "5xx rate", "ReturnData": True},
        stat("errors", "HTTPCode_Target_5XX_Count"),
        stat("requests", "RequestCount"),
    ]
    nothing = dict.fromkeys(("Namespace", "MetricName", "Dimensions", "Statistic", "Period", "DatapointsToAlarm"))
    cloudwatch.put_metric_alarm(**alarm(**nothing, EvaluationPeriods=1, Threshold=1.0, Metrics=queries))
    found = described(cloudwatch)
    assert [query["Id"] for query in found["Metrics"]] == ["rate", "errors", "requests"]
    assert found["Metrics"][1]["MetricStat"]["Metric"]["Dimensions"] == [{"Name": "LoadBalancer", "Value": "app/x/1"}]
    states = []
    for errors in (0, 3):
        twin.store.put_value(Metric.of("AWS/ApplicationELB", "RequestCount", [("LoadBalancer", "app/x/1")]), 100.0)
        if errors:
            metric = Metric.of("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", [("LoadBalancer", "app/x/1")])
            twin.store.put_value(metric, errors)
        twin.clock.now += 60
        twin.alarms.evaluate_due()
        states.append(described(cloudwatch)["StateValue"])
    assert states == ["OK", "ALARM"]


def test_percentile_alarm_with_few_samples(twin: Twin) -> None:
    client = twin.client("cloudwatch")
    for low in ("evaluate", "ignore"):
        client.put_metric_alarm(
            **alarm(
                AlarmName=low,
                Statistic=None,
                ExtendedStatistic="p95",
                EvaluationPeriods=1,
                DatapointsToAlarm=None,
                EvaluateLowSampleCountPercentile=low,
            )
        )
    pass_minutes(twin, 9)
    assert (described(client, "evaluate")["StateValue"], described(client, "ignore")["StateValue"]) == (
        "ALARM",
        "INSUFFICIENT_DATA",
    )


def test_actions_reach_sns(fresh_twin: Twin) -> None:
    twin = fresh_twin
    client, sns = twin.client("cloudwatch"), twin.client("sns")
    topic = sns.create_topic(Name="ops")["TopicArn"]
    missing = f"arn:aws:sns:{REGION}:{ACCOUNT}:missing"
    client.put_metric_alarm(**alarm(EvaluationPeriods=1, DatapointsToAlarm=1, AlarmActions=[topic, missing]))
    pass_minutes(twin, 9)
    sent = sns_backends[ACCOUNT][REGION].topics[topic].sent_notifications
    assert len(sent) == 1
    _, message, subject, *_ = sent[0]
    assert subject == 'ALARM: "errors" in Asia Pacific (Seoul)'
    facts = json.loads(message)
    assert (facts["AlarmName"], facts["OldStateValue"], facts["NewStateValue"]) == (
        "errors",
        "INSUFFICIENT_DATA",
        "ALARM",
    )
    assert facts["Trigger"]["MetricName"] == "Errors"
    actions = client.describe_alarm_history(AlarmName="errors", HistoryItemType="Action", ScanBy="TimestampAscending")
    assert [item["HistorySummary"] for item in actions["AlarmHistoryItems"]] == [
        f"Successfully executed action {topic}",
        f"Failed to execute action {missing}. Received error: NotFound: Topic does not exist",
    ]
    client.disable_alarm_actions(AlarmNames=["errors"])
    assert described(client)["ActionsEnabled"] is False
    pass_minutes(twin, 0, 9)
    assert described(client)["StateValue"] == "ALARM"
    assert len(sent) == 1
    client.enable_alarm_actions(AlarmNames=["errors"])
    assert described(client)["ActionsEnabled"] is True


def test_tags_and_deletion(cloudwatch: Any) -> None:
    cloudwatch.put_metric_alarm(**alarm(Tags=[{"Key": "team", "Value": "ops"}]))
    arn = described(cloudwatch)["AlarmArn"]
    cloudwatch.tag_resource(ResourceARN=arn, Tags=[{"Key": "env", "Value": "prod"}])
    cloudwatch.untag_resource(ResourceARN=arn, TagKeys=["team"])
    assert cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "env", "Value": "prod"}]
    with pytest.raises(ClientError):
        cloudwatch.list_tags_for_resource(ResourceARN=arn + "x")
    with pytest.raises(ClientError):
        cloudwatch.delete_alarms(AlarmNames=["errors", "other"])
    cloudwatch.delete_alarms(AlarmNames=["errors"])
    assert cloudwatch.describe_alarms()["MetricAlarms"] == []


def test_alarms_come_in_pages(twin: Twin) -> None:
    client = twin.client("cloudwatch")
    for index in range(7):
        client.put_metric_alarm(**alarm(AlarmName=f"a{index}"))
    pages = client.get_paginator("describe_alarms").paginate(AlarmNamePrefix="a", PaginationConfig={"PageSize": 3})
    assert [[one["AlarmName"] for one in page["MetricAlarms"]] for page in pages] == [
        ["a0", "a1", "a2"],
        ["a3", "a4", "a5"],
        ["a6"],
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"Threshold": None},
        {"ComparisonOperator": None},
        {"Statistic": None},
        {"Period": 61},
        {"Period": None},
        {"DatapointsToAlarm": 4},
        {"TreatMissingData": "sometimes"},
        {"ExtendedStatistic": "p95"},
        {"Statistic": None, "ExtendedStatistic": "p101"},
        {"Metrics": [{"Id": "m1", "Expression": "1"}]},
        {"ComparisonOperator": "GreaterThanUpperThreshold"},
        {"ThresholdMetricId": "m1"},
    ],
    ids=str,
)
def test_wrong_definitions_are_refused(twin: Twin, changes: dict[str, Any]) -> None:
    with pytest.raises(ClientError):
        twin.client("cloudwatch").put_metric_alarm(**alarm(**changes))
    assert twin.alarms.alarms() == []


def test_the_evaluator_works_in_scaled_time() -> None:
    store = MetricStore(period_scale=0.002)  # a minute lasts 0.12 s
    book = AlarmBook(store, account=ACCOUNT, region=REGION)
    rule = AlarmRule("GreaterThanThreshold", 5, 1, 1)
    book.put(AlarmDefinition("errors", rule, MetricSource(ERRORS, 60, "Maximum")))
    evaluator = AlarmEvaluator(book, time.time)
    evaluator.start()
    try:
        store.put_value(ERRORS, 9.0)
        wait_for(lambda: [item.kind for item in book.history()].count("StateUpdate") == 2)
    finally:
        evaluator.stop()
    assert [item.summary for item in book.history()][1:] == [
        "Alarm updated from INSUFFICIENT_DATA to ALARM",
        "Alarm updated from ALARM to INSUFFICIENT_DATA",
    ]
