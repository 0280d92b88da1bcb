"""CloudWatch's metric shapes to plain facts and back. Raises AwsError with CloudWatch's own codes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from gli_tasks.rehearsal.cloud.metric_queries import MetricQuery, MetricSource
from gli_tasks.rehearsal.cloud.metrics import Metric, Sample
from gli_tasks.rehearsal.cloud.statistics import StatisticSet
from gli_tasks.rehearsal.wire import AwsError

OLDEST_SAMPLE_S = 14 * 86400.0
LATEST_SAMPLE_S = 2 * 3600.0
_SHORT_PERIODS = (1, 5, 10, 20, 30)
_LARGEST_VALUE = 2.0**360


def invalid_value(message: str) -> AwsError:
    """Return CloudWatch's InvalidParameterValue."""
    return AwsError("InvalidParameterValue", message)


def invalid_combination(message: str) -> AwsError:
    """Return CloudWatch's InvalidParameterCombination."""
    return AwsError("InvalidParameterCombination", message)


def moment(timestamp: float) -> datetime:
    """Return epoch seconds as the wire's datetime."""
    return datetime.fromtimestamp(timestamp, UTC)


def read_dimensions(dimensions: Iterable[dict[str, str]] | None) -> tuple[tuple[str, str], ...]:
    """Read ``Dimensions``, sorted."""
    return tuple(sorted((one["Name"], one["Value"]) for one in dimensions or ()))


def write_dimensions(metric: Metric) -> list[dict[str, str]]:
    """Write ``Dimensions``."""
    return [{"Name": name, "Value": value} for name, value in metric.dimensions]


def read_period(period_s: int) -> int:
    """Check a period in AWS's seconds."""
    if period_s in _SHORT_PERIODS or (period_s > 0 and period_s % 60 == 0):
        return period_s
    raise invalid_value("The parameter Period must be 1, 5, 10, 20, 30, or a multiple of 60")


def read_sample(datum: dict[str, Any], index: int, now: float) -> Sample:
    """Read one MetricDatum (without its metric); ``index`` is its place in the call, from 1, for the messages."""
    place = f"MetricData.member.{index}"
    given = [name for name in ("Value", "Values", "StatisticValues") if datum.get(name) is not None]
    if not given:
        raise AwsError("MissingParameter", f"At least one of the parameters {place}.Value, {place}.Values must be set")
    if len(given) > 1:
        both = " and ".join(f"{place}.{name}" for name in given)
        raise invalid_combination(f"The parameters {both} are mutually exclusive and you have specified both.")
    timestamp = datum["Timestamp"].timestamp() if datum.get("Timestamp") is not None else now
    if not now - OLDEST_SAMPLE_S <= timestamp <= now + LATEST_SAMPLE_S:
        raise invalid_value(
            f"The parameter {place}.Timestamp must specify a time within the past two weeks or the next two hours."
        )
    unit = datum.get("Unit") or "None"
    if "StatisticValues" in given:
        values = datum["StatisticValues"]
        summary = StatisticSet(*(_number(values[name], place) for name in ("SampleCount", "Sum", "Minimum", "Maximum")))
        return Sample(timestamp, (), summary, unit)
    if "Value" in given:
        return Sample(timestamp, ((_number(datum["Value"], place), 1.0),), None, unit)
    return Sample(timestamp, _read_values(datum, place), None, unit)


def _read_values(datum: dict[str, Any], place: str) -> tuple[tuple[float, float], ...]:
    values: Sequence[float] = datum["Values"]
    counts: Sequence[float] = datum.get("Counts") or [1.0] * len(values)
    if len(values) > 150:
        raise invalid_value(f"The collection {place}.Values must not have a size greater than 150.")
    if len(values) != len(counts):
        raise invalid_value(f"The parameters {place}.Values and {place}.Counts must be of the same size.")
    return tuple((_number(value, place), _number(count, place)) for value, count in zip(values, counts, strict=True))


def _number(value: float, place: str) -> float:
    if not math.isfinite(value) or abs(value) > _LARGEST_VALUE:
        raise invalid_value(f"The value {value} for parameter {place}.Value is invalid.")
    return float(value)


def read_query(query: dict[str, Any]) -> MetricQuery:
    """Read one MetricDataQuery."""
    source = None
    stat = query.get("MetricStat")
    if stat is not None:
        metric = stat["Metric"]
        if not metric.get("Namespace") or not metric.get("MetricName"):
            raise AwsError("ValidationError", f"Query {query['Id']}: Namespace and MetricName are needed in Metric.")
        source = MetricSource(
            Metric(metric["Namespace"], metric["MetricName"], read_dimensions(metric.get("Dimensions"))),
            read_period(stat["Period"]),
            stat["Stat"],
            stat.get("Unit"),
        )
    period_s = query.get("Period")
    return MetricQuery(
        query["Id"],
        source,
        query.get("Expression"),
        read_period(period_s) if period_s is not None else None,
        query.get("Label"),
        query.get("ReturnData", True),
    )


def write_query(query: MetricQuery) -> dict[str, Any]:
    """Write one MetricDataQuery."""
    stat = None
    if query.source is not None:
        metric = query.source.metric
        stat = {
            "Metric": {
                "Namespace": metric.namespace,
                "MetricName": metric.name,
                "Dimensions": write_dimensions(metric),
            },
            "Period": query.source.period_s,
            "Stat": query.source.statistic,
            "Unit": query.source.unit,
        }
    return {
        "Id": query.query_id,
        "MetricStat": stat,
        "Expression": query.expression,
        "Period": query.period_s,
        "Label": query.label,
        "ReturnData": query.return_data,
    }
