"""CloudWatch's metric math, evaluated over time series.

Rules taken from AWS: two series meet only where both have a data point; a division by zero leaves no data point; a
reducing function (SUM, AVG, MIN, MAX, STDDEV) of an array of series is a series, of one series a number; comparisons
give 1 or 0. ``FILL`` fills every period of the asked range that has started, also when the metric has no data point in
it: this is what a sparse count such as ``HTTPCode_Target_5XX_Count`` needs. Times are real (see ``metrics``), hence
``PERIOD`` and ``RATE`` go by the real length of the period.
Not done: SEARCH, anomaly detection, Metrics Insights, LAMBDA, time functions (HOUR, DAY, ...), SORT, SLICE.
"""

from __future__ import annotations

import itertools
import math
import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gli_tasks.rehearsal.cloud.expression_syntax import (
    Call,
    ExpressionError,
    Listing,
    Negation,
    Node,
    Number,
    Operation,
    Reference,
    Text,
)

Series: TypeAlias = dict[float, float]
"""Data points by the start of their period, in epoch seconds."""
Value: TypeAlias = float | Series | list[Series]


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression can see."""

    lookup: Callable[[str], Value]
    """Returns the value of another query by its id; raises ExpressionError."""
    metrics: Callable[[str], list[Series]]
    """Returns the metrics (not expressions) of the request whose id contains a text."""
    grid: tuple[float, ...]
    """The starts of all periods that ``FILL`` fills."""
    period_s: float


def evaluate(node: Node, scope: Scope) -> Value:
    """Evaluate a parsed expression. Raises ExpressionError."""
    match node:
        case Number(value):
            return value
        case Reference(name):
            return scope.lookup(name)
        case Negation(operand):
            return _map(evaluate(operand, scope), operator.neg)
        case Operation(symbol, left, right):
            return _combine(evaluate(left, scope), evaluate(right, scope), _OPERATORS[symbol])
        case Listing(items):
            return [one for item in items for one in _as_list(evaluate(item, scope))]
        case Call():
            return _call(node, scope)
        case Text(text):
            raise ExpressionError(f'the string "{text}" has no place here')


def _call(call: Call, scope: Scope) -> Value:
    name, arguments = call.function, call.arguments
    if name == "METRICS":
        if len(arguments) > 1 or not all(isinstance(argument, Text) for argument in arguments):
            raise ExpressionError("METRICS takes no argument, or one string")
        return scope.metrics(arguments[0].value if arguments and isinstance(arguments[0], Text) else "")
    if name == "IF":
        return _if(arguments, scope)
    if name == "FILL":
        return _fill(arguments, scope)
    if len(arguments) != 1:
        raise ExpressionError(f"{name} takes one argument")
    if name in _REDUCERS:
        return _reduce(evaluate(arguments[0], scope), _REDUCERS[name])
    if name in _ELEMENTWISE:
        return _map(evaluate(arguments[0], scope), _ELEMENTWISE[name])
    if name in _ALONG:
        return _along(evaluate(arguments[0], scope), _ALONG[name])
    if name == "PERIOD":
        return scope.period_s
    if name == "TIME_SERIES":
        value = evaluate(arguments[0], scope)
        if not isinstance(value, float):
            raise ExpressionError("TIME_SERIES takes a number")
        return dict.fromkeys(scope.grid, value)
    if name in ("FIRST", "LAST"):
        several = _as_list(evaluate(arguments[0], scope))
        if not several:
            return {}
        return several[0 if name == "FIRST" else -1]
    raise ExpressionError(f"the twin's metric math has no function {name}")


def _safe(compute: Callable[[float, float], float]) -> Callable[[float, float], float]:
    def wrapped(left: float, right: float) -> float:
        try:
            result = compute(left, right)
        except (ZeroDivisionError, OverflowError, ValueError):
            return math.nan
        return math.nan if isinstance(result, complex) else float(result)

    return wrapped


_OPERATORS: dict[str, Callable[[float, float], float]] = {
    symbol: _safe(compute)
    for symbol, compute in {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "/": operator.truediv,
        "^": operator.pow,
        "<": operator.lt,
        ">": operator.gt,
        "<=": operator.le,
        ">=": operator.ge,
        "==": operator.eq,
        "!=": operator.ne,
        "&&": lambda left, right: float(left != 0 and right != 0),
        "||": lambda left, right: float(left != 0 or right != 0),
    }.items()
}

_REDUCERS: dict[str, Callable[[Sequence[float]], float]] = {
    "SUM": math.fsum,
    "AVG": statistics.fmean,
    "MIN": min,
    "MAX": max,
    "STDDEV": statistics.pstdev,
    "DATAPOINT_COUNT": len,
}


def _logarithm(value: float) -> float:
    return math.log(value) if value > 0 else math.nan


_ELEMENTWISE: dict[str, Callable[[float], float]] = {
    "ABS": abs,
    "CEIL": math.ceil,
    "FLOOR": math.floor,
    "LOG": _logarithm,
    "LOG10": lambda value: math.log10(value) if value > 0 else math.nan,
}


def _differences(series: Series) -> Series:
    moments = sorted(series)
    return {later: series[later] - series[earlier] for earlier, later in itertools.pairwise(moments)}


def _rates(series: Series) -> Series:
    moments = sorted(series)
    return {
        later: (series[later] - series[earlier]) / (later - earlier) for earlier, later in itertools.pairwise(moments)
    }


def _running_sum(series: Series) -> Series:
    total = 0.0
    result: Series = {}
    for moment in sorted(series):
        total += series[moment]
        result[moment] = total
    return result


_ALONG: dict[str, Callable[[Series], Series]] = {"DIFF": _differences, "RATE": _rates, "RUNNING_SUM": _running_sum}


def _as_list(value: Value) -> list[Series]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value]
    raise ExpressionError("a time series is needed here, not a number")


def _clean(series: Series) -> Series:
    return {moment: value for moment, value in series.items() if math.isfinite(value)}


def _map(value: Value, compute: Callable[[float], float]) -> Value:
    if isinstance(value, list):
        return [_clean({moment: float(compute(one)) for moment, one in series.items()}) for series in value]
    if isinstance(value, dict):
        return _clean({moment: float(compute(one)) for moment, one in value.items()})
    return float(compute(value))


def _along(value: Value, compute: Callable[[Series], Series]) -> Value:
    if isinstance(value, list):
        return [_clean(compute(series)) for series in value]
    return _clean(compute(_as_list(value)[0]))


def _combine(left: Value, right: Value, compute: Callable[[float, float], float]) -> Value:
    if isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            raise ExpressionError("two arrays of different lengths cannot be combined")
        return [_combine_pair(one, other, compute) for one, other in zip(left, right, strict=True)]
    if isinstance(left, list):
        return [_combine_pair(one, right, compute) for one in left]  # type: ignore[arg-type]
    if isinstance(right, list):
        return [_combine_pair(left, one, compute) for one in right]
    if isinstance(left, dict) or isinstance(right, dict):
        return _combine_pair(left, right, compute)
    return compute(left, right)


def _combine_pair(left: float | Series, right: float | Series, compute: Callable[[float, float], float]) -> Series:
    if isinstance(left, dict) and isinstance(right, dict):
        return _clean({moment: compute(left[moment], right[moment]) for moment in left if moment in right})
    if isinstance(left, dict):
        assert not isinstance(right, dict)
        return _clean({moment: compute(value, right) for moment, value in left.items()})
    assert isinstance(right, dict)
    return _clean({moment: compute(left, value) for moment, value in right.items()})


def _reduce(value: Value, compute: Callable[[Sequence[float]], float]) -> Value:
    if isinstance(value, float):
        return float(compute([value]))
    if isinstance(value, dict):
        return float(compute(list(value.values()))) if value else math.nan
    moments = sorted({moment for series in value for moment in series})
    return _clean(
        {moment: float(compute([series[moment] for series in value if moment in series])) for moment in moments}
    )


def _if(arguments: tuple[Node, ...], scope: Scope) -> Value:
    if len(arguments) not in (2, 3):
        raise ExpressionError("IF takes a condition and one or two values")
    condition, *branches = (evaluate(argument, scope) for argument in arguments)
    if isinstance(condition, list) or any(isinstance(branch, list) for branch in branches):
        raise ExpressionError("IF takes numbers and single time series, not arrays")
    chosen = branches if len(branches) == 2 else [branches[0], {}]
    if isinstance(condition, float):
        return chosen[0] if condition != 0 and not math.isnan(condition) else chosen[1]
    result: Series = {}
    for moment, truth in condition.items():
        branch = chosen[0] if truth != 0 else chosen[1]
        if isinstance(branch, float):
            result[moment] = branch
        elif isinstance(branch, dict) and moment in branch:
            result[moment] = branch[moment]
    return _clean(result)


def _fill(arguments: tuple[Node, ...], scope: Scope) -> Value:
    if len(arguments) != 2:
        raise ExpressionError("FILL takes a time series and a value, REPEAT or LINEAR")
    value = evaluate(arguments[0], scope)
    filler = arguments[1]
    how: float | Series | str
    if isinstance(filler, Reference) and filler.name in ("REPEAT", "LINEAR"):
        how = filler.name
    else:
        other = evaluate(filler, scope)
        if isinstance(other, list):
            raise ExpressionError("FILL cannot fill with an array")
        how = other
    filled = [_fill_one(series, how, scope.grid) for series in _as_list(value)]
    return filled if isinstance(value, list) else filled[0]


def _fill_one(series: Series, how: float | Series | str, grid: tuple[float, ...]) -> Series:
    known = sorted(series)
    result = dict(series)
    for moment in grid:
        if moment in series:
            continue
        if isinstance(how, float):
            result[moment] = how
        elif isinstance(how, dict):
            if moment in how:
                result[moment] = how[moment]
        else:
            earlier = max((one for one in known if one < moment), default=None)
            later = min((one for one in known if one > moment), default=None)
            if earlier is None:
                continue
            if how == "REPEAT":
                result[moment] = series[earlier]
            elif later is not None:
                share = (moment - earlier) / (later - earlier)
                result[moment] = series[earlier] + share * (series[later] - series[earlier])
    return _clean(dict(sorted(result.items())))
