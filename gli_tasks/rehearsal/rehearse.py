"""The main job on this machine alone: an old version under live traffic, the release of a new one, and a verdict."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from gli_tasks.errors import RehearsalFailed
from gli_tasks.rehearsal import stage as stages
from gli_tasks.rehearsal.faults import Fault
from gli_tasks.rehearsal.load_process import LoadProcess
from gli_tasks.rehearsal.stage import Stage
from gli_tasks.rehearsal.verdict import Promise, StepTime, Verdict, broken_promises

OLD_VERSION = "1.0.0"
NEW_VERSION = "1.1.0"
_RELEASE_S = 900.0
_CALM_S = 1.0


@dataclass(frozen=True, slots=True)
class Script:
    """What is rehearsed: project and environment, engine, load in requests a second, and the fault, if any."""

    project: str
    environment: str
    engine: str
    rate: float
    time_scale: float
    fault: Fault | None
    keep: bool


@dataclass(frozen=True, slots=True)
class _Released:
    exit_code: int
    record: Mapping[str, Any]
    seconds: float


def rehearse(script: Script, say: Callable[[str], None], keep: Callable[[Stage], None]) -> Verdict:
    """Rehearse, and return the verdict once everything is taken down, or handed to ``keep`` where the script says so.

    Raises RehearsalFailed where the stage cannot be put up; nothing is left behind then either.
    """
    start = time.monotonic()
    stage = stages.put_up(
        script.project,
        script.environment,
        script.engine,
        time_scale=script.time_scale,
        say=say,
    )
    left_over: tuple[str, ...] = ()
    try:
        say(f"the twin is up after {time.monotonic() - start:.1f} s")
        verdict = _play(script, stage, say)
    except BaseException:
        stages.take_down(stage)
        raise
    if script.keep:
        keep(stage)
    else:
        left_over = stages.take_down(stage)
    promise = Promise(0, NEW_VERSION, "healthy")
    if script.fault is not None:
        promise = Promise(1, OLD_VERSION, "failed", script.fault.cause)
    verdict = replace(verdict, seconds=round(time.monotonic() - start, 2))
    return replace(verdict, broken=broken_promises(promise, verdict, left_over))


def commit_version(stage: Stage, version: str, files: Mapping[str, str]) -> None:
    """Commit a version to every source and push it; ``files`` go to the services on ECS alone."""
    services = stage.loaded.settings.ecs_services
    authority = Path(stage.ready.authority).read_text(encoding="utf-8")
    for name, source in stage.sources.items():
        # The cache's certificate is signed by the twin's own authority, which the services must know.
        more = {"ca.pem": authority, **files} if name in services else {}
        source.commit(f"release: version {version}", {"VERSION": f"{version}\n", **more})


def bring_up_old(stage: Stage) -> None:
    """Commit the old version and bring it up. Raises RehearsalFailed with what was said."""
    commit_version(stage, OLD_VERSION, {})
    settings = stage.loaded.settings
    argv = [
        *("-m", "gli_tasks.rehearsal.first_version"),
        *("--project", settings.project),
        *("--environment", settings.environment),
    ]
    log = stage.folder / "first-version.log"
    with log.open("wb") as output:
        process = stage.start(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            exit_code = process.wait(_RELEASE_S)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            stage.ended(process)
    if exit_code != 0:
        said = log.read_text(errors="replace")[-4_000:]
        raise RehearsalFailed(f"the old version did not come up:\n{said}")


def _play(script: Script, stage: Stage, say: Callable[[str], None]) -> Verdict:
    settings = stage.loaded.settings
    main_host = next(iter(settings.ecs_services.values())).host
    bring_up_old(stage)
    before = serving_version(stage, main_host)
    say(f"version {before} serves; {script.rate:g} requests a second begin")
    with LoadProcess(stage, script.rate) as load:
        load.wait_for_traffic()
        if script.fault is not None:
            say(f"fault: {script.fault.description}")
            if script.fault.unpullable:
                httpx.post(f"{stage.ready.endpoint}/_twin/faults", json={"unpullable": True}).raise_for_status()
        commit_version(stage, NEW_VERSION, script.fault.files if script.fault else {})
        released = _release(stage, say)
        time.sleep(_CALM_S)
        after = serving_version(stage, main_host)
        traffic = load.stop()
    failure = released.record.get("failure") or {}
    return Verdict(
        project=settings.project,
        environment=settings.environment,
        engine=stage.ready.engine,
        fault=script.fault.name if script.fault else "",
        release_exit_code=released.exit_code,
        version_before=before,
        version_after=after,
        requests_served=traffic.served,
        requests_failed=traffic.failed,
        steps=tuple(
            StepTime(step["name"], step["seconds"], step["outcome"]) for step in released.record.get("steps", ())
        ),
        record=str(released.record.get("record", "")),
        outcome=str(released.record.get("outcome", "")),
        cause=str(failure.get("what", "")),
        seconds=0.0,
        release_seconds=round(released.seconds, 2),
        traffic=traffic,
    )


def serving_version(stage: Stage, host: str) -> str:
    """Return the version that answers on a host through the balancer; empty where none does."""
    context = ssl.create_default_context(cafile=stage.ready.authority)
    try:
        with httpx.Client(verify=context, trust_env=False, timeout=5) as client:
            response = client.get(
                f"https://{stage.ready.https}/", headers={"Host": host}, extensions={"sni_hostname": host}
            )
    except httpx.HTTPError:
        return ""
    return str(response.headers.get("X-App-Version", "")) if response.status_code == 200 else ""


def _release(stage: Stage, say: Callable[[str], None]) -> _Released:
    """Run ``invoke release.<environment>`` as an operator does, in a process of its own."""
    settings = stage.loaded.settings
    start = time.monotonic()
    argv = [
        *("-m", "invoke", f"release.{settings.environment}"),
        *("--project", settings.project, "--yes", "--json"),
    ]
    process = stage.start(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    answer: list[bytes] = []
    reader = threading.Thread(target=lambda stream: answer.append(stream.read()), args=(process.stdout,), daemon=True)
    reader.start()
    deadline = threading.Timer(_RELEASE_S, process.kill)
    deadline.start()
    try:
        for line in process.stderr:
            say(f"  {line.decode(errors='replace').rstrip()}")
        exit_code = process.wait()
    except BaseException:
        # The world that this release works on is about to vanish, so it gets no time to tidy up.
        process.kill()
        process.wait()
        raise
    finally:
        deadline.cancel()
        stage.ended(process)
        reader.join(5)
        process.stderr.close()
        process.stdout.close()
    text = b"".join(answer)
    try:
        record = json.loads(text) if text.strip() else {}
    except ValueError:
        record = {}
    return _Released(exit_code, record, time.monotonic() - start)
