"""Put a fault where it belongs for the time of one release, and take it away again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gli_tasks.rehearsal.faults.fault import Fault, Workstation
from gli_tasks.rehearsal.faults.proxy import running_proxy
from gli_tasks.rehearsal.stage import Stage

WORKSTATION = Path(__file__).with_name("workstation")
# In a mount namespace of its own, so that nothing is left when the release ends, however it ends.
_SMALL_FOLDER = 'mount -t tmpfs -o size="$REHEARSAL_TEMPORARY_BYTES" rehearsal "$TMPDIR" && exec "$@"'


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a release runs in: variables that differ for it alone, a command line that runs it, and what to do with each
    line that it says. ``met`` tells how often the fault was met; None where nobody counts it. ``own_calls`` are those
    that the fault itself makes while the release runs.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    inside: Sequence[str] = ()
    on_line: Callable[[str], None] = lambda _line: None
    met: Callable[[], int | None] = lambda: None
    own_calls: frozenset[str] = frozenset()


@contextmanager
def armed(stage: Stage, fault: Fault | None) -> Iterator[Surroundings]:
    """Put the fault in place and give what the release must run in; everything is well again afterwards."""
    if fault is None:
        yield Surroundings()
        return
    counts: list[Callable[[], int]] = []
    with ExitStack() as stack:
        environment, inside = _workstation(stage, fault.workstation)
        if fault.rules:
            proxy = stack.enter_context(running_proxy(stage, fault.rules))
            environment["AWS_ENDPOINT_URL"] = proxy.url
            counts.append(proxy.fired)
        if fault.twin.get("door"):
            # Not behind the proxy, which would answer 502 in place of a reply that was lost.
            services = {rule["service"] for rule in fault.twin["door"]}
            name = "AWS_ENDPOINT_URL_S3" if fault.rules and services == {"s3"} else "AWS_ENDPOINT_URL"
            environment[name] = stage.ready.door
        if fault.twin:
            stack.callback(_tell_twin, stage, {})
            counts.append(lambda: _met(stage))
        waiting = [fault.when] if fault.when else []
        secret = _Secret(stage) if fault.secret_keys else None

        def begin() -> None:
            if fault.twin:
                _tell_twin(stage, fault.twin)
            if secret is not None:
                stack.callback(secret.put_back)
                secret.lose(fault.secret_keys)

        def on_line(line: str) -> None:
            if waiting and line.rpartition("]")[2].split()[:2] == [waiting[0], "begins"]:
                waiting.clear()
                begin()

        if not waiting:
            begin()

        yield Surroundings(
            environment,
            inside,
            on_line,
            met=lambda: sum(one() for one in counts) if counts else None,
            own_calls=frozenset({"secretsmanager.PutSecretValue"} if fault.secret_keys else ()),
        )


def _workstation(stage: Stage, wrong: Workstation) -> tuple[dict[str, str], tuple[str, ...]]:
    environment: dict[str, str] = {}
    inside: tuple[str, ...] = ()
    if wrong.clock_s:
        paths = filter(None, (str(WORKSTATION), stage.environment.get("PYTHONPATH")))
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "REHEARSAL_CLOCK_S": str(wrong.clock_s)}
    if wrong.temporary_bytes:
        folder = stage.folder / "full"
        folder.mkdir(exist_ok=True)
        environment |= {"TMPDIR": str(folder), "REHEARSAL_TEMPORARY_BYTES": str(wrong.temporary_bytes)}
        as_root = () if os.geteuid() == 0 else ("--map-root-user",)
        inside = ("unshare", *as_root, "--mount", "sh", "-c", _SMALL_FOLDER, "sh")
    return environment, inside


def _tell_twin(stage: Stage, faults: Mapping[str, Any]) -> None:
    httpx.post(f"{stage.ready.endpoint}/_twin/faults", json=dict(faults), trust_env=False).raise_for_status()


def _met(stage: Stage) -> int:
    answer = httpx.get(f"{stage.ready.endpoint}/_twin/faults", trust_env=False).raise_for_status()
    return sum(answer.json().values())


class _Secret:
    """The database's secret; all that takes time is done beforehand, since a release does not wait for its fault."""

    def __init__(self, stage: Stage) -> None:
        database = stage.loaded.settings.database
        assert database is not None
        self._name, self._client = database.secret, stage.client("secretsmanager")
        self._before = str(self._client.get_secret_value(SecretId=self._name)["SecretString"])

    def lose(self, keys: Sequence[str]) -> None:
        """Take keys out of it."""
        left = {key: value for key, value in json.loads(self._before).items() if key not in keys}
        self._client.put_secret_value(SecretId=self._name, SecretString=json.dumps(left))

    def put_back(self) -> None:
        """Make it what it was."""
        self._client.put_secret_value(SecretId=self._name, SecretString=self._before)
