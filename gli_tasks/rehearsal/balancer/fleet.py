"""The targets that the balancer knows, their health, and what is in flight to each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from gli_tasks.rehearsal.balancer import plan
from gli_tasks.rehearsal.balancer.plan import Health, TargetState
from gli_tasks.rehearsal.balancer.topology import TargetGroup, Topology


@dataclass(frozen=True, slots=True)
class TargetKey:
    """What identifies a target: the same address may serve several groups."""

    target_group: str
    address: str
    port: int


class Abortable(Protocol):
    """Something in flight that can be ended at once."""

    def abort(self) -> None:
        """End it."""


class TargetRecord:
    """One target and what is known of it."""

    def __init__(self, key: TargetKey, group: TargetGroup, health: Health) -> None:
        """Begin with no request in flight."""
        self.key, self.group, self.health = key, group, health
        self.active = 0
        self.draining_since_s: float | None = None
        self.in_flight: set[Abortable] = set()


class Fleet:
    """Keeps the topology's targets in step with what is observed of them."""

    def __init__(self, forget: Callable[[str, int], None]) -> None:
        """Start empty; ``forget`` closes idle connections to an address."""
        self.topology = Topology(version=-1)
        self.known = asyncio.Event()
        self.changed = asyncio.Event()
        self._forget = forget
        self._groups: dict[str, dict[TargetKey, TargetRecord]] = {}
        self._turns: Counter[str] = Counter()

    def records(self) -> Iterator[TargetRecord]:
        """Return every target."""
        return (record for group in self._groups.values() for record in group.values())

    def apply(self, topology: Topology) -> None:
        """Take over a new topology; a target that stays keeps its health."""
        loop = asyncio.get_running_loop()
        in_use = plan.groups_in_use(topology)
        groups: dict[str, dict[TargetKey, TargetRecord]] = {}
        for group in topology.target_groups:
            before = self._groups.get(group.arn, {})
            records = groups[group.arn] = {}
            for target in group.targets:
                key = TargetKey(group.arn, target.address, target.port)
                record = before.get(key)
                if record is None or (record.draining_since_s is not None and not target.draining):
                    record = TargetRecord(key, group, plan.REGISTERING)  # new, or registered again
                record.group = group
                records[key] = record
                if target.draining:
                    if record.draining_since_s is None:
                        self._start_draining(record, loop, group.deregistration_delay_s * topology.time_scale)
                elif group.arn not in in_use:
                    record.health = plan.NOT_IN_USE
                elif record.health.state is TargetState.UNUSED:
                    record.health = plan.REGISTERING
        before_all = {(record.key.address, record.key.port) for record in self.records()}
        self._groups = groups
        self.topology = topology
        for address, port in before_all - {(record.key.address, record.key.port) for record in self.records()}:
            self._forget(address, port)
        self.known.set()
        self.changed.set()

    def pick(self, target_group: str) -> TargetRecord | None:
        """Return the next target of a group, by turns, or None where none is registered."""
        records = self._groups.get(target_group, {})
        candidates = plan.choose_targets({record: record.health.state for record in records.values()})
        if not candidates:
            return None
        self._turns[target_group] += 1
        return candidates[self._turns[target_group] % len(candidates)]

    def begin(self, record: TargetRecord) -> None:
        """Note that a request to the target is in flight."""
        record.active += 1

    def end(self, record: TargetRecord) -> None:
        """Note that a request to the target is over."""
        record.active -= 1
        if record.draining_since_s is not None:
            self._settle(record)

    def observe(self, record: TargetRecord, health: Health) -> None:
        """Take over what a probe found, unless the target is draining by now."""
        if record.draining_since_s is not None or record.health.state is TargetState.UNUSED:
            return
        if (record.health.state, record.health.reason, record.health.description) != (
            health.state,
            health.reason,
            health.description,
        ):
            self.changed.set()
        record.health = health

    def counts(self, target_group: str) -> tuple[int, int]:
        """Return how many targets of a group are healthy and unhealthy."""
        states = Counter(record.health.state for record in self._groups.get(target_group, {}).values())
        return states[TargetState.HEALTHY], states[TargetState.UNHEALTHY]

    def _start_draining(self, record: TargetRecord, loop: asyncio.AbstractEventLoop, delay_s: float) -> None:
        record.draining_since_s = loop.time()
        record.health = plan.DRAINING
        self._forget(record.key.address, record.key.port)
        self._settle(record, delay_s)
        loop.call_later(delay_s + 0.001, self._settle, record, delay_s)

    def _settle(self, record: TargetRecord, delay_s: float = float("inf")) -> None:
        since = record.draining_since_s
        if since is None or record.health.state is TargetState.GONE:
            return
        now = asyncio.get_running_loop().time()
        if plan.has_drained(active=record.active, since_s=since, now_s=now, delay_s=delay_s):
            record.health = plan.GONE
            self.changed.set()
            for exchange in tuple(record.in_flight):  # the delay is over: ALB closes what is left, too
                exchange.abort()
            self._forget(record.key.address, record.key.port)
