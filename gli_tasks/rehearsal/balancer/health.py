"""Health checks: one probe task for each registered target."""

from __future__ import annotations

import asyncio

from gli_tasks.rehearsal.balancer import plan
from gli_tasks.rehearsal.balancer.fleet import Fleet, TargetKey, TargetRecord
from gli_tasks.rehearsal.balancer.message import MalformedMessage
from gli_tasks.rehearsal.balancer.plan import Probe, ProbeAnswered, ProbeFailed, ProbeTimedOut, TargetState
from gli_tasks.rehearsal.balancer.stream import CutOff
from gli_tasks.rehearsal.balancer.upstream import ConnectRefused, ConnectTimeout, fetch

SHORTEST_INTERVAL_S = 0.1
SHORTEST_TIMEOUT_S = 0.5
_PROBE_HEADERS = (("User-Agent", "ELB-HealthChecker/2.0"), ("Accept-Encoding", "gzip, compressed"))
_BODY_LIMIT = 1 << 20


async def probe(address: str, port: int, path: str, timeout_s: float) -> Probe:
    """Make one health check that takes at most ``timeout_s`` seconds."""
    try:
        async with asyncio.timeout(timeout_s):
            answer = await fetch(
                address,
                port,
                "GET",
                path,
                _PROBE_HEADERS,
                connect_timeout_s=timeout_s,
                idle_s=timeout_s,
                limit=_BODY_LIMIT,
            )
    except (TimeoutError, ConnectTimeout):
        return ProbeTimedOut()
    except (ConnectRefused, CutOff, MalformedMessage, OSError):
        return ProbeFailed()
    return ProbeAnswered(answer.head.status)


class Prober:
    """Runs a probe for each target that is registered, in use and not draining."""

    def __init__(self, fleet: Fleet) -> None:
        """Start with no probe."""
        self._fleet = fleet
        self._tasks: dict[TargetKey, tuple[TargetRecord, asyncio.Task[None]]] = {}

    def follow(self) -> None:
        """Start and stop probes so that they match the fleet; call after each new topology."""
        wanted = {
            record.key: record
            for record in self._fleet.records()
            if record.draining_since_s is None and record.health.state is not TargetState.UNUSED
        }
        for key, (record, task) in list(self._tasks.items()):
            if wanted.get(key) is not record:
                task.cancel()
                del self._tasks[key]
        for key, record in wanted.items():
            if key not in self._tasks:
                self._tasks[key] = (record, asyncio.create_task(self._watch(record), name=f"probe {key.address}"))

    async def close(self) -> None:
        """Stop all probes."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, record: TargetRecord) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            # settings and time scale are read anew each time: ModifyTargetGroup takes effect at the next check
            settings, scale = record.group.health, self._fleet.topology.time_scale
            timeout_s = max(settings.timeout_s * scale, SHORTEST_TIMEOUT_S)
            result = await probe(record.key.address, record.key.port, settings.path, timeout_s)
            health = plan.step_health(
                record.health,
                result,
                matcher=settings.matcher,
                healthy_threshold=settings.healthy_threshold,
                unhealthy_threshold=settings.unhealthy_threshold,
            )
            self._fleet.observe(record, health)
            interval_s = max(settings.interval_s * scale, SHORTEST_INTERVAL_S)
            await asyncio.sleep(max(began + interval_s - loop.time(), 0.01))
