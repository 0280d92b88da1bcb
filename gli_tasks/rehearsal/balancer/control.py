"""The balancer's side of the control process: it fetches the topology and reports health and metrics."""

from __future__ import annotations

import asyncio
import sys
import time
from urllib.parse import urlsplit

import msgspec

from gli_tasks.rehearsal.balancer.fleet import Fleet
from gli_tasks.rehearsal.balancer.health import Prober
from gli_tasks.rehearsal.balancer.message import MalformedMessage
from gli_tasks.rehearsal.balancer.metrics import Meter, Window
from gli_tasks.rehearsal.balancer.stream import CutOff
from gli_tasks.rehearsal.balancer.topology import decode_topology
from gli_tasks.rehearsal.balancer.upstream import ConnectRefused, ConnectTimeout, fetch

PACE_S = 0.05
REPORT_INTERVAL_S = 1.0
LONG_POLL_LIMIT_S = 5.0
KEPT_WINDOWS = 1000
_JSON = (("Content-Type", "application/json"),)
_FAILURES = (ConnectRefused, ConnectTimeout, CutOff, MalformedMessage, TimeoutError)


class ControlLost(Exception):
    """The control process has not answered for too long."""


class HealthReport(msgspec.Struct, frozen=True):
    """One target as reported; ``active`` counts requests in flight and open WebSockets."""

    target_group: str
    address: str
    port: int
    state: str
    reason: str
    description: str
    active: int


def endpoint_of(url: str) -> tuple[str, int]:
    """Return address and port of an ``http://address:port`` URL. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or not parts.port:
        raise ValueError(f"expected http://ADDRESS:PORT, got {url!r}")
    return parts.hostname, parts.port


class Control:
    """Keeps the fleet in step with the control process."""

    def __init__(
        self, endpoint: tuple[str, int], fleet: Fleet, prober: Prober, meter: Meter, lost_after_s: float
    ) -> None:
        """Name the control process, the parts that follow it, and when it counts as lost."""
        self._address, self._port = endpoint
        self._lost_after_s = lost_after_s
        self._fleet, self._prober, self._meter = fleet, prober, meter
        self._unsent: list[Window] = []

    async def follow_topology(self) -> None:
        """Fetch the topology for ever, by long poll. Raises ControlLost after ``lost_after_s`` without an answer."""
        loop = asyncio.get_running_loop()
        heard = loop.time()
        version: int | None = None
        while True:
            began = loop.time()
            target = "/_twin/topology" + ("" if version is None else f"?after={version}")
            try:
                answer = await fetch(self._address, self._port, "GET", target, idle_s=LONG_POLL_LIMIT_S)
                if answer.head.status != 200:
                    raise MalformedMessage(f"status {answer.head.status}")
                topology = decode_topology(answer.body)
            except (*_FAILURES, msgspec.DecodeError) as error:
                if loop.time() - heard > self._lost_after_s:
                    raise ControlLost(f"no topology for {self._lost_after_s:g} s: {error}") from error
                if isinstance(error, (MalformedMessage, msgspec.DecodeError)):
                    print(f"balancer: topology: {error}", file=sys.stderr, flush=True)
                await asyncio.sleep(PACE_S * 4)
                continue
            heard = loop.time()
            if topology.version != version:
                version = topology.version
                self._fleet.apply(topology)
                self._prober.follow()
            # the server may answer at once although nothing has changed
            await asyncio.sleep(max(0.0, began + PACE_S - loop.time()) if loop.time() - began < PACE_S else 0)

    async def report_health(self) -> None:
        """Report every target on each change, and at least each second."""
        while True:
            try:
                async with asyncio.timeout(REPORT_INTERVAL_S):
                    await self._fleet.changed.wait()
            except TimeoutError:
                pass
            self._fleet.changed.clear()
            if self._fleet.known.is_set() and not await self._post("/_twin/health", self._health()):
                await asyncio.sleep(PACE_S * 4)
                self._fleet.changed.set()

    async def report_metrics(self) -> None:
        """Report the counts each second."""
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            await self.send_metrics()

    async def send_metrics(self) -> None:
        """Report the counts since the last time; what cannot be delivered goes with the next report."""
        topology = self._fleet.topology
        dimensions = {group.arn: group.dimension for group in topology.target_groups}
        for listener in topology.listeners:  # hosts are counted in quiet periods too
            for rule in listener.rules:
                for group in getattr(rule.action, "targets", ()):
                    self._meter.window(listener.load_balancer, group.target_group)
        self._unsent += self._meter.finish(time.time(), self._fleet.counts, dimensions)
        self._unsent = self._unsent[-KEPT_WINDOWS:]
        windows = self._unsent
        if windows and await self._post("/_twin/metrics", windows):
            self._unsent = self._unsent[len(windows) :]

    def _health(self) -> list[HealthReport]:
        return [
            HealthReport(
                record.key.target_group,
                record.key.address,
                record.key.port,
                record.health.state,
                record.health.reason,
                record.health.description,
                record.active,
            )
            for record in self._fleet.records()
        ]

    async def _post(self, path: str, report: list[HealthReport] | list[Window]) -> bool:
        try:
            answer = await fetch(
                self._address, self._port, "POST", path, _JSON, msgspec.json.encode(report), idle_s=LONG_POLL_LIMIT_S
            )
        except _FAILURES:
            return False
        if answer.head.status >= 300:
            print(f"balancer: {path} answered {answer.head.status}", file=sys.stderr, flush=True)
        return answer.head.status < 300
