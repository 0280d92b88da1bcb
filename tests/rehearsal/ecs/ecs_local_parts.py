"""Real parts for the tests: local processes as containers, targets that are probed, logs and secrets in memory."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gli_tasks.rehearsal.ecs.ports import LogGroupMissing, LogLine, SecretUnavailable, TargetState
from gli_tasks.rehearsal.runtime.contract import (
    CannotPullContainer,
    ContainerExit,
    ContainerHealth,
    ContainerSpec,
    HealthCheck,
    RunningContainer,
)

PROGRAM = Path(__file__).with_name("ecs_sample_program.py")


class LocalContainer:
    """A process."""

    def __init__(self, process: subprocess.Popen[str], digest: str, threads: list[threading.Thread]) -> None:
        self._process, self._threads = process, threads
        self.runtime_id, self.image_digest = f"local-{process.pid}", digest
        self._health = ContainerHealth.UNKNOWN
        self.ended = threading.Event()
        self.on_stop: Callable[[], None] = lambda: None

    def exited(self) -> ContainerExit | None:
        code = self._process.poll()
        if code is None:
            return None
        for thread in self._threads:
            thread.join(5)
        return ContainerExit(128 - code if code < 0 else code, False)

    def health(self) -> ContainerHealth:
        return self._health

    def set_health(self, health: ContainerHealth) -> None:
        self._health = health

    def stop(self, timeout_s: float) -> ContainerExit:
        self.on_stop()
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(10)
        self.ended.set()
        found = self.exited()
        assert found is not None
        return found

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait(10)
        self.ended.set()

    def _signal(self, number: int) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)


class LocalRuntime:
    """Runs one program for every image, by default ``ecs_sample_program.py``; images under ``missing/`` cannot be
    pulled."""

    name = "process"

    def __init__(self, folder: Path, program: Path = PROGRAM) -> None:
        self._folder, self._program = folder, program
        self.specs: list[ContainerSpec] = []
        self.stopped: list[str] = []
        self._containers: list[LocalContainer] = []

    def start(self, spec: ContainerSpec, write_log: Callable[[str], None]) -> RunningContainer:
        self.specs.append(spec)
        if spec.image.startswith("missing/"):
            raise CannotPullContainer(
                "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
                f"failed to resolve ref {spec.image}: not found"
            )
        argv = [sys.executable, "-S", "-E", str(self._program), *(spec.command or ())]
        environment = {"PATH": "/usr/bin:/bin", "TASK_ADDRESS": spec.address, **spec.environment}
        process = subprocess.Popen(
            argv,
            env=environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

        def read() -> None:
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    write_log(line)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        repository, _, digest = spec.image.partition("@")
        digest = digest or "sha256:" + hashlib.sha256(repository.encode()).hexdigest()
        container = LocalContainer(process, digest, [reader])
        self._containers.append(container)
        container.on_stop = lambda: self.stopped.append(spec.name)
        if spec.health_check is not None:
            check = (container, process, spec.health_check, environment)
            threading.Thread(target=self._check, args=check, daemon=True).start()
        return container

    def _check(
        self,
        container: LocalContainer,
        process: subprocess.Popen[str],
        check: HealthCheck,
        environment: dict[str, str],
    ) -> None:
        failures, began = 0, time.monotonic()
        while process.poll() is None and not container.ended.wait(check.interval_s):
            argv = ["/bin/sh", "-c", check.command[1]] if check.command[0] == "CMD-SHELL" else list(check.command[1:])
            good = subprocess.run(argv, env=environment, cwd=self._folder, capture_output=True).returncode == 0
            if good:
                failures = 0
                container.set_health(ContainerHealth.HEALTHY)
            elif time.monotonic() - began > check.start_period_s:
                failures += 1
                if failures >= check.retries:
                    container.set_health(ContainerHealth.UNHEALTHY)

    def running(self) -> int:
        return sum(container.exited() is None for container in self._containers)

    def close(self) -> None:
        for container in self._containers:
            container.kill()


@dataclass
class Probed:
    state: TargetState = field(default_factory=lambda: TargetState("initial"))
    failures: int = 0
    draining_until: float | None = None


class TcpTargets:
    """Target groups whose targets are probed by connecting to them."""

    def __init__(self, threshold: int = 3, drain_s: float = 0.1, pace_s: float = 0.03) -> None:
        self.threshold, self.drain_s, self.pace_s = threshold, drain_s, pace_s
        self.missing: set[str] = set()
        self._targets: dict[tuple[str, str, int], Probed] = {}
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def register(self, target_group_arn: str, address: str, port: int) -> None:
        if target_group_arn in self.missing:
            raise KeyError(target_group_arn)
        with self._lock:
            self._targets[target_group_arn, address, port] = Probed()

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        with self._lock:
            target = self._targets.get((target_group_arn, address, port))
            if target is not None and target.draining_until is None:
                target.draining_until = time.monotonic() + self.drain_s
                target.state = TargetState("draining")

    def state(self, target_group_arn: str, address: str, port: int) -> TargetState:
        with self._lock:
            target = self._targets.get((target_group_arn, address, port))
            return target.state if target else TargetState("gone")

    def healthy(self) -> int:
        with self._lock:
            return sum(target.state.state == "healthy" for target in self._targets.values())

    def addresses(self) -> list[str]:
        with self._lock:
            return [address for _, address, _ in self._targets]

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopped.wait(self.pace_s):
            with self._lock:
                targets = list(self._targets.items())
            for (group, address, port), target in targets:
                if target.draining_until is not None:
                    if time.monotonic() > target.draining_until:
                        with self._lock:
                            self._targets.pop((group, address, port), None)
                    continue
                good = _connects(address, port)
                with self._lock:
                    if target.draining_until is not None:
                        continue
                    target.failures = 0 if good else target.failures + 1
                    if good:
                        target.state = TargetState("healthy")
                    elif target.failures >= self.threshold:
                        target.state = TargetState("unhealthy", "Target.FailedHealthChecks", "Health checks failed")


def _connects(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=0.5).close()
    except OSError:
        return False
    return True


class MemoryLogs:
    """Log groups in memory."""

    def __init__(self, groups: Sequence[str]) -> None:
        self.groups = set(groups)
        self.lines: dict[tuple[str, str], list[str]] = {}

    def open_stream(self, group: str, stream: str, create_group: bool) -> None:
        if create_group:
            self.groups.add(group)
        if group not in self.groups:
            raise LogGroupMissing(group)
        self.lines[group, stream] = []

    def put(self, group: str, stream: str, lines: Sequence[LogLine]) -> None:
        self.lines[group, stream].extend(line.text for line in lines)


class MemorySecrets:
    """Secrets in memory."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str | None], str] = {}
        self.parameters: dict[str, str] = {}

    def secret(self, secret_id: str, version_stage: str | None, version_id: str | None) -> str:
        if (secret_id, version_stage) not in self.secrets:
            raise SecretUnavailable("ResourceNotFoundException: Secrets Manager can't find the specified secret.")
        return self.secrets[secret_id, version_stage]

    def parameter(self, name: str) -> str:
        if name not in self.parameters:
            raise SecretUnavailable("ParameterNotFound: ")
        return self.parameters[name]
