"""When an alarm changes its state: pure functions over data points.

AWS looks at more periods than the alarm names (the evaluation range) and prefers real data points: with at least N of
them in the range, the newest N decide and missing ones do not matter. With fewer, the alarm's treatment of missing data
fills up to N. For ``missing`` and ``ignore`` a real data point within the threshold keeps the alarm OK; breaching ones
alone raise it early only when the oldest of them is at least M periods old.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gli_tasks.rehearsal.cloud.statistics import Kind, Statistic

EXTRA_PERIODS = 2
"""How many periods beyond ``EvaluationPeriods`` are looked at. AWS does not tell; its own examples show 2."""


class AlarmState(StrEnum):
    """CloudWatch's alarm states."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class MissingData(StrEnum):
    """What an alarm makes of periods without a data point."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_WORDS = {
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "GreaterThanThreshold": "greater than",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}
COMPARISON_OPERATORS = tuple(_COMPARISONS)


@dataclass(frozen=True, slots=True)
class DataPoint:
    """The value of one period; ``period_start`` in epoch seconds."""

    period_start: float
    value: float
    too_few_samples: bool = False
    """A percentile of fewer samples than it needs to mean something."""


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """The part of an alarm that decides: M (``datapoints_to_alarm``) of N (``evaluation_periods``) must breach."""

    comparison_operator: str
    threshold: float
    evaluation_periods: int
    datapoints_to_alarm: int
    missing_data: MissingData = MissingData.MISSING
    ignores_few_samples: bool = False

    def breaches(self, value: float) -> bool:
        """Tell whether a value violates the threshold."""
        return _COMPARISONS[self.comparison_operator](value, self.threshold)

    @property
    def comparison_words(self) -> str:
        """Return the comparison as AWS's state reasons word it."""
        return _WORDS[self.comparison_operator]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the data points say; ``state`` None keeps the current one."""

    state: AlarmState | None
    points: tuple[DataPoint, ...]
    """The data points that decided, oldest first."""
    filled: int
    """How many missing data points were filled in."""


def decide(rule: AlarmRule, newest_last: Sequence[DataPoint | None]) -> Verdict:
    """Judge the data points of the evaluation range, the newest last, None where a period has none."""
    real = [point for point in newest_last if point is not None]
    wanted = rule.evaluation_periods
    points = tuple(real[-wanted:])
    filled = max(0, wanted - len(points))
    if rule.ignores_few_samples and any(point.too_few_samples for point in points):
        return Verdict(None, points, filled)
    breaching = sum(rule.breaches(point.value) for point in points)
    if filled and rule.missing_data is MissingData.BREACHING:
        breaching += filled
    if breaching >= rule.datapoints_to_alarm:
        return Verdict(AlarmState.ALARM, points, filled)
    if not filled or rule.missing_data in (MissingData.BREACHING, MissingData.NOT_BREACHING):
        return Verdict(AlarmState.OK, points, filled)
    if any(not rule.breaches(point.value) for point in points):
        return Verdict(AlarmState.OK, points, filled)
    if rule.missing_data is MissingData.IGNORE:
        return Verdict(None, points, filled)
    if not points:
        return Verdict(AlarmState.INSUFFICIENT_DATA, points, filled)
    oldest = next(index for index, point in enumerate(newest_last) if point is not None)
    age = len(newest_last) - oldest
    return Verdict(AlarmState.ALARM if age >= rule.datapoints_to_alarm else None, points, filled)


def has_too_few_samples(statistic: Statistic, sample_count: float) -> bool:
    """Tell whether a percentile has too few samples to be significant, by AWS's rule (10 beyond the percentile)."""
    if statistic.kind is not Kind.PERCENTILE:
        return False
    share = statistic.high / 100
    tail = 1 - share if share >= 0.5 else share
    return tail <= 0 or sample_count < 10 / tail - 1e-9
