"""CloudWatch's statistics over the samples of one period: pure functions, no clock and no store.

Percentiles are nearest-rank: the smallest sample that at least the asked share of all samples does not exceed, so a
percentile is always a value that was really measured. (AWS computes them from a sketch and may be off by a percent.)
Statistic names: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class UnknownStatistic(ValueError):
    """The text names no statistic of CloudWatch."""


class Kind(StrEnum):
    """What a statistic computes; the values are CloudWatch's own spelling."""

    SAMPLE_COUNT = "SampleCount"
    AVERAGE = "Average"
    SUM = "Sum"
    MINIMUM = "Minimum"
    MAXIMUM = "Maximum"
    PERCENTILE = "p"
    TRIMMED_MEAN = "TM"
    TRIMMED_COUNT = "TC"
    TRIMMED_SUM = "TS"
    WINSORIZED_MEAN = "WM"
    PERCENTILE_RANK = "PR"


BASIC_KINDS = (Kind.SAMPLE_COUNT, Kind.AVERAGE, Kind.SUM, Kind.MINIMUM, Kind.MAXIMUM)


@dataclass(frozen=True, slots=True)
class Statistic:
    """One parsed statistic; bounds are shares in percent, or values when ``by_value``."""

    kind: Kind
    low: float = 0.0
    high: float = 100.0
    by_value: bool = False

    @property
    def needs_distribution(self) -> bool:
        """Tell whether a statistic set (count, sum, minimum, maximum) is not enough to compute it."""
        return self.kind not in BASIC_KINDS


@dataclass(frozen=True, slots=True)
class StatisticSet:
    """Samples that were summed up before they were sent."""

    sample_count: float
    total: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """All samples of one metric in one period: (value, how often) pairs sorted by value, and their summary."""

    distribution: tuple[tuple[float, float], ...]
    summary: StatisticSet
    is_complete: bool
    """Every sample is in ``distribution``; False when a wide statistic set fell into the period."""


_PERCENTILE = re.compile(r"p(\d{1,3}(?:\.\d{1,10})?)")
_SHORT_RANGE = re.compile(r"(tm|tc|ts|wm)(\d{1,3}(?:\.\d{1,10})?)")
_LONG_RANGE = re.compile(r"(TM|TC|TS|WM|PR)\((-?[\d.]+)?(%)?:(-?[\d.]+)?(%)?\)")


def parse_statistic(text: str) -> Statistic:
    """Read a statistic's name: ``Average``, ``p99.9``, ``tm95``, ``TM(10%:90%)``, ``TC(:0.5)``, ``PR(:300)``, ``IQM``.

    Raises UnknownStatistic.
    """
    for kind in BASIC_KINDS:
        if text == kind.value:
            return Statistic(kind)
    if text == "IQM":
        return Statistic(Kind.TRIMMED_MEAN, 25.0, 75.0)
    if match := _PERCENTILE.fullmatch(text):
        return Statistic(Kind.PERCENTILE, 0.0, _share(match[1], text))
    if match := _SHORT_RANGE.fullmatch(text):
        return Statistic(Kind(match[1].upper()), 0.0, _share(match[2], text))
    if match := _LONG_RANGE.fullmatch(text):
        return _parse_range(match, text)
    raise UnknownStatistic(text)


def _parse_range(match: re.Match[str], text: str) -> Statistic:
    kind, low, low_percent, high, high_percent = match.groups()
    by_share = bool(low_percent or high_percent)
    if low is None and high is None:
        raise UnknownStatistic(text)
    if by_share and ((low and not low_percent) or (high and not high_percent) or kind == "PR"):
        raise UnknownStatistic(text)
    try:
        if by_share:
            return Statistic(Kind(kind), _share(low or "0", text), _share(high or "100", text))
        bounds = (float(low) if low else -math.inf, float(high) if high else math.inf)
    except ValueError as error:
        raise UnknownStatistic(text) from error
    return Statistic(Kind(kind), *bounds, by_value=True)


def _share(text: str, whole: str) -> float:
    share = float(text)
    if not 0 <= share <= 100:
        raise UnknownStatistic(whole)
    return share


def make_bucket(values: Iterable[tuple[float, float]], sets: Iterable[StatisticSet]) -> Bucket | None:
    """Put samples (value, count) and statistic sets together; None when there is not one sample."""
    counted: dict[float, float] = {}
    for value, count in values:
        if count > 0:
            counted[value] = counted.get(value, 0.0) + count
    is_complete = True
    wide: list[StatisticSet] = []
    for one in sets:
        if one.sample_count <= 0:
            continue
        # AWS keeps percentiles for statistic sets whose samples are known to be all equal.
        if one.minimum == one.maximum:
            counted[one.minimum] = counted.get(one.minimum, 0.0) + one.sample_count
        else:
            is_complete = False
            wide.append(one)
    if not counted and not wide:
        return None
    distribution = tuple(sorted(counted.items()))
    lowest = [one.minimum for one in wide] + [value for value, _ in distribution[:1]]
    highest = [one.maximum for one in wide] + [value for value, _ in distribution[-1:]]
    return Bucket(
        distribution,
        StatisticSet(
            sample_count=math.fsum(count for _, count in distribution) + math.fsum(one.sample_count for one in wide),
            total=math.fsum([value * count for value, count in distribution] + [one.total for one in wide]),
            minimum=min(lowest),
            maximum=max(highest),
        ),
        is_complete,
    )


def compute(statistic: Statistic, bucket: Bucket) -> float | None:
    """Compute a statistic; None where the samples cannot tell it (percentiles of a wide statistic set)."""
    summary = bucket.summary
    match statistic.kind:
        case Kind.SAMPLE_COUNT:
            return summary.sample_count
        case Kind.SUM:
            return summary.total
        case Kind.AVERAGE:
            return summary.total / summary.sample_count
        case Kind.MINIMUM:
            return summary.minimum
        case Kind.MAXIMUM:
            return summary.maximum
    if not bucket.is_complete:
        return None
    if statistic.kind is Kind.PERCENTILE:
        return _percentile(bucket, statistic.high)
    if statistic.kind is Kind.PERCENTILE_RANK:
        return 100.0 * math.fsum(count for _, count in _kept(bucket, statistic)) / summary.sample_count
    if statistic.kind is Kind.WINSORIZED_MEAN:
        return _winsorized_mean(bucket, statistic)
    kept = _kept(bucket, statistic)
    count = math.fsum(count for _, count in kept)
    total = math.fsum(value * count for value, count in kept)
    if statistic.kind is Kind.TRIMMED_COUNT:
        return count
    if statistic.kind is Kind.TRIMMED_SUM:
        return total
    return total / count if count else None


def _percentile(bucket: Bucket, share: float) -> float:
    rank = share / 100 * bucket.summary.sample_count
    reached = 0.0
    for value, count in bucket.distribution:
        reached += count
        # 1e-9: 99.9 / 100 * 1000 is 999.0000000000001, and that must not ask for the 1000th sample.
        if reached >= rank - 1e-9 * max(1.0, rank):
            return value
    return bucket.distribution[-1][0]


def _kept(bucket: Bucket, statistic: Statistic) -> list[tuple[float, float]]:
    if statistic.by_value:
        return [(value, count) for value, count in bucket.distribution if statistic.low < value <= statistic.high]
    first = statistic.low / 100 * bucket.summary.sample_count
    last = statistic.high / 100 * bucket.summary.sample_count
    kept: list[tuple[float, float]] = []
    reached = 0.0
    for value, count in bucket.distribution:
        overlap = min(reached + count, last) - max(reached, first)
        if overlap > 0:
            kept.append((value, overlap))
        reached += count
    return kept


def _winsorized_mean(bucket: Bucket, statistic: Statistic) -> float:
    if statistic.by_value:
        low, high = statistic.low, statistic.high
    else:
        low, high = _percentile(bucket, statistic.low), _percentile(bucket, statistic.high)
    clipped = math.fsum(min(max(value, low), high) * count for value, count in bucket.distribution)
    return clipped / bucket.summary.sample_count
