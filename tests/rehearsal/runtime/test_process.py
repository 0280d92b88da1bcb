"""Containers as processes: they start, answer, are watched, end as they should, and leave nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from gli_tasks.rehearsal.registry.client import Credentials
from gli_tasks.rehearsal.registry.server import OciRegistry
from gli_tasks.rehearsal.runtime.contract import (
    CannotPullContainer,
    CannotStartContainer,
    ContainerExit,
    ContainerHealth,
)
from gli_tasks.rehearsal.runtime.process import ProcessRuntime

from .conftest import CREDENTIALS, FILES, Images, eventually, make_check, make_spec


@pytest.fixture
def runtime(tmp_path: Path, registry: OciRegistry) -> Iterator[ProcessRuntime]:
    runtime = ProcessRuntime(tmp_path / "runtime", registry=registry.address, credentials=lambda: CREDENTIALS)
    yield runtime
    runtime.close()
    assert not (tmp_path / "runtime").exists()


@pytest.fixture
def image(stand_in_images: Images) -> str:
    return stand_in_images.push("v1")


def ask(address: str) -> dict[str, str]:
    with build_opener(ProxyHandler({})).open(f"http://{address}:8000/", timeout=5) as answer:
        return json.load(answer)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def run_to_end(runtime: ProcessRuntime, image: str, **changes) -> tuple[ContainerExit, list[str]]:
    lines: list[str] = []
    container = runtime.start(make_spec(image, **changes), lines.append)
    return eventually(container.exited), lines


def test_a_service_runs_on_its_own_address(runtime: ProcessRuntime, image: str) -> None:
    lines: list[str] = []
    first, second = (make_spec(image, environment={"GIVEN": "1"}) for _ in range(2))
    containers = [runtime.start(spec, lines.append) for spec in (first, second)]
    eventually(lambda: lines.count("listening") == 2)
    environment = ask(first.address)
    assert environment["BIND_ADDRESS"] == environment["TASK_ADDRESS"] == first.address
    assert (environment["GIVEN"], environment["FROM_IMAGE"]) == ("1", "yes")
    assert ask(second.address)["BIND_ADDRESS"] == second.address
    assert "USER" not in environment
    assert [each.exited() for each in containers] == [None, None]
    assert containers[0].image_digest == image.partition("@")[2]
    assert containers[0].runtime_id != containers[1].runtime_id


def test_the_image_is_asked_for_by_tag_or_digest(runtime: ProcessRuntime, stand_in_images: Images) -> None:
    first = stand_in_images.push("moving")
    tagged = first.replace("@" + first.partition("@")[2], ":moving")
    run = {"environment": {"FAULT": "exit", "CODE": "0"}}
    assert runtime.start(make_spec(tagged, **run), print).image_digest == first.partition("@")[2]
    second = stand_in_images.push("moving", {**FILES, "extra": "1"})
    assert runtime.start(make_spec(tagged, **run), print).image_digest == second.partition("@")[2]
    assert runtime.start(make_spec(first, **run), print).image_digest == first.partition("@")[2]


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_exit_codes_and_last_words(runtime: ProcessRuntime, image: str, code: int) -> None:
    ended, lines = run_to_end(runtime, image, environment={"FAULT": "exit", "CODE": str(code)})
    assert ended == ContainerExit(code=code, out_of_memory=False)
    assert lines[0].startswith("starting ")
    assert sorted(lines[1:]) == ["last words without an end", "no way"]


def test_every_line_is_there_before_the_exit(runtime: ProcessRuntime, image: str) -> None:
    ended, lines = run_to_end(runtime, image, environment={"FAULT": "lines", "COUNT": "20000"})
    assert ended.code == 0
    assert lines[1:] == [f"line {number}" for number in range(20000)]


def test_a_log_that_fails_stops_nothing(runtime: ProcessRuntime, image: str) -> None:
    def broken(_line: str) -> None:
        raise RuntimeError("no log")

    container = runtime.start(make_spec(image, environment={"FAULT": "lines", "COUNT": "9999"}), broken)
    assert eventually(container.exited).code == 0


@pytest.mark.parametrize(("fault", "code"), [("", 0), ("plain", 143), ("stubborn", 137)])
def test_stopping(runtime: ProcessRuntime, image: str, fault: str, code: int) -> None:
    lines: list[str] = []
    container = runtime.start(make_spec(image, environment={"FAULT": fault}), lines.append)
    eventually(lambda: "listening" in lines)
    assert container.stop(0.5 if fault == "stubborn" else 10).code == code
    assert container.exited() == container.stop(1)
    assert ("leaving" in lines) == (fault == "")


def test_killing(runtime: ProcessRuntime, image: str) -> None:
    lines: list[str] = []
    container = runtime.start(make_spec(image), lines.append)
    container.kill()
    assert eventually(container.exited).code == 137


def test_the_image_names_its_stop_signal(runtime: ProcessRuntime, stand_in_images: Images) -> None:
    files = {**FILES, "Dockerfile": f"{FILES['Dockerfile']}STOPSIGNAL SIGINT\n"}
    lines: list[str] = []
    container = runtime.start(make_spec(stand_in_images.push("int", files)), lines.append)
    eventually(lambda: "listening" in lines)
    assert container.stop(10).code in (1, 130)
    assert any("KeyboardInterrupt" in line for line in lines)


@pytest.mark.parametrize("ending", ["stop", "kill", "exit"])
def test_descendants_end_with_it(runtime: ProcessRuntime, image: str, ending: str) -> None:
    lines: list[str] = []
    container = runtime.start(make_spec(image, environment={"FAULT": "family"}), lines.append)
    eventually(lambda: "listening" in lines)
    child = next(int(line.split()[1]) for line in lines if line.startswith("child "))
    assert is_running(child)
    if ending == "stop":
        container.stop(5)
    elif ending == "kill":
        container.kill()
    else:
        os.kill(container.pid, signal.SIGTERM)  # it leaves by itself, its child stays
    eventually(container.exited)
    eventually(lambda: not is_running(child))


def test_no_zombies_and_no_files(runtime: ProcessRuntime, image: str, tmp_path: Path) -> None:
    ended, _ = run_to_end(runtime, image, environment={"FAULT": "exit", "CODE": "0"})
    assert ended.code == 0
    assert list((tmp_path / "runtime" / "containers").iterdir()) == []
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in children]
    assert "Z" not in states


def test_health(runtime: ProcessRuntime, image: str, tmp_path: Path) -> None:
    lines: list[str] = []
    container = runtime.start(make_spec(image, health_check=make_check()), lines.append)
    assert container.health() is ContainerHealth.UNKNOWN
    eventually(lambda: container.health() is ContainerHealth.HEALTHY)
    [root] = (tmp_path / "runtime" / "containers").iterdir()
    (root / "app" / "broken").touch()
    eventually(lambda: container.health() is ContainerHealth.UNHEALTHY)
    (root / "app" / "broken").unlink()
    eventually(lambda: container.health() is ContainerHealth.HEALTHY)


@pytest.mark.parametrize(
    ("command", "health"),
    [
        (("CMD", "check"), ContainerHealth.HEALTHY),
        (("CMD", "/app/bin/check"), ContainerHealth.HEALTHY),
        (("CMD-SHELL", "test -n \"$GIVEN\" && python3 -c 'pass'"), ContainerHealth.HEALTHY),
        (("CMD", "no-such-program"), ContainerHealth.UNHEALTHY),
        (("CMD-SHELL", "exit 1"), ContainerHealth.UNHEALTHY),
    ],
)
def test_health_commands(
    runtime: ProcessRuntime, image: str, command: tuple[str, ...], health: ContainerHealth
) -> None:
    lines: list[str] = []
    spec = make_spec(image, environment={"GIVEN": "1"}, health_check=make_check(command=command, interval_s=0.5))
    container = runtime.start(spec, lines.append)
    eventually(lambda: container.health() is not ContainerHealth.UNKNOWN)
    assert container.health() is health


def test_no_check_no_health(runtime: ProcessRuntime, image: str) -> None:
    for check in (None, make_check(command=("NONE",))):
        container = runtime.start(make_spec(image, health_check=check), print)
        assert container.health() is ContainerHealth.UNKNOWN
        container.kill()


def test_a_check_that_hangs_fails_and_is_killed(
    runtime: ProcessRuntime, image: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gli_tasks.rehearsal.runtime.process.SHORTEST_CHECK_TIMEOUT_S", 0.2)
    check = make_check(command=("CMD-SHELL", f"echo $$ >> {tmp_path}/pids; sleep 600"), timeout_s=0.2, retries=1)
    container = runtime.start(make_spec(image, health_check=check), print)
    eventually(lambda: container.health() is ContainerHealth.UNHEALTHY)
    container.stop(5)
    pids = (tmp_path / "pids").read_text().split()
    eventually(lambda: not any(is_running(int(pid)) for pid in pids))


def test_a_command_of_the_task_definition(runtime: ProcessRuntime, image: str) -> None:
    ended, lines = run_to_end(runtime, image, command=("sh", "-c", "echo $0 $PWD; exit 4"))
    assert ended.code == 4
    assert lines[0].startswith("sh ")
    assert lines[0].endswith("/app")
    ended, lines = run_to_end(runtime, image, entry_point=("/bin/echo",), command=("/app/service.py", "/", "/nope"))
    assert lines[0].endswith("/app/service.py / /nope")
    assert not lines[0].startswith("/app/")
    ended, lines = run_to_end(runtime, image, command=("pwd",), working_directory="/made/for/it")
    assert lines[0].endswith("/made/for/it")
    ended, lines = run_to_end(runtime, image, command=("/usr/local/bin/python3", "-c", "import sys; print(sys.prefix)"))
    assert ended.code == 0


def test_programs_that_cannot_be_started(runtime: ProcessRuntime, image: str) -> None:
    def reason(*command: str) -> str:
        with pytest.raises(CannotStartContainer) as raised:
            runtime.start(make_spec(image, command=command), print)
        return str(raised.value)

    prefix = "CannotStartContainerError: Error response from daemon: failed to create shim task: OCI runtime create "
    start = f"{prefix}failed: runc create failed: unable to start container process: exec: "
    assert reason("nope") == f'{start}"nope": executable file not found in $PATH: unknown'
    assert reason("/app/nope") == f'{start}"/app/nope": stat /app/nope: no such file or directory: unknown'


def test_a_program_of_another_format_ends_at_once(runtime: ProcessRuntime, stand_in_images: Images) -> None:
    image = stand_in_images.push("bad", {**FILES, "junk": "\x7fnot a program"})
    ended, lines = run_to_end(runtime, image, command=("/app/junk",))
    assert (ended.code, lines) == (1, ["exec /app/junk: exec format error"])


def test_images_that_cannot_be_pulled(
    runtime: ProcessRuntime, image: str, registry: OciRegistry, tmp_path: Path
) -> None:
    def reason(name: str) -> str:
        with pytest.raises(CannotPullContainer) as raised:
            runtime.start(make_spec(name), print)
        return str(raised.value)

    own = f"{registry.address}/team/api"
    prefix = "CannotPullContainerError: Error response from daemon: "
    missing = f"{own}@sha256:{'0' * 64}"
    assert reason(f"{own}:v9") == (
        f"{prefix}manifest for {own}:v9 not found: manifest unknown: Requested image not found"
    )
    assert reason(missing).startswith(f"{prefix}manifest for {missing} not found")
    assert reason(f"{registry.address}/team/no:v1").startswith(f"{prefix}repository {registry.address}/team/no not")
    assert "its own registry alone" in reason("redis:7")
    assert "invalid reference format" in reason("Not/Valid:x")
    other = ProcessRuntime(
        tmp_path / "other", registry=registry.address, credentials=lambda: Credentials("AWS", "wrong")
    )
    with pytest.raises(CannotPullContainer, match="denied: Your authorization token has expired"):
        other.start(make_spec(image), print)
    other.close()
    layer = registry.store.manifest("team/api", "v1").layers[-1].digest
    registry.store.blob("team/api", layer).write_bytes(b"rotten")
    assert f"digest invalid: blob {layer} came as sha256:" in reason(image)
    registry.stop()
    assert registry.address in reason(image)


def test_many_start_at_once(runtime: ProcessRuntime, image: str) -> None:
    lines: list[str] = []
    specs = [make_spec(image) for _ in range(8)]
    started: list[object] = []
    threads = [threading.Thread(target=lambda s=s: started.append(runtime.start(s, lines.append))) for s in specs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    eventually(lambda: lines.count("listening") == 8)
    assert {ask(spec.address)["BIND_ADDRESS"] for spec in specs} == {spec.address for spec in specs}


def test_closing_ends_all_threads_and_processes(tmp_path: Path, registry: OciRegistry, stand_in_images: Images) -> None:
    image = stand_in_images.push("v1")
    before = set(threading.enumerate())
    runtime = ProcessRuntime(tmp_path / "runtime", registry=registry.address, credentials=lambda: CREDENTIALS)
    lines: list[str] = []
    check = make_check(command=("CMD-SHELL", "sleep 1"))
    containers = [
        runtime.start(make_spec(image, environment={"FAULT": "stubborn"}, health_check=check), lines.append)
        for _ in range(2)
    ]
    eventually(lambda: lines.count("listening") == 2)
    runtime.close()
    assert [container.exited().code for container in containers] == [137, 137]
    pids = [int(line.split()[1]) for line in lines if line.startswith("child ")]
    assert not any(is_running(pid) for pid in pids)
    eventually(lambda: {t for t in threading.enumerate() if t.name.startswith("rehearsal ")} <= before)


PARENT = """\
import sys, threading, time
from pathlib import Path
from gli_tasks.rehearsal.registry.client import Credentials
from gli_tasks.rehearsal.runtime.process import ProcessRuntime
from tests.rehearsal.runtime.conftest import make_check, make_spec

registry, image, root = sys.argv[1:4]
runtime = ProcessRuntime(Path(root), registry=registry, credentials=lambda: Credentials("AWS", "a-password"))

def start():
    check = make_check(command=("CMD-SHELL", "echo check $$; sleep 600"), interval_s=0.05)
    spec = make_spec(image, environment={"FAULT": "stubborn"}, health_check=check)
    container = runtime.start(spec, lambda line: print(line, flush=True))
    print("container", container.pid, flush=True)

threading.Thread(target=start).start()  # the thread that asked ends; the container must not end with it
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_killed_with_its_parent(tmp_path: Path, registry: OciRegistry, stand_in_images: Images) -> None:
    image = stand_in_images.push("v1")
    top = Path(__file__).parents[3]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, registry.address, image, str(tmp_path / "runtime")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=top,
        env={**os.environ, "PYTHONPATH": str(top)},
    )
    assert parent.stdout is not None
    lines: list[str] = []
    threading.Thread(target=lambda: lines.extend(iter(parent.stdout.readline, "")), daemon=True).start()
    try:
        eventually(lambda: any(line.startswith("listening") for line in lines))
        eventually(lambda: any(line.startswith("container ") for line in lines))
        named = [int(line.split()[1]) for line in lines if line.startswith(("child ", "container "))]
        sessions = eventually(lambda: (found := descendants(parent.pid)) and len(found) >= 5 and found)
        assert set(named) <= set(sessions)
    finally:
        parent.kill()
        parent.wait()
    eventually(lambda: not any(is_running(pid) for pid in sessions), timeout_s=5)


def descendants(pid: int) -> list[int]:
    """Return all processes below ``pid``."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found, fresh = [], [pid]
    while fresh:
        fresh = [child for child, parent in parents.items() if parent in fresh]
        found += fresh
    return found
