"""Whether an answer is healthy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.health.plan import Answer, judge, value_at
from tests.health.health_parts import expect

BODY = {"status": "ok", "checks": {"redis": True, "depth": 3, "lag": 0.5, "old": None}, "list": [1], "": {"x": "y"}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".status", "ok"),
        ("status", "ok"),
        (".checks.redis", True),
        (".checks.depth", 3),
        (".checks.absent", None),
        (".status.deeper", None),
        (".list.0", None),
        (".checks.old", None),
    ],
)
def test_values_by_path(path: str, value: Any) -> None:
    assert value_at(BODY, path) == value


@pytest.mark.parametrize("body", [None, "text", 3, [], {}, True])
def test_a_body_of_any_shape_has_no_such_value(body: Any) -> None:
    assert value_at(body, ".status") is None
    result = judge(expect("http://x/", {".status.deep": "ok"}), Answer(200, body, 1, None), 0)
    assert result.findings == ("has no .status.deep",)


@pytest.mark.parametrize(
    ("values", "findings"),
    [
        ({".status": "ok", ".checks.redis": "true", ".checks.depth": "3", ".checks.lag": "0.5"}, ()),
        ({".status": "connected"}, (".status is 'ok', not 'connected'",)),
        ({".checks.redis": "false"}, (".checks.redis is 'true', not 'false'",)),
        ({".checks.redis": "True"}, (".checks.redis is 'true', not 'True'",)),
        ({".checks.depth": "03"}, (".checks.depth is 3, not '03'",)),
        ({".absent": "ok"}, ("has no .absent",)),
        ({".absent": "None"}, ("has no .absent",)),
        ({".checks.old": "None"}, ("has no .checks.old",)),
        ({".status": ""}, (".status is 'ok', not ''",)),
    ],
)
def test_values_are_held_against_what_was_expected(values: dict[str, str], findings: tuple[str, ...]) -> None:
    assert judge(expect("http://x/", values), Answer(200, BODY, 1, None), 0).findings == findings


def test_everything_wrong_is_said_at_once() -> None:
    result = judge(expect("https://x/", {".state": "x"}, status=204, limit_ms=100), Answer(500, {}, 150.4, 3.25), 14)
    assert result.findings == (
        "answered 500, not 204",
        "has no .state",
        "took 150 ms, over 100 ms",
        "its certificate ends in 3.2 days, under 14",
    )
    assert not result.passed


def test_what_did_not_answer_is_not_judged_further() -> None:
    assert judge(expect("https://x/", {".a": "b"}), Answer(0, None, 9e9, 0, "cannot be reached"), 30).findings == (
        "cannot be reached",
    )


@given(st.integers(100, 599), st.integers(100, 599), st.floats(0, 1e6), st.floats(1, 1e6), st.floats(-9, 99))
def test_a_check_passes_exactly_when_all_holds(
    status: int, wanted: int, took: float, limit: float, days: float
) -> None:
    result = judge(expect("https://x/", status=wanted, limit_ms=limit), Answer(status, None, took, days), 14)
    assert result.passed is (status == wanted and took <= limit and days >= 14)
