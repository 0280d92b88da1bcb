"""PutMetricAlarm's shape to plain facts, and alarms back to DescribeAlarms' shape."""

from __future__ import annotations

from typing import Any

from gli_tasks.rehearsal.cloud.alarm_facts import Alarm, AlarmDefinition, HistoryItem
from gli_tasks.rehearsal.cloud.alarm_rules import COMPARISON_OPERATORS, AlarmRule, MissingData
from gli_tasks.rehearsal.cloud.metric_queries import MetricSource
from gli_tasks.rehearsal.cloud.metric_wire import (
    invalid_combination,
    invalid_value,
    moment,
    read_dimensions,
    read_period,
    read_query,
    write_dimensions,
    write_query,
)
from gli_tasks.rehearsal.cloud.metrics import Metric
from gli_tasks.rehearsal.cloud.statistics import UnknownStatistic, parse_statistic
from gli_tasks.rehearsal.wire import AwsError

NOT_DONE = (
    "ThresholdMetricId",
    "EvaluationWindow",
    "WarmUpConfiguration",
    "EvaluationCriteria",
    "EvaluationInterval",
    "ActionConfiguration",
)
_OF_ONE_METRIC = ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Dimensions", "Period", "Unit")


def read_alarm(params: dict[str, Any]) -> AlarmDefinition:
    """Read a PutMetricAlarm request. Raises AwsError with CloudWatch's codes."""
    refused = [name for name in NOT_DONE if params.get(name) is not None]
    if refused:
        raise AwsError("NotImplemented", f"The twin does not do PutMetricAlarm with {', '.join(refused)}.", 501)
    for name in ("EvaluationPeriods", "ComparisonOperator", "Threshold"):
        if params.get(name) is None:
            raise AwsError("ValidationError", f"The parameter {name} is required for this alarm.")
    queries = tuple(read_query(query) for query in params.get("Metrics") or ())
    if queries:
        clashing = [name for name in _OF_ONE_METRIC if params.get(name) is not None]
        if clashing:
            raise invalid_combination(f"The parameters Metrics and {clashing[0]} cannot be specified together.")
        if sum(query.return_data for query in queries) != 1:
            raise AwsError("ValidationError", "Exactly one element of the metrics list should return data.")
    rule = _read_rule(params)
    return AlarmDefinition(
        name=params["AlarmName"],
        rule=rule,
        source=None if queries else _read_source(params),
        queries=queries,
        description=params.get("AlarmDescription"),
        actions_enabled=params.get("ActionsEnabled", True),
        alarm_actions=tuple(params.get("AlarmActions") or ()),
        ok_actions=tuple(params.get("OKActions") or ()),
        insufficient_data_actions=tuple(params.get("InsufficientDataActions") or ()),
        declares_datapoints_to_alarm=params.get("DatapointsToAlarm") is not None,
        declares_missing_data=params.get("TreatMissingData") is not None,
        low_sample_percentile=params.get("EvaluateLowSampleCountPercentile"),
    )


def _read_rule(params: dict[str, Any]) -> AlarmRule:
    if params["ComparisonOperator"] not in COMPARISON_OPERATORS:
        raise AwsError("NotImplemented", "The twin has no anomaly detection, which this ComparisonOperator needs.", 501)
    periods = params["EvaluationPeriods"]
    wanted = params.get("DatapointsToAlarm") or periods
    if wanted > periods:
        raise AwsError("ValidationError", "DatapointsToAlarm must be less than or equal to EvaluationPeriods.")
    try:
        missing = MissingData(params.get("TreatMissingData") or "missing")
    except ValueError as error:
        raise AwsError("ValidationError", f"TreatMissingData cannot be {params['TreatMissingData']}.") from error
    low_samples = params.get("EvaluateLowSampleCountPercentile")
    if low_samples not in (None, "evaluate", "ignore"):
        raise AwsError("ValidationError", f"Option {low_samples} is not supported.")
    return AlarmRule(
        params["ComparisonOperator"], float(params["Threshold"]), periods, wanted, missing, low_samples == "ignore"
    )


def _read_source(params: dict[str, Any]) -> MetricSource:
    for name in ("MetricName", "Namespace", "Period"):
        if params.get(name) is None:
            raise AwsError("ValidationError", f"The parameter {name} is required for an alarm on a metric.")
    basic, extended = params.get("Statistic"), params.get("ExtendedStatistic")
    if basic and extended:
        raise invalid_combination("You must specify either Statistic or ExtendedStatistic, but not both.")
    if not basic and not extended:
        raise AwsError("ValidationError", "At least one of Statistic and ExtendedStatistic is required.")
    name = str(basic or extended)
    try:
        statistic = parse_statistic(name)
    except UnknownStatistic as error:
        raise invalid_value(f"The value {extended} for parameter ExtendedStatistic is not supported.") from error
    if extended and not statistic.needs_distribution:
        raise invalid_value(f"The value {extended} for parameter ExtendedStatistic is not supported.")
    return MetricSource(
        Metric(params["Namespace"], params["MetricName"], read_dimensions(params.get("Dimensions"))),
        read_period(params["Period"]),
        name,
        params.get("Unit"),
    )


def write_alarm(alarm: Alarm) -> dict[str, Any]:
    """Write one MetricAlarm."""
    definition, rule = alarm.definition, alarm.definition.rule
    facts: dict[str, Any] = {
        "AlarmName": definition.name,
        "AlarmArn": alarm.arn,
        "AlarmDescription": definition.description,
        "AlarmConfigurationUpdatedTimestamp": moment(alarm.configured_at),
        "ActionsEnabled": definition.actions_enabled,
        "OKActions": list(definition.ok_actions),
        "AlarmActions": list(definition.alarm_actions),
        "InsufficientDataActions": list(definition.insufficient_data_actions),
        "StateValue": alarm.state.value,
        "StateReason": alarm.state_reason,
        "StateReasonData": alarm.state_reason_data,
        "StateUpdatedTimestamp": moment(alarm.state_updated_at),
        "StateTransitionedTimestamp": moment(alarm.state_changed_at),
        "EvaluationPeriods": rule.evaluation_periods,
        "DatapointsToAlarm": rule.datapoints_to_alarm if definition.declares_datapoints_to_alarm else None,
        "Threshold": rule.threshold,
        "ComparisonOperator": rule.comparison_operator,
        "TreatMissingData": rule.missing_data.value if definition.declares_missing_data else None,
        "EvaluateLowSampleCountPercentile": definition.low_sample_percentile,
        "Dimensions": [],
    }
    source = definition.source
    if source is None:
        return facts | {"Metrics": [write_query(query) for query in definition.queries]}
    is_basic = not parse_statistic(source.statistic).needs_distribution
    return facts | {
        "MetricName": source.metric.name,
        "Namespace": source.metric.namespace,
        "Dimensions": write_dimensions(source.metric),
        "Period": source.period_s,
        "Unit": source.unit,
        "Statistic": source.statistic if is_basic else None,
        "ExtendedStatistic": None if is_basic else source.statistic,
    }


def write_history(item: HistoryItem) -> dict[str, Any]:
    """Write one AlarmHistoryItem."""
    return {
        "AlarmName": item.alarm_name,
        "AlarmType": "MetricAlarm",
        "Timestamp": moment(item.timestamp),
        "HistoryItemType": item.kind,
        "HistorySummary": item.summary,
        "HistoryData": item.data,
    }
