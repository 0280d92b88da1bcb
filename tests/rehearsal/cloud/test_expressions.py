"""Metric math over a store of samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.rehearsal.cloud.expression_syntax import ExpressionError, parse
from gli_tasks.rehearsal.cloud.metric_queries import MetricQuery, MetricSource, QuerySet
from gli_tasks.rehearsal.cloud.metrics import Metric, MetricStore, Sample

from .conftest import START, Clock

SERIES = {
    "m1": {0: 2.0, 1: 4.0, 3: 8.0},
    "m2": {0: 1.0, 1: 0.0, 2: 5.0, 3: 4.0},
    "errors": {},
}


def run(expression: str, scale: float = 1.0) -> dict[int, float]:
    """Evaluate over four one-minute periods; returns values by the period's number."""
    store = MetricStore(period_scale=scale, clock=Clock(START + 1000))
    length = 60 * scale
    queries = []
    for name, points in SERIES.items():
        metric = Metric.of("Shop", name)
        queries.append(MetricQuery(name, MetricSource(metric, 60, "Sum"), return_data=False))
        store.put(
            (metric, Sample(START + length * index + length / 2, ((value, 1.0),))) for index, value in points.items()
        )
    queries.append(MetricQuery("e1", expression=expression))
    results = QuerySet(queries).run(store, START, START + 4 * length)
    assert len(results) == 1
    return {round((moment - START) / length): round(value, 9) for moment, value in results[0].series.items()}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("m1 + m2", {0: 3, 1: 4, 3: 12}),
        ("m1 - m2 * 2", {0: 0, 1: 4, 3: 0}),
        ("(m1 - m2) * 2", {0: 2, 1: 8, 3: 8}),
        ("m1 / m2", {0: 2, 3: 2}),
        ("-m1 ^ 2", {0: -4, 1: -16, 3: -64}),
        ("100 * m1 / (m1 + m2)", {0: 66.666666667, 1: 100, 3: 66.666666667}),
        ("m1 > 3", {0: 0, 1: 1, 3: 1}),
        ("m1 >= 4 AND m2 == 0", {0: 0, 1: 1, 3: 0}),
        ("m1 < 3 || m2 != 4", {0: 1, 1: 1, 3: 0}),
        ("SUM([m1, m2])", {0: 3, 1: 4, 2: 5, 3: 12}),
        ("MAX(METRICS())", {0: 2, 1: 4, 2: 5, 3: 8}),
        ("MIN(METRICS('m'))", {0: 1, 1: 0, 2: 5, 3: 4}),
        ("AVG(METRICS())", {0: 1.5, 1: 2, 2: 5, 3: 6}),
        ("m2 / SUM(m2)", {0: 0.1, 1: 0, 2: 0.5, 3: 0.4}),
        ("m1 - MIN(m1)", {0: 0, 1: 2, 3: 6}),
        ("FILL(m1, 0)", {0: 2, 1: 4, 2: 0, 3: 8}),
        ("FILL(m1, REPEAT)", {0: 2, 1: 4, 2: 4, 3: 8}),
        ("FILL(m1, LINEAR)", {0: 2, 1: 4, 2: 6, 3: 8}),
        ("FILL(m1, m2)", {0: 2, 1: 4, 2: 5, 3: 8}),
        ("FILL(errors, 0) / m2 * 100", {0: 0, 2: 0, 3: 0}),
        ("IF(m2 > 0, FILL(errors, 0) / m2, 0)", {0: 0, 1: 0, 2: 0, 3: 0}),
        ("IF(m1 > 3, m1)", {1: 4, 3: 8}),
        ("IF(m1 > 3, m1, m2)", {0: 1, 1: 4, 3: 8}),
        ("IF(1, m1, m2)", {0: 2, 1: 4, 3: 8}),
        ("errors / m2", {}),
        ("DIFF(m1)", {1: 2, 3: 4}),
        ("RUNNING_SUM(m1)", {0: 2, 1: 6, 3: 14}),
        ("ABS(m1 - 4)", {0: 2, 1: 0, 3: 4}),
        ("TIME_SERIES(7)", {0: 7, 1: 7, 2: 7, 3: 7}),
        ("m1 * PERIOD(m1)", {0: 120, 1: 240, 3: 480}),
        ("RATE(m1) * 60", {1: 2, 3: 2}),
    ],
)
def test_expression(expression: str, expected: dict[int, float]) -> None:
    assert run(expression) == expected


def test_rates_go_by_real_seconds() -> None:
    assert run("m1 / PERIOD(m1)", scale=0.05)[0] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "expression",
    [
        "m1 +",
        "(m1",
        "m9",
        "SUM(m1)",
        "5",
        "e1 + 1",
        "SEARCH('x')",
        "m1 ? 2",
        "IF(m1)",
        "FILL(m1)",
        '"text"',
        "[m1",
        "m1 m2",
    ],
)
def test_wrong_expressions_are_refused(expression: str) -> None:
    with pytest.raises(ExpressionError):
        run(expression)


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    with pytest.raises(ExpressionError):
        parse("(" * 5000 + "1" + ")" * 5000)
    with pytest.raises(ExpressionError):
        parse("-" * 5000 + "1")


def test_a_circle_is_refused() -> None:
    with pytest.raises(ExpressionError, match="refers to itself"):
        QuerySet([MetricQuery("a1", expression="b1 + 1"), MetricQuery("b1", expression="a1 + 1")])


def test_an_array_gives_one_result_each() -> None:
    store = MetricStore(clock=Clock(START + 600))
    queries = [MetricQuery("e1", expression="METRICS() * 2")]
    for name in ("a1", "a2"):
        store.put_value(Metric.of("Shop", name), 3.0, timestamp=START)
        queries.append(MetricQuery(name, MetricSource(Metric.of("Shop", name), 60, "Sum"), return_data=False))
    results = QuerySet(queries).run(store, START, START + 60)
    assert [(result.query_id, list(result.series.values())) for result in results] == [("e1", [6.0]), ("e1", [6.0])]


@given(
    st.recursive(
        st.integers(1, 9).map(str),
        lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda x: f"({x[0]} {x[1]} {x[2]})"),
        max_leaves=12,
    )
)
def test_arithmetic_agrees_with_python(text: str) -> None:
    try:
        expected = eval(text)
    except ZeroDivisionError:
        return
    found = run(f"TIME_SERIES({text})")
    assert found == pytest.approx(dict.fromkeys(range(4), round(expected, 9)), abs=1e-6, rel=1e-6)
