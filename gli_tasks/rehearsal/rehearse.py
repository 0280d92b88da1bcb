"""The main job on this machine alone: an old version under live traffic, the release of a new one, and a verdict."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gli_tasks.errors import RehearsalFailed
from gli_tasks.rehearsal import stage as stages
from gli_tasks.rehearsal.faults import Fault, Promise, Serving
from gli_tasks.rehearsal.faults.arming import Surroundings, armed
from gli_tasks.rehearsal.load_process import LoadProcess
from gli_tasks.rehearsal.seen import Seen, changing_calls, look, newest_record, read_calls, read_state, running
from gli_tasks.rehearsal.stage import Stage
from gli_tasks.rehearsal.verdict import StepTime, Verdict, broken_promises, recorded_from

OLD_VERSION = "1.0.0"
NEW_VERSION = "1.1.0"
#: How a release ends that nothing disturbs.
UNDISTURBED = Promise(0, Serving.NEW)
_RELEASE_S = 900.0
_CALM_S = 1.0
_REST_S = 20.0


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
class Scene:
    """One release on a stage: the version that it brings, load in requests a second, and the fault, if any."""

    version: str
    rate: float
    time_scale: float
    fault: Fault | None

    @property
    def promise(self) -> Promise:
        """Return how the release must end."""
        return self.fault.promise if self.fault else UNDISTURBED


@dataclass(frozen=True, slots=True)
class _Released:
    exit_code: int
    record: Mapping[str, Any]
    said: str
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
        scene = Scene(NEW_VERSION, script.rate, script.time_scale, script.fault)
        bring_up_old(stage)
        verdict = play(stage, scene, say)
    except BaseException:
        stages.take_down(stage)
        raise
    if script.keep:
        keep(stage)
    else:
        left_over = stages.take_down(stage)
    verdict = replace(verdict, seconds=round(time.monotonic() - start, 2))
    return judged(verdict, scene, left_over)


def judged(verdict: Verdict, scene: Scene, left_over: tuple[str, ...] = ()) -> Verdict:
    """Return the verdict with a sentence for each promise that was not kept."""
    broken = broken_promises(scene.promise, verdict, left_over, time_scale=scene.time_scale)
    return replace(verdict, broken=broken)


def commit_version(stage: Stage, version: str, files: Mapping[str, str]) -> None:
    """Commit a version to every source and push it; ``files`` go to the services on ECS alone."""
    services = stage.loaded.settings.ecs_services
    authority = Path(stage.ready.authority).read_text(encoding="utf-8")
    for name, source in stage.sources.items():
        # The cache's certificate is signed by the twin's own authority, which the services must know.
        more = {"ca.pem": authority, "FAULTS": "", **files} if name in services else {}
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


def _at_rest(stage: Stage) -> Seen:
    """Return what serves once ECS has come to rest: a release that AWS answers no more leaves its rollout to it."""
    deadline = time.monotonic() + _REST_S
    time.sleep(_CALM_S)
    while True:
        seen = look(stage)
        if all(one.settled for one in seen.services.values()) or time.monotonic() > deadline:
            return seen
        time.sleep(_CALM_S)


def play(stage: Stage, scene: Scene, say: Callable[[str], None]) -> Verdict:
    """Release a new version over the one that serves, under live traffic and the scene's fault; return what came of it,
    not yet judged.
    """
    start = time.monotonic()
    settings, fault = stage.loaded.settings, scene.fault
    before = look(stage)
    say(f"version {before.version} serves; {scene.rate:g} requests a second begin")
    with LoadProcess(stage, scene.rate) as load:
        load.wait_for_traffic()
        commit_version(stage, scene.version, fault.files(scene.time_scale) if fault else {})
        if fault is not None:
            say(f"fault: {fault.description}")
        with armed(stage, fault) as surroundings:
            calls = read_calls(stage)
            released = _release(stage, surroundings, say)
            made, met = changing_calls(calls, read_calls(stage)), surroundings.met()
            made = {call: count for call, count in made.items() if call not in surroundings.own_calls}
        after = _at_rest(stage)
        traffic = load.stop()
    key = f"releases/{released.record['id']}.json" if released.record else ""
    recorded = recorded_from(read_state(stage, key) if key else newest_record(stage, before.records))
    return Verdict(
        project=settings.project,
        environment=settings.environment,
        engine=stage.ready.engine,
        fault=fault.name if fault else "",
        promise=scene.promise.sentence(),
        release_exit_code=released.exit_code,
        version_before=before.version,
        version_new=scene.version,
        version_after=after.version,
        serving=running(before, after, recorded.task_definitions),
        requests_served=traffic.served,
        requests_failed=traffic.failed,
        steps=tuple(
            StepTime(step["name"], step["seconds"], step["outcome"]) for step in released.record.get("steps", ())
        ),
        record=str(released.record.get("record", "")),
        outcome=str(released.record.get("outcome", "")),
        cause=_cause(released),
        fault_met=met,
        calls=made,
        recorded=recorded,
        current=after.current,
        lock_left=bool(after.lock_holder),
        seconds=round(time.monotonic() - start, 2),
        release_seconds=round(released.seconds, 2),
        traffic=traffic,
        said=released.said,
    )


def _cause(released: _Released) -> str:
    """Return why the release failed: what its record says, else what it said last; and what it says to do next."""
    if released.exit_code == 0:
        return ""
    failure = released.record.get("failure")
    if failure:
        what, remedy = str(failure["what"]), str(failure.get("remedy", ""))
        return what if remedy in what else f"{what}\n  next: {remedy}"
    return "\n".join(line for line in released.said.splitlines() if not line.startswith("["))


def _release(stage: Stage, surroundings: Surroundings, say: Callable[[str], None]) -> _Released:
    """Run ``invoke release.<environment>`` as an operator does, in a process of its own."""
    settings = stage.loaded.settings
    start = time.monotonic()
    argv = [
        *("-m", "invoke", f"release.{settings.environment}"),
        *("--project", settings.project, "--yes", "--json"),
    ]
    process = stage.start(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        environment=surroundings.environment,
        inside=surroundings.inside,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    answer: list[bytes] = []
    said: list[str] = []
    reader = threading.Thread(target=lambda stream: answer.append(stream.read()), args=(process.stdout,), daemon=True)
    reader.start()
    deadline = threading.Timer(_RELEASE_S, process.kill)
    deadline.start()
    try:
        for line in process.stderr:
            said.append(line.decode(errors="replace").rstrip())
            surroundings.on_line(said[-1])
            say(f"  {said[-1]}")
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
    return _Released(exit_code, record, "\n".join(said), time.monotonic() - start)
