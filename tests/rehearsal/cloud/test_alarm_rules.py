"""M of N data points with missing ones, as a table, and the rest of the verdict."""

from __future__ import annotations

import pytest

from gli_tasks.rehearsal.cloud.alarm_rules import (
    AlarmRule,
    AlarmState,
    DataPoint,
    MissingData,
    decide,
    has_too_few_samples,
)
from gli_tasks.rehearsal.cloud.statistics import parse_statistic

OK, ALARM, NO_DATA, KEEP = AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA, None
TREATMENTS = (MissingData.MISSING, MissingData.IGNORE, MissingData.BREACHING, MissingData.NOT_BREACHING)


def points(pattern: str) -> list[DataPoint | None]:
    """Read ``0 - X``: within the threshold, missing, breaching; the newest last."""
    values = {"0": 0.0, "X": 10.0}
    return [DataPoint(float(i), values[mark]) if mark in values else None for i, mark in enumerate(pattern.split())]


# pattern, M, N, then the state for missing, ignore, breaching, notBreaching
TABLE = [
    ("0 - X - X", 3, 3, OK, OK, OK, OK),
    ("- - - - 0", 3, 3, OK, OK, OK, OK),
    ("- - - - -", 3, 3, NO_DATA, KEEP, ALARM, OK),
    ("0 X X - X", 3, 3, ALARM, ALARM, ALARM, ALARM),
    ("- - X - -", 3, 3, ALARM, KEEP, ALARM, OK),
    ("0 - X - X", 2, 3, ALARM, ALARM, ALARM, ALARM),
    ("0 0 X 0 X", 2, 3, ALARM, ALARM, ALARM, ALARM),
    ("0 - X - -", 2, 3, OK, OK, ALARM, OK),
    ("- - - - 0", 2, 3, OK, OK, ALARM, OK),
    ("- - - X -", 2, 3, ALARM, KEEP, ALARM, OK),
    ("- - - - X", 2, 3, KEEP, KEEP, ALARM, OK),
    ("- - X", 1, 1, ALARM, ALARM, ALARM, ALARM),
    ("X X 0", 1, 1, OK, OK, OK, OK),
    ("- X -", 1, 1, ALARM, ALARM, ALARM, ALARM),
    ("- - -", 1, 1, NO_DATA, KEEP, ALARM, OK),
    ("X X X 0 0 0", 3, 4, OK, OK, OK, OK),
    ("0 0 0 X X X", 3, 4, ALARM, ALARM, ALARM, ALARM),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]} {row[1]}of{row[2]}")
@pytest.mark.parametrize("treatment", TREATMENTS)
def test_table(row: tuple[str, int, int, object, object, object, object], treatment: MissingData) -> None:
    pattern, wanted, periods, *states = row
    rule = AlarmRule("GreaterThanThreshold", 5, periods, wanted, treatment)
    assert decide(rule, points(pattern)).state is states[TREATMENTS.index(treatment)]


@pytest.mark.parametrize(
    ("comparison", "breaching"),
    [
        ("GreaterThanThreshold", {6}),
        ("GreaterThanOrEqualToThreshold", {5, 6}),
        ("LessThanThreshold", {4}),
        ("LessThanOrEqualToThreshold", {4, 5}),
    ],
)
def test_comparisons(comparison: str, breaching: set[int]) -> None:
    rule = AlarmRule(comparison, 5, 1, 1)
    assert {value for value in (4, 5, 6) if rule.breaches(value)} == breaching


def test_few_samples_keep_the_state_when_asked() -> None:
    few = [DataPoint(0.0, 10.0, too_few_samples=True)]
    assert decide(AlarmRule("GreaterThanThreshold", 5, 1, 1), few).state is ALARM
    assert decide(AlarmRule("GreaterThanThreshold", 5, 1, 1, ignores_few_samples=True), few).state is KEEP


@pytest.mark.parametrize(("name", "enough"), [("p95", 200), ("p99", 1000), ("p50", 20), ("p10", 100)])
def test_how_many_samples_a_percentile_needs(name: str, enough: int) -> None:
    statistic = parse_statistic(name)
    assert has_too_few_samples(statistic, enough - 1)
    assert not has_too_few_samples(statistic, enough)
    assert not has_too_few_samples(parse_statistic("Average"), 1)
