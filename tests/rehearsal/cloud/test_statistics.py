"""Statistics against a naive oracle that writes every sample out."""

from __future__ import annotations

import math
import statistics as stdlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.rehearsal.cloud.statistics import (
    Bucket,
    StatisticSet,
    UnknownStatistic,
    compute,
    make_bucket,
    parse_statistic,
)

VALUES = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False)
COUNTED = st.lists(st.tuples(VALUES, st.integers(min_value=1, max_value=40)), min_size=1, max_size=30)


def bucket_of(counted: list[tuple[float, int]]) -> Bucket:
    bucket = make_bucket(((value, float(count)) for value, count in counted), ())
    assert bucket is not None
    return bucket


def written_out(counted: list[tuple[float, int]]) -> list[float]:
    return sorted(value for value, count in counted for _ in range(count))


@given(COUNTED, st.sampled_from(["50", "75", "90", "95", "99", "99.9", "0", "100", "33.3"]))
def test_percentile_is_the_nearest_rank(counted: list[tuple[float, int]], share: str) -> None:
    samples = written_out(counted)
    tenths, count = round(float(share) * 10), len(samples)
    rank = max(1, -(-tenths * count // 1000))  # whole numbers: no rounding
    assert compute(parse_statistic(f"p{share}"), bucket_of(counted)) == samples[rank - 1]


@given(COUNTED)
def test_basic_statistics(counted: list[tuple[float, int]]) -> None:
    samples, bucket = written_out(counted), bucket_of(counted)
    assert compute(parse_statistic("SampleCount"), bucket) == len(samples)
    assert compute(parse_statistic("Sum"), bucket) == pytest.approx(math.fsum(samples), abs=1e-6)
    assert compute(parse_statistic("Average"), bucket) == pytest.approx(stdlib.fmean(samples), abs=1e-6)
    assert compute(parse_statistic("Minimum"), bucket) == samples[0]
    assert compute(parse_statistic("Maximum"), bucket) == samples[-1]


@given(COUNTED, st.integers(0, 100), st.integers(0, 100))
def test_trimmed_statistics_of_whole_ranks(counted: list[tuple[float, int]], one: int, other: int) -> None:
    low, high = sorted((one, other))
    samples = [value for value in written_out(counted) for _ in range(100)]  # every bound falls between two samples
    kept = samples[len(samples) * low // 100 : len(samples) * high // 100]
    bucket = bucket_of([(value, count * 100) for value, count in counted])
    assert compute(parse_statistic(f"TC({low}%:{high}%)"), bucket) == pytest.approx(len(kept), abs=1e-6)
    assert compute(parse_statistic(f"TS({low}%:{high}%)"), bucket) == pytest.approx(math.fsum(kept), abs=1e-2)
    mean = compute(parse_statistic(f"TM({low}%:{high}%)"), bucket)
    if kept:
        assert mean == pytest.approx(stdlib.fmean(kept), abs=1e-4)


def test_bounds_by_value_leave_the_lower_one_out() -> None:
    bucket = bucket_of([(float(value), 1) for value in range(1, 11)])
    assert compute(parse_statistic("TC(2:5)"), bucket) == 3
    assert compute(parse_statistic("PR(:3)"), bucket) == 30
    assert compute(parse_statistic("TM(8:)"), bucket) == 9.5
    assert compute(parse_statistic("WM(80%:90%)"), bucket) == pytest.approx((8 * 8 + 9 + 9) / 10)
    assert compute(parse_statistic("IQM"), bucket) == pytest.approx(5.5)
    assert compute(parse_statistic("TM(20:30)"), bucket) is None


def test_a_wide_statistic_set_has_no_percentile() -> None:
    bucket = make_bucket([(3.0, 1.0)], [StatisticSet(4, 20, 2, 9)])
    assert bucket is not None
    assert compute(parse_statistic("p99"), bucket) is None
    assert compute(parse_statistic("Average"), bucket) == 23 / 5
    assert (compute(parse_statistic("Minimum"), bucket), compute(parse_statistic("Maximum"), bucket)) == (2, 9)


def test_a_statistic_set_of_equal_samples_has_percentiles() -> None:
    bucket = make_bucket([(3.0, 1.0)], [StatisticSet(9, 18, 2, 2)])
    assert bucket is not None
    assert compute(parse_statistic("p90"), bucket) == 2
    assert compute(parse_statistic("p91"), bucket) == 3


def test_no_samples_no_bucket() -> None:
    assert make_bucket([(1.0, 0.0)], [StatisticSet(0, 0, 0, 0)]) is None


@pytest.mark.parametrize(
    "text", ["", "p", "p101", "average", "p95x", "TM()", "TM(:)", "TM(10%:20)", "PR(1%:2%)", "tm101"]
)
def test_unknown_statistics(text: str) -> None:
    with pytest.raises(UnknownStatistic):
        parse_statistic(text)
