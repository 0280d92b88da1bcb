"""The twin's CloudWatch (``monitoring``): metrics, metric math and alarms; see ``metrics`` for how periods are scaled.

Done: PutMetricData, GetMetricStatistics, GetMetricData, ListMetrics, PutMetricAlarm (one metric, or metric math),
DescribeAlarms, DescribeAlarmsForMetric, DescribeAlarmHistory, DeleteAlarms, SetAlarmState, EnableAlarmActions,
DisableAlarmActions and tags of alarms. Every other operation is answered as not done by the twin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from gli_tasks.rehearsal.cloud.alarm_facts import Alarm
from gli_tasks.rehearsal.cloud.alarm_rules import AlarmState
from gli_tasks.rehearsal.cloud.alarm_wire import read_alarm, write_alarm, write_history
from gli_tasks.rehearsal.cloud.alarms import AlarmBook
from gli_tasks.rehearsal.cloud.expression_syntax import ExpressionError
from gli_tasks.rehearsal.cloud.metric_queries import QuerySet
from gli_tasks.rehearsal.cloud.metric_wire import (
    invalid_combination,
    invalid_value,
    moment,
    read_dimensions,
    read_period,
    read_query,
    read_sample,
    write_dimensions,
)
from gli_tasks.rehearsal.cloud.metrics import Metric, MetricStore
from gli_tasks.rehearsal.cloud.statistics import Bucket, Statistic, UnknownStatistic, compute, parse_statistic
from gli_tasks.rehearsal.wire import AwsError, AwsService, RequestContext

MAXIMUM_DATA_POINTS = 1440
METRICS_PAGE = 500
ALARMS_PAGE = 50
_Item = TypeVar("_Item")


class CloudWatchService(AwsService):
    """CloudWatch's face of a metric store and an alarm book."""

    validation_error_code = "ValidationError"

    def __init__(self, store: MetricStore, alarms: AlarmBook) -> None:
        super().__init__("cloudwatch")
        self._store = store
        self._alarms = alarms

    # Metrics

    def put_metric_data(self, _request: RequestContext, params: dict[str, Any]) -> None:
        """Keep what was sent: all of it, or nothing when one datum is wrong."""
        namespace = params["Namespace"]
        if namespace.startswith("AWS/"):
            raise invalid_value(f"The value {namespace} for parameter Namespace is invalid.")
        data = list(params.get("MetricData") or ())
        for entity in params.get("EntityMetricData") or ():
            data.extend(entity.get("MetricData") or ())
        if not data:
            raise AwsError("MissingParameter", "The parameter MetricData is required.")
        now = self._store.now()
        self._store.put(
            [
                (
                    Metric(namespace, datum["MetricName"], read_dimensions(datum.get("Dimensions"))),
                    read_sample(datum, index, now),
                )
                for index, datum in enumerate(data, 1)
            ]
        )

    def get_metric_statistics(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Return the data points of one metric, one list for each unit that its samples came in."""
        basic, extended = params.get("Statistics") or [], params.get("ExtendedStatistics") or []
        if not basic and not extended:
            raise AwsError("MissingParameter", "Must specify either Statistics or ExtendedStatistics")
        period_s = read_period(params["Period"])
        start, end = _range(params, "The parameter StartTime must be less than the parameter EndTime.")
        if (end - start) / period_s > MAXIMUM_DATA_POINTS:
            raise invalid_combination(
                f"You have requested up to {(end - start) / period_s:,.0f} datapoints, which exceeds the limit of "
                f"{MAXIMUM_DATA_POINTS:,}. You may reduce the datapoints requested by increasing Period, or decreasing "
                "the time range."
            )
        parsed = {name: _statistic(name) for name in (*basic, *extended)}
        metric = Metric(params["Namespace"], params["MetricName"], read_dimensions(params.get("Dimensions")))
        wanted = params.get("Unit")
        points: list[dict[str, Any]] = []
        for unit in [wanted] if wanted else self._store.units(metric, start, end):
            for period_start, bucket in self._store.aggregate(metric, start, end, period_s, unit).items():
                point = _data_point(bucket, parsed, basic, extended)
                if point:
                    points.append({"Timestamp": moment(period_start), "Unit": unit, **point})
        return {"Label": metric.name, "Datapoints": points}

    def get_metric_data(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Answer metric queries and metric math, on a single page."""
        start, end = _range(
            params, "The parameter StartTime must be less than the parameter EndTime.", "ValidationError"
        )
        if params.get("NextToken"):
            raise AwsError("InvalidNextToken", "The twin answers GetMetricData on one page and gave no token.")
        queries = [read_query(query) for query in params["MetricDataQueries"]]
        try:
            results = QuerySet(queries).run(self._store, start, end)
        except UnknownStatistic as error:
            raise AwsError("ValidationError", f"The value {error} for parameter Stat is not supported.") from error
        except ExpressionError as error:
            raise AwsError("ValidationError", str(error)) from error
        newest_first = params.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        answers: list[dict[str, Any]] = []
        for result in results:
            moments = sorted(result.series, reverse=newest_first)
            answers.append(
                {
                    "Id": result.query_id,
                    "Label": result.label,
                    "Timestamps": [moment(one) for one in moments],
                    "Values": [result.series[one] for one in moments],
                    "StatusCode": "Complete",
                }
            )
        return {"MetricDataResults": answers, "Messages": []}

    def list_metrics(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """List the metrics that have samples; dimension filters match as on AWS, by name or by name and value."""
        filters = [(one["Name"], one.get("Value")) for one in params.get("Dimensions") or ()]
        found = [
            metric
            for metric in self._store.metrics()
            if params.get("Namespace") in (None, metric.namespace)
            and params.get("MetricName") in (None, metric.name)
            and all(_has_dimension(metric, name, value) for name, value in filters)
        ]
        page, token = _page(found, params.get("NextToken"), METRICS_PAGE)
        listed = [
            {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": write_dimensions(metric)}
            for metric in page
        ]
        return {"Metrics": listed, "NextToken": token}

    # Alarms

    def put_metric_alarm(self, _request: RequestContext, params: dict[str, Any]) -> None:
        """Create or replace an alarm."""
        definition = read_alarm(params)
        tags = {tag["Key"]: tag["Value"] for tag in params.get("Tags") or ()}
        try:
            self._alarms.put(definition, tags)
        except UnknownStatistic as error:
            raise AwsError("ValidationError", f"The value {error} for parameter Stat is not supported.") from error
        except ExpressionError as error:
            raise AwsError("ValidationError", str(error)) from error

    def describe_alarms(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """List metric alarms; there are no composite ones."""
        names, prefix = params.get("AlarmNames"), params.get("AlarmNamePrefix")
        if names and prefix:
            raise invalid_combination("AlarmNames and AlarmNamePrefix cannot be specified together.")
        if params.get("ChildrenOfAlarmName") or params.get("ParentsOfAlarmName"):
            raise AwsError("NotImplemented", "The twin has no composite alarms.", 501)
        types = params.get("AlarmTypes") or ["MetricAlarm"]
        found = [alarm for alarm in self._alarms.alarms() if "MetricAlarm" in types and _matches(alarm, params)]
        page, token = _page(found, params.get("NextToken"), params.get("MaxRecords", 100 if names else ALARMS_PAGE))
        return {"MetricAlarms": [write_alarm(alarm) for alarm in page], "CompositeAlarms": [], "NextToken": token}

    def describe_alarms_for_metric(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """List the alarms on one metric."""
        metric = Metric(params["Namespace"], params["MetricName"], read_dimensions(params.get("Dimensions")))
        statistic = params.get("Statistic") or params.get("ExtendedStatistic")
        found: list[dict[str, Any]] = []
        for alarm in self._alarms.alarms():
            source = alarm.definition.source
            if (
                source is not None
                and source.metric == metric
                and statistic in (None, source.statistic)
                and params.get("Period") in (None, source.period_s)
                and params.get("Unit") in (None, source.unit)
            ):
                found.append(write_alarm(alarm))
        return {"MetricAlarms": found}

    def describe_alarm_history(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """List what happened to alarms, the newest first unless asked otherwise."""
        earliest, latest = params.get("StartDate"), params.get("EndDate")
        found = [
            item
            for item in self._alarms.history()
            if params.get("AlarmName") in (None, item.alarm_name)
            and params.get("HistoryItemType") in (None, item.kind)
            and (earliest is None or item.timestamp >= earliest.timestamp())
            and (latest is None or item.timestamp <= latest.timestamp())
        ]
        if params.get("ScanBy", "TimestampDescending") == "TimestampDescending":
            found.reverse()
        page, token = _page(found, params.get("NextToken"), params.get("MaxRecords", 100))
        return {"AlarmHistoryItems": [write_history(item) for item in page], "NextToken": token}

    def delete_alarms(self, _request: RequestContext, params: dict[str, Any]) -> None:
        """Delete alarms, or none of them where one does not exist (a single unknown name is no error on AWS)."""
        names = params["AlarmNames"]
        if len(names) > 1 and any(self._alarms.find(name) is None for name in names):
            raise AwsError("ResourceNotFound", "One or more of the alarms do not exist.")
        self._alarms.delete(names)

    def set_alarm_state(self, _request: RequestContext, params: dict[str, Any]) -> None:
        """Set an alarm's state until its next evaluation."""
        name = params["AlarmName"]
        if self._alarms.find(name) is None:
            raise AwsError("ResourceNotFound", f"Alarm {name} does not exist.")
        self._alarms.set_state(
            name, AlarmState(params["StateValue"]), params["StateReason"], params.get("StateReasonData")
        )

    def enable_alarm_actions(self, _request: RequestContext, params: dict[str, Any]) -> None:
        """Let alarms do their actions."""
        self._alarms.enable_actions(params["AlarmNames"], True)

    def disable_alarm_actions(self, _request: RequestContext, params: dict[str, Any]) -> None:
        """Keep alarms from doing their actions."""
        self._alarms.enable_actions(params["AlarmNames"], False)

    def tag_resource(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Tag an alarm."""
        self._tags(params).update({tag["Key"]: tag["Value"] for tag in params["Tags"]})
        return {}

    def untag_resource(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Remove tags of an alarm."""
        tags = self._tags(params)
        for key in params["TagKeys"]:
            tags.pop(key, None)
        return {}

    def list_tags_for_resource(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """List the tags of an alarm."""
        return {"Tags": [{"Key": key, "Value": value} for key, value in self._tags(params).items()]}

    def _tags(self, params: dict[str, Any]) -> dict[str, str]:
        try:
            return self._alarms.tags(params["ResourceARN"])
        except KeyError as error:
            raise AwsError("ResourceNotFoundException", f"{params['ResourceARN']} does not exist.") from error


def _range(params: dict[str, Any], complaint: str, code: str = "InvalidParameterValue") -> tuple[float, float]:
    start, end = params["StartTime"].timestamp(), params["EndTime"].timestamp()
    if start >= end:
        raise AwsError(code, complaint)
    return start, end


def _statistic(name: str) -> Statistic:
    try:
        return parse_statistic(name)
    except UnknownStatistic as error:
        raise invalid_value(f"The value {name} for parameter ExtendedStatistics is not supported.") from error


def _data_point(
    bucket: Bucket, parsed: dict[str, Statistic], basic: Sequence[str], extended: Sequence[str]
) -> dict[str, Any]:
    point: dict[str, Any] = {name: compute(parsed[name], bucket) for name in basic}
    computed = {name: compute(parsed[name], bucket) for name in extended}
    known = {name: value for name, value in computed.items() if value is not None}
    if known:
        point["ExtendedStatistics"] = known
    return point


def _has_dimension(metric: Metric, name: str, value: str | None) -> bool:
    return any(own == name and value in (None, content) for own, content in metric.dimensions)


def _matches(alarm: Alarm, params: dict[str, Any]) -> bool:
    definition = alarm.definition
    names, prefix = params.get("AlarmNames"), params.get("AlarmNamePrefix")
    actions = (*definition.alarm_actions, *definition.ok_actions, *definition.insufficient_data_actions)
    action = params.get("ActionPrefix")
    return (
        (not names or definition.name in names)
        and (prefix is None or definition.name.startswith(prefix))
        and params.get("StateValue") in (None, alarm.state.value)
        and (action is None or any(one.startswith(action) for one in actions))
    )


def _page(items: Sequence[_Item], token: str | None, size: int) -> tuple[Sequence[_Item], str | None]:
    """Cut one page; the token is the place to go on from."""
    if token is not None and not token.isdigit():
        raise AwsError("InvalidNextToken", f"{token} is not a token that was given out.")
    start = int(token or 0)
    rest = start + size
    return items[start:rest], str(rest) if rest < len(items) else None
