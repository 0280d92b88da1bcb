"""An ECS of the twin behind a real HTTP server, with real local processes as containers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from gli_tasks.rehearsal.ecs.autoscaling import ApplicationAutoScalingService
from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from gli_tasks.rehearsal.ecs.service import EcsService
from gli_tasks.rehearsal.wire import Gateway
from tests.rehearsal.ecs.ecs_local_parts import LocalRuntime, MemoryLogs, MemorySecrets, TcpTargets
from tests.rehearsal.ecs.ecs_twin import Twin, client


def _no_digest(image: str) -> str | None:
    return None


def _nothing_behind(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("404 Not Found", [])
    return []


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    runtime, targets, logs, secrets = LocalRuntime(tmp_path), TcpTargets(), MemoryLogs(["/ecs/api"]), MemorySecrets()
    plane = EcsControlPlane(
        runtime, _no_digest, targets, logs, secrets, time_scale=0.02, provisioning_delay_s=2, pace_s=0.02
    )
    plane.start()
    services = [EcsService(plane), ApplicationAutoScalingService(plane)]
    server = make_server("127.0.0.1", 0, Gateway(_nothing_behind, services), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    ecs = client(server.server_port)
    ecs.create_cluster(clusterName="main")
    yield Twin(plane, runtime, targets, logs, secrets, ecs, server.server_port)
    plane.stop()
    left = runtime.running()
    runtime.close()
    targets.close()
    server.shutdown()
    thread.join(5)
    server.server_close()
    assert left == 0
