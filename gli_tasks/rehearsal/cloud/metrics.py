"""The twin's CloudWatch metrics: samples in memory, aggregated when they are asked for.

How periods are scaled, the one rule: timestamps are real, always. A period of P seconds, wherever one is named
(GetMetricData, GetMetricStatistics, alarms), is aggregated over P x ``period_scale`` real seconds, and data points are
stamped with the real start of that shorter period. The visibility delay is scaled by the same factor. With the default
of 1.0 nothing is scaled. Periods are aligned to whole multiples of the (scaled) period since the epoch.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gli_tasks.rehearsal.cloud.statistics import Bucket, StatisticSet, make_bucket

RETENTION_S = 15 * 86400.0
"""How long samples are kept; AWS keeps one-minute data points as long."""


@dataclass(frozen=True, slots=True, order=True)
class Metric:
    """What identifies a metric: namespace, name and the sorted dimensions."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, namespace: str, name: str, dimensions: Iterable[tuple[str, str]] = ()) -> Metric:
        """Make the identity with its dimensions in order."""
        return cls(namespace, name, tuple(sorted(dimensions)))


@dataclass(frozen=True, slots=True)
class Sample:
    """What one call sent for one metric at one instant (``timestamp``: epoch seconds)."""

    timestamp: float
    values: tuple[tuple[float, float], ...] = ()
    """(value, count) pairs."""
    summary: StatisticSet | None = None
    unit: str = "None"


@dataclass(slots=True)
class _Series:
    timestamps: list[float] = field(default_factory=list)
    samples: list[tuple[float, Sample]] = field(default_factory=list)  # (visible from, sample), ordered by timestamp


class MetricStore:
    """Holds samples and answers aggregates of them; safe to use from any thread.

    ``period_scale``: see the module. ``visibility_delay_s``: how long after it was received a sample is hidden, in
    AWS's seconds (AWS's load balancer metrics take a minute or two), multiplied by ``period_scale``.
    """

    def __init__(
        self,
        *,
        period_scale: float = 1.0,
        visibility_delay_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if period_scale <= 0:
            raise ValueError(f"period_scale must be above 0, not {period_scale}")
        self._period_scale = period_scale
        self._visibility_delay_s = visibility_delay_s * period_scale
        self._clock = clock
        self._lock = threading.Lock()
        self._series: dict[Metric, _Series] = {}

    @property
    def period_scale(self) -> float:
        """Return the factor between a period's name and its real length."""
        return self._period_scale

    def real_period_s(self, period_s: float) -> float:
        """Return how many real seconds a period of ``period_s`` lasts in this store."""
        return period_s * self._period_scale

    def now(self) -> float:
        """Return the store's clock, in epoch seconds."""
        return self._clock()

    def put(self, samples: Iterable[tuple[Metric, Sample]]) -> None:
        """Keep samples; samples older than RETENTION_S are dropped on the way."""
        now = self._clock()
        with self._lock:
            for metric, sample in samples:
                series = self._series.setdefault(metric, _Series())
                index = bisect_right(series.timestamps, sample.timestamp)
                series.timestamps.insert(index, sample.timestamp)
                series.samples.insert(index, (now + self._visibility_delay_s, sample))
                expired = bisect_left(series.timestamps, now - RETENTION_S)
                if expired:
                    del series.timestamps[:expired]
                    del series.samples[:expired]

    def put_value(self, metric: Metric, value: float, *, unit: str = "None", timestamp: float | None = None) -> None:
        """Keep one measured value, by default as of now."""
        self.put([(metric, Sample(self._clock() if timestamp is None else timestamp, ((value, 1.0),), unit=unit))])

    def metrics(self) -> list[Metric]:
        """Return every metric that has a visible sample, in order."""
        now = self._clock()
        with self._lock:
            known = [
                metric
                for metric, series in self._series.items()
                if any(visible_from <= now for visible_from, _ in series.samples)
            ]
        return sorted(known)

    def align(self, timestamp: float, period_s: float) -> float:
        """Return the start of the period that ``timestamp`` falls into, in epoch seconds."""
        real = self.real_period_s(period_s)
        return round(math.floor(round(timestamp / real, 6)) * real, 6)

    def grid(self, start: float, end: float, period_s: float) -> tuple[float, ...]:
        """Return the starts of all periods from the one ``start`` falls into to the last that starts before ``end``."""
        real = self.real_period_s(period_s)
        first = math.floor(round(start / real, 6))
        last = math.ceil(round(end / real, 6))
        return tuple(round(index * real, 6) for index in range(first, last))

    def aggregate(
        self, metric: Metric, start: float, end: float, period_s: float, unit: str | None = None
    ) -> dict[float, Bucket]:
        """Return a bucket for each period with samples, by the period's start in epoch seconds, oldest first.

        ``start`` is rounded down to its period; samples at or after ``end`` are left out. ``unit`` None takes all.
        """
        start = self.align(start, period_s)
        grouped: dict[float, list[Sample]] = {}
        for sample in self._visible(metric, start, end):
            if unit is None or sample.unit == unit:
                grouped.setdefault(self.align(sample.timestamp, period_s), []).append(sample)
        buckets: dict[float, Bucket] = {}
        for period_start, samples in grouped.items():
            bucket = _bucket_of(samples)
            if bucket is not None:
                buckets[period_start] = bucket
        return buckets

    def units(self, metric: Metric, start: float, end: float) -> list[str]:
        """Return the units in which samples between ``start`` and ``end`` came, in order."""
        return sorted({sample.unit for sample in self._visible(metric, start, end)})

    def _visible(self, metric: Metric, start: float, end: float) -> list[Sample]:
        now = self._clock()
        with self._lock:
            series = self._series.get(metric)
            if series is None:
                return []
            first = bisect_left(series.timestamps, start)
            last = bisect_left(series.timestamps, end)
            found = series.samples[first:last]
        return [sample for visible_from, sample in found if visible_from <= now]


def _bucket_of(samples: Sequence[Sample]) -> Bucket | None:
    return make_bucket(
        (pair for sample in samples for pair in sample.values),
        (sample.summary for sample in samples if sample.summary is not None),
    )
