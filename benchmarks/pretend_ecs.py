"""An ECS endpoint whose tasks are only timers, in a process of its own: `python benchmarks/pretend_ecs.py`.

The twin's own control plane, so deployments, breaker, events and stop reasons are those of a rehearsal; but an image
named ``good/1500`` is a container that becomes healthy after 1,500 ms, and ``crash/1500`` one that ends with 1 then.
Prints its address as one line, and serves until standard input ends. ``GET /_calls`` tells every call since the start:
moment (epoch seconds) and operation.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from werkzeug.serving import WSGIRequestHandler, make_server

from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from gli_tasks.rehearsal.ecs.ports import SecretUnavailable, TargetState
from gli_tasks.rehearsal.ecs.service import EcsService
from gli_tasks.rehearsal.runtime.contract import ContainerExit, ContainerHealth, ContainerSpec, RunningContainer
from gli_tasks.rehearsal.wire import Gateway


def digest(image: str) -> str:
    """Return an image's digest: the one in its name, else one made of it."""
    return image.partition("@")[2] or "sha256:" + hashlib.sha256(image.encode()).hexdigest()


class Timer:
    """A container that is nothing but a moment."""

    def __init__(self, image: str) -> None:
        kind, _, moment = image.partition("@")[0].partition("/")
        self.runtime_id, self.image_digest = str(id(self)), digest(image)
        self._crashes, self._due = kind == "crash", time.monotonic() + int(moment) / 1000
        self._ended: ContainerExit | None = None

    def exited(self) -> ContainerExit | None:
        """Return how it ended, or None."""
        if self._ended is None and self._crashes and time.monotonic() >= self._due:
            self._ended = ContainerExit(1, False)
        return self._ended

    def health(self) -> ContainerHealth:
        """Return healthy from its moment on."""
        due = not self._crashes and time.monotonic() >= self._due
        return ContainerHealth.HEALTHY if due else ContainerHealth.UNKNOWN

    def stop(self, timeout_s: float) -> ContainerExit:  # noqa: ARG002
        """End it."""
        self._ended = self._ended or ContainerExit(0, False)
        return self._ended

    def kill(self) -> None:
        """End it."""
        self.stop(0)


class Timers:
    """A runtime of timers."""

    name = "process"

    def start(self, spec: ContainerSpec, write_log: Callable[[str], None]) -> RunningContainer:  # noqa: ARG002
        """Start one."""
        return Timer(spec.image)

    def close(self) -> None:
        """Nothing is left."""


class Nothing:
    """No targets, logs or secrets."""

    def register(self, target_group_arn: str, address: str, port: int) -> None:  # noqa: ARG002
        """Refuse."""
        raise KeyError(target_group_arn)

    deregister = register

    def state(self, target_group_arn: str, address: str, port: int) -> TargetState:  # noqa: ARG002
        """Return nothing good."""
        return TargetState("gone")

    def open_stream(self, group: str, stream: str, create_group: bool) -> None:
        """Keep nothing."""

    def put(self, group: str, stream: str, lines: Any) -> None:
        """Keep nothing."""

    def secret(self, secret_id: str, version_stage: str | None, version_id: str | None) -> str:  # noqa: ARG002
        """Refuse."""
        raise SecretUnavailable(secret_id)

    def parameter(self, name: str) -> str:
        """Refuse."""
        raise SecretUnavailable(name)


class Counted:
    """Writes down every call, before it is answered."""

    def __init__(self, behind: Any) -> None:
        self._behind, self._calls, self._lock = behind, list[tuple[float, str]](), threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        if environ.get("PATH_INFO") == "/_calls":
            with self._lock:
                body = json.dumps(self._calls).encode()
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        with self._lock:
            self._calls.append((time.time(), str(environ.get("HTTP_X_AMZ_TARGET", "")).rpartition(".")[2]))
        return self._behind(environ, start_response)  # type: ignore[no-any-return]


class Handler(WSGIRequestHandler):
    """Keeps connections open, and writes no line for each request."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


def nothing_behind(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer what is no AWS call."""
    start_response("404 Not Found", [])
    return []


def main() -> None:
    """Serve until standard input ends."""
    nothing: Any = Nothing()
    # Settles 20 s of AWS's in 0.4 s here; a task is provisioned in 0.2 s.
    plane = EcsControlPlane(
        Timers(), digest, nothing, nothing, nothing, time_scale=0.02, provisioning_delay_s=10, settle_s=20, pace_s=0.05
    )
    plane.start()
    application = Counted(Gateway(nothing_behind, [EcsService(plane)]))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()
    plane.stop()


if __name__ == "__main__":
    main()
