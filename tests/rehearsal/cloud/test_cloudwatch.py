"""CloudWatch's metrics through botocore clients of all three protocols."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gli_tasks.rehearsal.cloud import Metric, MetricStore, Sample

from .conftest import START, Clock, Twin


def at(offset_s: float) -> datetime:
    return datetime.fromtimestamp(START + offset_s, UTC)


def refusal(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return str(caught.value.response["Error"]["Code"])


def test_values_come_back_as_statistics(cloudwatch: Any, twin: Twin) -> None:
    twin.clock.now = START + 300
    dimensions = [{"Name": "Service", "Value": "api"}, {"Name": "Color", "Value": "blue"}]
    cloudwatch.put_metric_data(
        Namespace="Shop",
        MetricData=[
            {"MetricName": "Latency", "Dimensions": dimensions, "Timestamp": at(5), "Value": 0.25, "Unit": "Seconds"},
            {
                "MetricName": "Latency",
                "Dimensions": dimensions[::-1],
                "Timestamp": at(65),
                "Values": [1.0, 2.0, 3.0],
                "Counts": [90, 9, 1],
                "Unit": "Seconds",
            },
            {
                "MetricName": "Latency",
                "Dimensions": dimensions,
                "Timestamp": at(125),
                "StatisticValues": {"SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 4},
                "Unit": "Seconds",
            },
        ],
    )
    answer = cloudwatch.get_metric_statistics(
        Namespace="Shop",
        MetricName="Latency",
        Dimensions=dimensions,
        StartTime=at(0),
        EndTime=at(180),
        Period=60,
        Statistics=["Sum", "SampleCount", "Average", "Minimum", "Maximum"],
        ExtendedStatistics=["p90", "p99.5"],
    )
    points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
    assert answer["Label"] == "Latency"
    assert [point["Timestamp"] for point in points] == [at(0), at(60), at(120)]
    assert [point["Sum"] for point in points] == [0.25, 111.0, 10.0]
    assert [point["SampleCount"] for point in points] == [1, 100, 4]
    assert (points[1]["Average"], points[1]["Minimum"], points[1]["Maximum"]) == (1.11, 1, 3)
    assert points[1]["ExtendedStatistics"] == {"p90": 1.0, "p99.5": 3.0}
    assert "ExtendedStatistics" not in points[2]
    assert {point["Unit"] for point in points} == {"Seconds"}


def test_metric_data_with_metric_math(cloudwatch: Any, twin: Twin) -> None:
    twin.clock.now = START + 180
    for offset, requests, errors in ((10, 100, 0), (70, 200, 10), (130, 0, 0)):
        for name, count in (("Requests", requests), ("Errors", errors)):
            if count:
                cloudwatch.put_metric_data(
                    Namespace="Shop",
                    MetricData=[{"MetricName": name, "Timestamp": at(offset), "Values": [1.0], "Counts": [count]}],
                )

    def stat(name: str, statistic: str = "Sum") -> dict[str, Any]:
        return {"Metric": {"Namespace": "Shop", "MetricName": name}, "Period": 60, "Stat": statistic}

    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[
            {
                "Id": "rate",
                "Expression": "IF(FILL(requests, 0) > 0, FILL(errors, 0) / requests * 100, 0)",
                "Label": "Error rate",
            },
            {"Id": "requests", "MetricStat": stat("Requests")},
            {"Id": "errors", "MetricStat": stat("Errors"), "ReturnData": False},
        ],
        StartTime=at(0),
        EndTime=at(180),
        ScanBy="TimestampAscending",
    )
    results = {result["Id"]: result for result in answer["MetricDataResults"]}
    assert set(results) == {"rate", "requests"}
    assert results["requests"]["Values"] == [100.0, 200.0]
    assert results["requests"]["Label"] == "Requests"
    assert results["rate"]["Values"] == [0.0, 5.0, 0.0]
    assert results["rate"]["Timestamps"] == [at(0), at(60), at(120)]
    assert results["rate"]["Label"] == "Error rate"
    assert {result["StatusCode"] for result in results.values()} == {"Complete"}
    newest_first = cloudwatch.get_metric_data(
        MetricDataQueries=[{"Id": "requests", "MetricStat": stat("Requests")}], StartTime=at(0), EndTime=at(180)
    )
    assert newest_first["MetricDataResults"][0]["Values"] == [200.0, 100.0]


def test_percentiles_of_metric_data(cloudwatch: Any, twin: Twin) -> None:
    twin.clock.now = START + 60
    metric = Metric.of("AWS/ApplicationELB", "TargetResponseTime", [("LoadBalancer", "app/x/1")])
    twin.store.put([(metric, Sample(START + 1, tuple((float(n), 1.0) for n in range(1, 1001)), unit="Seconds"))])
    wanted = {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p99.9": 999, "tm99": 495.5, "ts50": 125250, "IQM": 500.5}
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[
            {
                "Id": f"q{index}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": metric.namespace,
                        "MetricName": metric.name,
                        "Dimensions": [{"Name": "LoadBalancer", "Value": "app/x/1"}],
                    },
                    "Period": 60,
                    "Stat": statistic,
                },
            }
            for index, statistic in enumerate(wanted)
        ],
        StartTime=at(0),
        EndTime=at(60),
    )
    assert [result["Values"] for result in answer["MetricDataResults"]] == [[value] for value in wanted.values()]


def test_list_metrics(cloudwatch: Any, twin: Twin) -> None:
    for service in ("api", "websocket"):
        twin.store.put_value(Metric.of("Shop", "Latency", [("Service", service), ("Color", "blue")]), 1.0)
    twin.store.put_value(Metric.of("Shop", "Requests"), 1.0)
    twin.store.put_value(Metric.of("Other", "Latency"), 1.0)
    assert len(cloudwatch.list_metrics()["Metrics"]) == 4
    assert len(cloudwatch.list_metrics(Namespace="Shop", MetricName="Latency")["Metrics"]) == 2
    found = cloudwatch.list_metrics(
        Namespace="Shop", Dimensions=[{"Name": "Service", "Value": "api"}, {"Name": "Color"}]
    )
    assert found["Metrics"] == [
        {
            "Namespace": "Shop",
            "MetricName": "Latency",
            "Dimensions": [{"Name": "Color", "Value": "blue"}, {"Name": "Service", "Value": "api"}],
        }
    ]


def test_list_metrics_pages(twin: Twin) -> None:
    for index in range(1201):
        twin.store.put_value(Metric.of("Many", f"m{index:04}"), 1.0)
    pages = list(twin.client("cloudwatch").get_paginator("list_metrics").paginate(Namespace="Many"))
    assert [len(page["Metrics"]) for page in pages] == [500, 500, 201]


def test_refusals(cloudwatch: Any) -> None:
    def put(datum: dict[str, Any], namespace: str = "Shop") -> str:
        return refusal(cloudwatch.put_metric_data, Namespace=namespace, MetricData=[{"MetricName": "m", **datum}])

    assert put({"Value": 1.0}, "AWS/ECS") == "InvalidParameterValue"
    assert put({}) in ("MissingParameter", "MissingRequiredParameterException")
    assert put({"Value": 1.0, "Values": [1.0]}) == "InvalidParameterCombination"
    assert put({"Values": [1.0, 2.0], "Counts": [1.0]}) == "InvalidParameterValue"
    assert put({"Value": 1.0, "Timestamp": at(-15 * 86400)}) == "InvalidParameterValue"
    assert put({"Value": 2.0**400}) == "InvalidParameterValue"

    def statistics(**changes: Any) -> str:
        params = {
            "Namespace": "Shop",
            "MetricName": "m",
            "StartTime": at(0),
            "EndTime": at(60),
            "Period": 60,
            "Statistics": ["Sum"],
        }
        return refusal(cloudwatch.get_metric_statistics, **(params | changes))

    assert statistics(Period=61) == "InvalidParameterValue"
    assert statistics(EndTime=at(0)) == "InvalidParameterValue"
    assert statistics(EndTime=at(1441 * 60)) == "InvalidParameterCombination"
    assert statistics(ExtendedStatistics=["p100.1"]) == "InvalidParameterValue"

    def data(*queries: dict[str, Any]) -> str:
        return refusal(cloudwatch.get_metric_data, MetricDataQueries=list(queries), StartTime=at(0), EndTime=at(60))

    assert data({"Id": "e1", "Expression": "m1 +"}) == "ValidationError"
    assert data({"Id": "e1", "Expression": "m1"}) == "ValidationError"
    assert data({"Id": "e1"}) == "ValidationError"
    stat = {"Metric": {"Namespace": "Shop", "MetricName": "m"}, "Period": 60, "Stat": "p95x"}
    assert data({"Id": "m1", "MetricStat": stat}) == "ValidationError"


def test_what_is_not_done_says_so(cloudwatch: Any) -> None:
    with pytest.raises(ClientError, match="The twin does not do cloudwatch's PutDashboard"):
        cloudwatch.put_dashboard(DashboardName="d", DashboardBody="{}")


def test_period_scale_shortens_periods_and_leaves_times_real() -> None:
    clock = Clock(START)
    store = MetricStore(period_scale=0.05, visibility_delay_s=60, clock=clock)
    metric = Metric.of("Shop", "Requests")
    for second in range(9):
        clock.now = START + second
        store.put_value(metric, 1.0)
    clock.now = START + 10
    found = store.aggregate(metric, START, START + 9, 60)
    # A minute lasts 3 s, and so does the delay: what came after START + 7 is not visible yet.
    assert {moment - START: bucket.summary.total for moment, bucket in found.items()} == {0: 3, 3: 3, 6: 2}
    clock.now = START + 12
    assert store.aggregate(metric, START, START + 9, 60)[START + 6].summary.total == 3
    assert store.grid(START, START + 9, 60) == (START, START + 3, START + 6)


def test_a_start_within_a_period_takes_the_whole_period() -> None:
    store = MetricStore(clock=Clock(START + 60))
    store.put_value(Metric.of("Shop", "m"), 1.0, timestamp=START + 1)
    assert list(store.aggregate(Metric.of("Shop", "m"), START + 30, START + 60, 60)) == [START]


def test_units_are_kept_apart(twin: Twin) -> None:
    metric = Metric.of("Shop", "size")
    twin.store.put_value(metric, 1.0, unit="Bytes")
    twin.store.put_value(metric, 5.0, unit="Count")
    client = twin.client("cloudwatch")
    params: dict[str, Any] = {
        "Namespace": "Shop",
        "MetricName": "size",
        "StartTime": at(0),
        "EndTime": at(60),
        "Period": 60,
        "Statistics": ["Sum"],
    }
    points = client.get_metric_statistics(**params)["Datapoints"]
    assert sorted((point["Unit"], point["Sum"]) for point in points) == [("Bytes", 1.0), ("Count", 5.0)]
    assert [point["Sum"] for point in client.get_metric_statistics(**params, Unit="Count")["Datapoints"]] == [5.0]
