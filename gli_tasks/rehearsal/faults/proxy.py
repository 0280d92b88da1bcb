"""`microburst` as a process: AWS's own failures, in AWS's own form, between a release and the twin."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from gli_tasks.errors import RehearsalFailed
from gli_tasks.rehearsal.stage import Stage

_START_S = 20.0
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that runs: its URL takes every AWS call."""

    url: str

    def fired(self) -> int:
        """Return how many calls met a fault."""
        answer = httpx.get(f"{self.url}/_microburst/fired", params={"limit": 2_000}, trust_env=False)
        found = answer.raise_for_status().json()
        return len(found["fired"] if isinstance(found, dict) else found)


@contextmanager
def running_proxy(stage: Stage, rules: Sequence[Mapping[str, Any]]) -> Iterator[Proxy]:
    """Run the proxy with these rules for as long as the context lasts. Raises RehearsalFailed where it does not
    start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    proxy = Proxy(f"http://127.0.0.1:{port}")
    argv = [*("-m", "microburst"), *("--upstream", stage.ready.endpoint), *("--port", str(port))]
    log = stage.folder / "microburst.log"
    with log.open("wb") as output:
        process = stage.start(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait(proxy, process)
        answer = httpx.post(f"{proxy.url}/_microburst/rules", json=list(rules), trust_env=False)
        if answer.status_code >= 400:
            raise RehearsalFailed(f"the fault proxy refused its rules: {answer.text}")
        yield proxy
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_S)
        stage.ended(process)


def _wait(proxy: Proxy, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{proxy.url}/_microburst/health", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise RehearsalFailed("the fault proxy (microburst) did not start", remedy="pip install -r requirements-dev.txt")
