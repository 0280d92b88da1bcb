"""The twin's ECS behind a real HTTP server, with real processes as containers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from werkzeug.serving import make_server

from gli_tasks.rehearsal.ecs.autoscaling import ApplicationAutoScalingService
from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from gli_tasks.rehearsal.ecs.service import EcsService
from gli_tasks.rehearsal.wire import Gateway
from tests.ecs.rollout_parts import BareRuntime, Cluster, Meddler, NoLogs, NoSecrets, NoTargets, digest
from tests.ecs.stack_parts import GROUP, Stack
from tests.floor_fixtures import shop
from tests.floor_parts import ACCOUNT, REGION
from tests.rehearsal.ecs.ecs_local_parts import LocalRuntime

__all__ = ["shop"]


def _nothing_behind(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("404 Not Found", [])
    return []


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    runtime = BareRuntime()
    plane = EcsControlPlane(
        runtime, digest, NoTargets(), NoLogs(), NoSecrets(), time_scale=0.004, provisioning_delay_s=2, pace_s=0.01
    )
    plane.start()
    meddler = Meddler(Gateway(_nothing_behind, [EcsService(plane)]))
    server = make_server("127.0.0.1", 0, meddler, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    ecs = boto3.client(
        "ecs",
        region_name="ap-northeast-2",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    ecs.create_cluster(clusterName="main")
    yield Cluster(ecs, tmp_path, meddler)
    ecs.close()
    plane.stop()
    runtime.close()
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Stack]:
    """ECS, scaling and logs as the twin has them, all else moto's, behind one endpoint."""
    from moto.server import DomainDispatcherApplication, create_backend_app

    from gli_tasks.rehearsal.cloud import LogSink

    runtime = LocalRuntime(tmp_path)
    plane = EcsControlPlane(
        runtime,
        digest,
        NoTargets(),
        LogSink(ACCOUNT, REGION),
        NoSecrets(),
        time_scale=0.004,
        provisioning_delay_s=2,
        pace_s=0.01,
        account=ACCOUNT,
        region=REGION,
    )
    plane.start()
    services = [EcsService(plane), ApplicationAutoScalingService(plane)]
    gateway = Gateway(DomainDispatcherApplication(create_backend_app), services)
    server = make_server("127.0.0.1", 0, gateway, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    made = Stack(f"http://127.0.0.1:{server.server_port}", plane, runtime)
    made.ecs.create_cluster(clusterName="shop-cluster")
    made.logs.create_log_group(logGroupName=GROUP)
    yield made
    plane.stop()
    left = runtime.running()
    runtime.close()
    made.logs.delete_log_group(logGroupName=GROUP)
    made.close()
    server.shutdown()
    thread.join(5)
    server.server_close()
    assert left == 0
