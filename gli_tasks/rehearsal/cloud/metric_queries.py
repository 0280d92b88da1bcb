"""Runs a set of metric queries that may refer to each other, as GetMetricData and metric-math alarms do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gli_tasks.rehearsal.cloud.expression_syntax import ExpressionError, Node, calls, parse, references
from gli_tasks.rehearsal.cloud.expressions import Scope, Series, Value, evaluate
from gli_tasks.rehearsal.cloud.metrics import Metric, MetricStore
from gli_tasks.rehearsal.cloud.statistics import Statistic, compute, parse_statistic

DEFAULT_PERIOD_S = 60


@dataclass(frozen=True, slots=True)
class MetricSource:
    """One metric with how to aggregate it; ``period_s`` in AWS's seconds."""

    metric: Metric
    period_s: int
    statistic: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """One entry of ``MetricDataQueries``: a source or an expression."""

    query_id: str
    source: MetricSource | None = None
    expression: str | None = None
    period_s: int | None = None
    label: str | None = None
    return_data: bool = True


@dataclass(frozen=True, slots=True)
class QueryResult:
    """One time series of an answer."""

    query_id: str
    label: str
    series: Series


class QuerySet:
    """Checks queries once and answers them for any range of time.

    Raises ExpressionError or UnknownStatistic when made, for whatever is wrong in a query.
    """

    def __init__(self, queries: Sequence[MetricQuery]) -> None:
        self._queries = {query.query_id: query for query in queries}
        if len(self._queries) != len(queries):
            raise ExpressionError("The values for parameter id in MetricDataQueries are not unique.")
        self._statistics: dict[str, Statistic] = {}
        self._trees: dict[str, Node] = {}
        for query in queries:
            if (query.source is None) == (query.expression is None):
                raise ExpressionError(f"query {query.query_id}: exactly one of Expression and MetricStat is needed")
            if query.source is not None:
                self._statistics[query.query_id] = parse_statistic(query.source.statistic)
            if query.expression is not None:
                self._trees[query.query_id] = parse(query.expression)
        for query_id in self._trees:
            self._check_references(query_id, ())
        self._periods = {query_id: self._period_of(query_id) for query_id in self._queries}

    def period_s(self, query_id: str) -> int:
        """Return the period of a query, in AWS's seconds; an expression takes the longest of what it refers to."""
        return self._periods[query_id]

    def run(self, store: MetricStore, start: float, end: float) -> list[QueryResult]:
        """Return the series of every query that returns data; ``start`` and ``end`` in epoch seconds, end excluded.

        Raises ExpressionError, also for an expression that gives one number: AWS returns time series alone.
        """
        run = _Run(self, store, start, end)
        results: list[QueryResult] = []
        for query in self._queries.values():
            if not query.return_data:
                continue
            value = run.value(query.query_id)
            if isinstance(value, float):
                raise ExpressionError(f"Error in expression '{query.query_id}': it gives a number, not a time series.")
            label = query.label or (query.source.metric.name if query.source else query.query_id)
            several = value if isinstance(value, list) else [value]
            results.extend(QueryResult(query.query_id, label, series) for series in several)
        return results

    def _check_references(self, query_id: str, above: tuple[str, ...]) -> None:
        if query_id in above:
            raise ExpressionError(f"Error in expression '{query_id}': it refers to itself.")
        tree = self._trees.get(query_id)
        if tree is None:
            return
        for name in references(tree):
            if name in self._queries:
                self._check_references(name, (*above, query_id))
            elif name not in ("REPEAT", "LINEAR"):
                raise ExpressionError(f"Error in expression '{query_id}': {name} is not the id of a query.")

    def _period_of(self, query_id: str) -> int:
        query = self._queries[query_id]
        if query.source is not None:
            return query.source.period_s
        if query.period_s is not None:
            return query.period_s
        tree = self._trees[query_id]
        names = {name for name in references(tree) if name in self._queries}
        if any(call.function == "METRICS" for call in calls(tree)):
            names |= {name for name, other in self._queries.items() if other.source is not None}
        return max((self._period_of(name) for name in names), default=DEFAULT_PERIOD_S)


class _Run:
    """One evaluation: every query is computed at most once."""

    def __init__(self, queries: QuerySet, store: MetricStore, start: float, end: float) -> None:
        self._set = queries
        self._store = store
        self._start = start
        self._end = end
        self._values: dict[str, Value] = {}

    def value(self, query_id: str) -> Value:
        if query_id not in self._values:
            self._values[query_id] = self._compute(query_id)
        return self._values[query_id]

    def _compute(self, query_id: str) -> Value:
        query = self._set._queries.get(query_id)
        if query is None:
            raise ExpressionError(f"{query_id} is not the id of a query.")
        if query.source is not None:
            return self._read(query.source, self._set._statistics[query_id])
        period_s = self._set.period_s(query_id)
        started = min(self._end, self._store.now())
        scope = Scope(
            lookup=self.value,
            metrics=self._metrics,
            grid=self._store.grid(self._start, started, period_s) if started > self._start else (),
            period_s=self._store.real_period_s(period_s),
        )
        return evaluate(self._set._trees[query_id], scope)

    def _read(self, source: MetricSource, statistic: Statistic) -> Series:
        buckets = self._store.aggregate(source.metric, self._start, self._end, source.period_s, source.unit)
        computed = ((moment, compute(statistic, bucket)) for moment, bucket in buckets.items())
        return {moment: value for moment, value in computed if value is not None}

    def _metrics(self, part: str) -> list[Series]:
        found: list[Series] = []
        for query_id, query in self._set._queries.items():
            if query.source is not None and part in query_id:
                value = self.value(query_id)
                assert isinstance(value, dict)
                found.append(value)
        return found
