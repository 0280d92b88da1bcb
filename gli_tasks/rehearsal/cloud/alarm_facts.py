"""What an alarm is, as plain facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from gli_tasks.rehearsal.cloud.alarm_rules import AlarmRule, AlarmState
from gli_tasks.rehearsal.cloud.metric_queries import MetricQuery, MetricSource

HistoryKind: TypeAlias = Literal["ConfigurationUpdate", "StateUpdate", "Action"]


@dataclass(frozen=True, slots=True)
class AlarmDefinition:
    """What PutMetricAlarm sets. Exactly one of ``source`` and ``queries`` is given."""

    name: str
    rule: AlarmRule
    source: MetricSource | None = None
    queries: tuple[MetricQuery, ...] = ()
    description: str | None = None
    actions_enabled: bool = True
    alarm_actions: tuple[str, ...] = ()
    ok_actions: tuple[str, ...] = ()
    insufficient_data_actions: tuple[str, ...] = ()
    declares_datapoints_to_alarm: bool = False
    declares_missing_data: bool = False
    low_sample_percentile: str | None = None

    def actions_for(self, state: AlarmState) -> tuple[str, ...]:
        """Return the actions of a state."""
        if state is AlarmState.ALARM:
            return self.alarm_actions
        return self.ok_actions if state is AlarmState.OK else self.insufficient_data_actions


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm as it stands; times in epoch seconds."""

    definition: AlarmDefinition
    arn: str
    configured_at: float
    state: AlarmState = AlarmState.INSUFFICIENT_DATA
    state_reason: str = "Unchecked: Initial alarm creation"
    state_reason_data: str | None = None
    state_updated_at: float = 0.0
    state_changed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One line of an alarm's history; ``data`` is JSON."""

    alarm_name: str
    timestamp: float
    kind: HistoryKind
    summary: str
    data: str
