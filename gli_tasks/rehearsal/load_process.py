"""The load generator's process, as a rehearsal runs it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from gli_tasks.errors import RehearsalFailed
from gli_tasks.rehearsal.stage import Stage
from gli_tasks.rehearsal.verdict import Traffic, WebSocketTraffic

_START_S = 15.0
_STOP_S = 15.0


class LoadProcess:
    """Traffic through the balancer from enter to ``stop``; it dies with this process."""

    def __init__(self, stage: Stage, rate: float) -> None:
        """Take the first service on ECS for requests, and one named after WebSockets, if any, for connections."""
        self._stage, self._rate = stage, rate
        self._output = stage.folder / "load.json"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LoadProcess:
        # What an earlier generator of this stage has seen is no traffic of this one.
        self._output.unlink(missing_ok=True)
        services = self._stage.loaded.settings.ecs_services
        argv = [
            *("-m", "gli_tasks.rehearsal.load"),
            *("--target", self._stage.ready.https),
            *("--scheme", "https"),
            *("--ca", self._stage.ready.authority),
            *("--host", next(iter(services.values())).host),
            *("--rate", str(self._rate)),
            *("--output", str(self._output)),
            "--until-stdin-closes",
        ]
        websocket = next((service for name, service in services.items() if "websocket" in name), None)
        if websocket is not None:
            argv += ["--websocket-host", websocket.host]
        with (self._stage.folder / "load.log").open("wb") as log:
            self._process = self._stage.start(argv, stdin=subprocess.PIPE, stdout=log, stderr=log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        process.terminate()
        if not process.stdin.closed:
            process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_S)
        self._stage.ended(process)

    def wait_for_traffic(self) -> None:
        """Wait until requests are being served. Raises RehearsalFailed where none is."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._summary().get("served", 0) >= self._rate / 2:
                return
            time.sleep(0.1)
        log = (self._stage.folder / "load.log").read_text(errors="replace")[-2_000:]
        raise RehearsalFailed(f"the load generator had no answers: {log or self._summary()}")

    def stop(self) -> Traffic:
        """Stop, and return what was seen. Raises RehearsalFailed where the generator itself failed."""
        self._end()
        assert self._process is not None
        if self._process.returncode != 0:
            log = (self._stage.folder / "load.log").read_text(errors="replace")[-2_000:]
            raise RehearsalFailed(f"the load generator ended with status {self._process.returncode}: {log}")
        return traffic_of(self._summary(), self._rate)

    def _summary(self) -> dict[str, Any]:
        if not Path(self._output).is_file():
            return {}
        found: dict[str, Any] = json.loads(self._output.read_bytes())
        return found


def traffic_of(summary: dict[str, Any], rate: float) -> Traffic:
    """Return a summary of the generator as the verdict tells it."""
    failures = [
        f"{one.get('status') or one.get('error')} from version {one.get('version')}"
        for one in summary.get("failures", ())
    ]
    return Traffic(
        served=int(summary.get("served", 0)),
        failed=int(summary.get("failed", 0)),
        rate=rate,
        p50_ms=float(summary.get("p50_ms") or 0.0),
        p95_ms=float(summary.get("p95_ms") or 0.0),
        p99_ms=float(summary.get("p99_ms") or 0.0),
        by_version={name: int(one["served"]) for name, one in summary.get("by_version", {}).items()},
        failed_by_version={name: int(one["failed"]) for name, one in summary.get("by_version", {}).items()},
        failures=tuple(dict.fromkeys(failures))[:10],
        websocket=_websocket(summary.get("websocket")),
    )


def _websocket(summary: dict[str, Any] | None) -> WebSocketTraffic | None:
    if summary is None:
        return None
    return WebSocketTraffic(
        opened=int(summary["opened"]),
        failed_to_open=int(summary["failed_to_open"]),
        closed_in_order=int(summary["closed_by_server"]),
        cut=int(summary["dropped"]),
        echoed=int(summary["echoed"]),
    )
