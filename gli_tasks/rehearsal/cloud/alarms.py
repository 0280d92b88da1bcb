"""The twin's alarms: definitions, their states and history, and the thread that evaluates them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from gli_tasks.rehearsal.cloud.alarm_facts import Alarm, AlarmDefinition, HistoryItem, HistoryKind
from gli_tasks.rehearsal.cloud.alarm_rules import (
    EXTRA_PERIODS,
    AlarmState,
    DataPoint,
    Verdict,
    decide,
    has_too_few_samples,
)
from gli_tasks.rehearsal.cloud.alarm_texts import (
    history_data,
    notification,
    reason_data,
    state_reason,
    subject,
)
from gli_tasks.rehearsal.cloud.expression_syntax import ExpressionError
from gli_tasks.rehearsal.cloud.metric_queries import QuerySet
from gli_tasks.rehearsal.cloud.metrics import MetricStore
from gli_tasks.rehearsal.cloud.statistics import Kind, compute, parse_statistic

HISTORY_LIMIT = 10_000
LONGEST_EVALUATION_INTERVAL_S = 60.0
"""AWS evaluates alarms with longer periods each minute; in AWS's seconds, scaled like periods."""

_log = logging.getLogger(__name__)


class ActionFailed(Exception):
    """An alarm's action could not be done; the text says why and goes into the alarm's history."""


Notify: TypeAlias = Callable[[str, str, str], None]
"""Called with an action's ARN, a subject and a message; raises ActionFailed."""


@dataclass(slots=True)
class _Watch:
    """An alarm with what its evaluation needs."""

    alarm: Alarm
    period_s: int
    queries: QuerySet | None
    next_evaluation: float
    tags: dict[str, str] = field(default_factory=dict)


class AlarmBook:
    """All alarms of one account and region; safe to use from any thread.

    ``notify`` is called for each action of a new state, outside of the lock. Without it actions are only noted.
    """

    def __init__(self, store: MetricStore, *, account: str, region: str, notify: Notify | None = None) -> None:
        self._store = store
        self._account = account
        self._region = region
        self._notify = notify
        self._lock = threading.RLock()
        self._watches: dict[str, _Watch] = {}
        self._history: list[HistoryItem] = []

    def arn_of(self, name: str) -> str:
        """Return the ARN that an alarm of this name has."""
        return f"arn:aws:cloudwatch:{self._region}:{self._account}:alarm:{name}"

    def put(self, definition: AlarmDefinition, tags: dict[str, str] | None = None) -> None:
        """Create or replace an alarm; a replaced one keeps its state and tags, as on AWS.

        Raises ExpressionError or UnknownStatistic for queries that cannot be evaluated.
        """
        queries = QuerySet(definition.queries) if definition.queries else None
        if definition.source is not None:
            parse_statistic(definition.source.statistic)
            period_s = definition.source.period_s
        else:
            assert queries is not None
            period_s = queries.period_s(next(query.query_id for query in definition.queries if query.return_data))
        now = self._store.now()
        with self._lock:
            known = self._watches.get(definition.name)
            if known is None:
                alarm = Alarm(definition, self.arn_of(definition.name), now, state_updated_at=now, state_changed_at=now)
            else:
                alarm = replace(known.alarm, definition=definition, configured_at=now)
            first = self._next_evaluation(now, period_s)
            watch = _Watch(alarm, period_s, queries, first, dict(tags or {}) if known is None else known.tags)
            self._watches[definition.name] = watch
            verb = "created" if known is None else "updated"
            self._note(alarm, now, "ConfigurationUpdate", f'Alarm "{definition.name}" {verb}', "{}")

    def alarms(self) -> list[Alarm]:
        """Return every alarm, by name."""
        with self._lock:
            return [self._watches[name].alarm for name in sorted(self._watches)]

    def find(self, name: str) -> Alarm | None:
        """Return one alarm, or None."""
        with self._lock:
            watch = self._watches.get(name)
            return watch.alarm if watch else None

    def period_s(self, name: str) -> int:
        """Return an alarm's period in AWS's seconds. Raises KeyError."""
        with self._lock:
            return self._watches[name].period_s

    def delete(self, names: Iterable[str]) -> None:
        """Delete alarms; names that do not exist are passed over, as on AWS."""
        now = self._store.now()
        with self._lock:
            for name in names:
                watch = self._watches.pop(name, None)
                if watch is not None:
                    self._note(watch.alarm, now, "ConfigurationUpdate", f'Alarm "{name}" deleted', "{}")

    def enable_actions(self, names: Iterable[str], enabled: bool) -> None:
        """Turn the actions of alarms on or off."""
        with self._lock:
            for name in names:
                watch = self._watches.get(name)
                if watch is not None:
                    definition = replace(watch.alarm.definition, actions_enabled=enabled)
                    watch.alarm = replace(watch.alarm, definition=definition)

    def set_state(self, name: str, state: AlarmState, reason: str, data: str | None = None) -> None:
        """Set a state by hand, until the next evaluation says otherwise. Raises KeyError."""
        with self._lock:
            alarm = self._watches[name].alarm
        self._change(alarm, state, reason, data)

    def tags(self, arn: str) -> dict[str, str]:
        """Return the live tags of an alarm, to be read or changed. Raises KeyError."""
        with self._lock:
            for watch in self._watches.values():
                if watch.alarm.arn == arn:
                    return watch.tags
        raise KeyError(arn)

    def history(self) -> list[HistoryItem]:
        """Return the history of all alarms, oldest first, deleted alarms included."""
        with self._lock:
            return list(self._history)

    def next_evaluation(self) -> float | None:
        """Return when the next alarm is due, in epoch seconds, or None without alarms."""
        with self._lock:
            return min((watch.next_evaluation for watch in self._watches.values()), default=None)

    def evaluate_due(self) -> None:
        """Evaluate every alarm whose time has come."""
        now = self._store.now()
        with self._lock:
            due = [watch for watch in self._watches.values() if watch.next_evaluation <= now]
        for watch in due:
            watch.next_evaluation = self._next_evaluation(now, watch.period_s)
            self._evaluate(watch, now)

    def _next_evaluation(self, now: float, period_s: int) -> float:
        interval = min(float(period_s), LONGEST_EVALUATION_INTERVAL_S)
        return self._store.align(now, interval) + self._store.real_period_s(interval)

    def _evaluate(self, watch: _Watch, now: float) -> None:
        alarm = watch.alarm
        rule = alarm.definition.rule
        real = self._store.real_period_s(watch.period_s)
        end = self._store.align(now, watch.period_s)  # the running period is not judged before it is over
        start = end - (rule.evaluation_periods + EXTRA_PERIODS) * real
        try:
            points = self._points(watch, start, end)
        except ExpressionError as error:
            self._change(alarm, AlarmState.INSUFFICIENT_DATA, f"Unchecked: {error}", None)
            return
        grid = self._store.grid(start, end, watch.period_s)
        verdict = decide(rule, [points.get(moment) for moment in grid])
        if verdict.state is not None and verdict.state is not alarm.state:
            reason = state_reason(rule, verdict, verdict.state)
            data = reason_data(alarm.definition, watch.period_s, verdict, now)
            self._change(alarm, verdict.state, reason, data, verdict)

    def _points(self, watch: _Watch, start: float, end: float) -> dict[float, DataPoint]:
        source = watch.alarm.definition.source
        if source is None:
            assert watch.queries is not None
            results = watch.queries.run(self._store, start, end)
            if len(results) != 1:
                raise ExpressionError("The expression gives more than one time series.")
            return {moment: DataPoint(moment, value) for moment, value in results[0].series.items()}
        statistic = parse_statistic(source.statistic)
        points: dict[float, DataPoint] = {}
        for moment, bucket in self._store.aggregate(source.metric, start, end, source.period_s, source.unit).items():
            value = compute(statistic, bucket)
            if value is not None:
                few = statistic.kind is Kind.PERCENTILE and has_too_few_samples(statistic, bucket.summary.sample_count)
                points[moment] = DataPoint(moment, value, few)
        return points

    def _change(
        self, seen: Alarm, state: AlarmState, reason: str, data: str | None, verdict: Verdict | None = None
    ) -> None:
        """Record a state, and do its actions when it is a new one."""
        now = self._store.now()
        with self._lock:
            watch = self._watches.get(seen.definition.name)
            if watch is None or watch.alarm.definition is not seen.definition:
                return  # deleted or replaced while it was evaluated
            before = watch.alarm
            after = replace(
                before,
                state=state,
                state_reason=reason,
                state_reason_data=data,
                state_updated_at=now,
                state_changed_at=before.state_changed_at if state is before.state else now,
            )
            watch.alarm = after
            if state is before.state:
                return
            summary = f"Alarm updated from {before.state.value} to {state.value}"
            self._note(after, now, "StateUpdate", summary, history_data(before, after, verdict))
            period_s = watch.period_s
        if after.definition.actions_enabled:
            self._act(before, after, period_s)

    def _act(self, before: Alarm, after: Alarm, period_s: int) -> None:
        message = notification(before, after, period_s, self._account, self._region)
        for action in after.definition.actions_for(after.state):
            summary = f"Successfully executed action {action}"
            try:
                if self._notify is None:
                    raise ActionFailed("no notifier is connected")
                self._notify(action, subject(after, self._region), message)
            except ActionFailed as error:
                summary = f"Failed to execute action {action}. Received error: {error}"
                _log.warning("alarm %s: %s", after.definition.name, summary)
            with self._lock:
                self._note(after, self._store.now(), "Action", summary, "{}")

    def _note(self, alarm: Alarm, now: float, kind: HistoryKind, summary: str, data: str) -> None:
        self._history.append(HistoryItem(alarm.definition.name, now, kind, summary, data))
        del self._history[:-HISTORY_LIMIT]


class AlarmEvaluator:
    """The thread that evaluates a book's alarms when they are due."""

    def __init__(self, book: AlarmBook, clock: Callable[[], float], *, longest_pause_s: float = 0.25) -> None:
        self._book = book
        self._clock = clock
        self._longest_pause_s = longest_pause_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarm-evaluator", daemon=True)

    def start(self) -> None:
        """Start evaluating."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop, and wait up to ``timeout_s`` seconds for the thread to end. Raises TimeoutError."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                raise TimeoutError(f"the alarm evaluator did not end within {timeout_s} s")

    def _run(self) -> None:
        while not self._stopping.wait(self._pause()):
            try:
                self._book.evaluate_due()
            except Exception:  # noqa: BLE001 - the thread's outermost edge: one alarm's bug must not end it
                _log.exception("an alarm could not be evaluated")

    def _pause(self) -> float:
        due = self._book.next_evaluation()
        if due is None:
            return self._longest_pause_s
        return min(max(due - self._clock(), 0.01), self._longest_pause_s)
