"""The texts that CloudWatch writes about alarms: state reasons, history, SNS messages. Wording follows AWS's."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from gli_tasks.rehearsal.cloud.alarm_facts import Alarm, AlarmDefinition
from gli_tasks.rehearsal.cloud.alarm_rules import AlarmRule, AlarmState, MissingData, Verdict

_REGION_NAMES = {
    "ap-northeast-2": "Asia Pacific (Seoul)",
    "ap-northeast-1": "Asia Pacific (Tokyo)",
    "us-east-1": "US East (N. Virginia)",
    "us-west-2": "US West (Oregon)",
    "eu-west-1": "EU (Ireland)",
    "eu-central-1": "EU (Frankfurt)",
}


def _moment(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%d/%m/%y %H:%M:%S")


def _iso(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def state_reason(rule: AlarmRule, verdict: Verdict, state: AlarmState) -> str:
    """Word why an alarm took a state."""
    if state is AlarmState.INSUFFICIENT_DATA:
        return f"Insufficient Data: {verdict.filled} {_plural(verdict.filled)} were unknown."
    from_to = "OK -> ALARM" if state is AlarmState.ALARM else "ALARM -> OK"
    needed = rule.datapoints_to_alarm if state is AlarmState.ALARM else _needed_for_ok(rule)
    transition = f"(minimum {needed} {_plural(needed)} for {from_to} transition)"
    if not verdict.points:
        treated = "breaching" if rule.missing_data is MissingData.BREACHING else "nonBreaching"
        return (
            f"Threshold Crossed: no datapoints were received for {verdict.filled} periods "
            f"and {verdict.filled} missing {_plural(verdict.filled)} were treated as [{treated.capitalize()}]."
        )
    wanted = state is AlarmState.ALARM
    relevant = [point for point in verdict.points if rule.breaches(point.value) is wanted] or list(verdict.points)
    listed = ", ".join(f"{point.value!r} ({_moment(point.period_start)})" for point in relevant)
    was = "was" if len(relevant) == 1 else "were"
    negation = "" if wanted else "not "
    return (
        f"Threshold Crossed: {len(relevant)} out of the last {rule.evaluation_periods} datapoints [{listed}] {was} "
        f"{negation}{rule.comparison_words} the threshold ({rule.threshold!r}) {transition}."
    )


def _needed_for_ok(rule: AlarmRule) -> int:
    return rule.evaluation_periods - rule.datapoints_to_alarm + 1


def _plural(count: int) -> str:
    return "datapoint" if count == 1 else "datapoints"


def reason_data(definition: AlarmDefinition, period_s: int, verdict: Verdict, now: float) -> str:
    """Return the JSON of ``StateReasonData``."""
    data: dict[str, object] = {
        "version": "1.0",
        "queryDate": _iso(now),
        "period": period_s,
        "recentDatapoints": [point.value for point in verdict.points],
        "threshold": definition.rule.threshold,
        "evaluatedDatapoints": [
            {"timestamp": _iso(point.period_start), "value": point.value} for point in reversed(verdict.points)
        ],
    }
    if definition.source is not None:
        data["statistic"] = definition.source.statistic
    if verdict.points:
        data["startDate"] = _iso(verdict.points[0].period_start)
    return json.dumps(data)


def history_data(before: Alarm, after: Alarm, verdict: Verdict | None) -> str:
    """Return the JSON of a StateUpdate in the history."""

    def state(alarm: Alarm) -> dict[str, object]:
        facts: dict[str, object] = {"stateValue": alarm.state.value, "stateReason": alarm.state_reason}
        if alarm.state_reason_data is not None:
            facts["stateReasonData"] = json.loads(alarm.state_reason_data)
        return facts

    data: dict[str, object] = {"version": "1.0", "oldState": state(before), "newState": state(after)}
    if verdict is None:
        data["type"] = "SetAlarmState"
    return json.dumps(data)


def subject(alarm: Alarm, region: str) -> str:
    """Return the subject of an SNS message, at most 100 characters as SNS demands."""
    return f'{alarm.state.value}: "{alarm.definition.name}" in {_REGION_NAMES.get(region, region)}'[:100]


def notification(before: Alarm, after: Alarm, period_s: int, account: str, region: str) -> str:
    """Return the JSON message that an SNS topic is sent."""
    definition = after.definition
    rule = definition.rule
    trigger: dict[str, object] = {
        "Period": period_s,
        "EvaluationPeriods": rule.evaluation_periods,
        "DatapointsToAlarm": rule.datapoints_to_alarm,
        "ComparisonOperator": rule.comparison_operator,
        "Threshold": rule.threshold,
        "TreatMissingData": rule.missing_data.value,
        "EvaluateLowSampleCountPercentile": definition.low_sample_percentile or "",
    }
    if definition.source is not None:
        metric = definition.source.metric
        trigger |= {
            "MetricName": metric.name,
            "Namespace": metric.namespace,
            "Dimensions": [{"name": name, "value": value} for name, value in metric.dimensions],
            "Statistic": definition.source.statistic,
            "Unit": definition.source.unit,
        }
    else:
        trigger["Metrics"] = [
            {"Id": query.query_id, "Expression": query.expression, "ReturnData": query.return_data}
            for query in definition.queries
        ]
    return json.dumps(
        {
            "AlarmName": definition.name,
            "AlarmDescription": definition.description,
            "AWSAccountId": account,
            "AlarmConfigurationUpdatedTimestamp": _iso(after.configured_at),
            "NewStateValue": after.state.value,
            "NewStateReason": after.state_reason,
            "StateChangeTime": _iso(after.state_changed_at),
            "Region": _REGION_NAMES.get(region, region),
            "AlarmArn": after.arn,
            "OldStateValue": before.state.value,
            "OKActions": list(definition.ok_actions),
            "AlarmActions": list(definition.alarm_actions),
            "InsufficientDataActions": list(definition.insufficient_data_actions),
            "Trigger": trigger,
        }
    )
