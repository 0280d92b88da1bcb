"""Put up the stage of a rehearsal: sources, the twin, the environment in which everything else runs; and take it
down."""

from __future__ import annotations

import functools
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from gli_tasks.edge import require_present
from gli_tasks.errors import RehearsalFailed
from gli_tasks.rehearsal.engines import choose_engine
from gli_tasks.rehearsal.leftovers import find_leftovers
from gli_tasks.rehearsal.overrides import ACCESS_KEY, overriding, without_real_aws
from gli_tasks.rehearsal.ready import STAY, Ready
from gli_tasks.rehearsal.runtime.children import Children
from gli_tasks.rehearsal.runtime.sweep import is_alive, owner_of
from gli_tasks.rehearsal.sources import SampleSource, make_source
from gli_tasks.rehearsal.stand_ins import npm_folder
from gli_tasks.settings import load
from gli_tasks.settings.load import LoadedSettings, root_folder

LABEL_VARIABLE = "GLI_REHEARSAL"
TOOL_ROOT = Path(__file__).resolve().parents[2]
#: Names the process that a stage's folder belongs to.
OWNER_FILE = "owner"
_FOLDER_PREFIX = "gli-rehearsal-"
_START_S = 90.0
_STOP_S = 60.0
#: The account that a rehearsal uses where the settings name none yet.
_ACCOUNT = "123456789012"


Started = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Standing:
    """A twin that another process may have to take down. ``addresses`` are ``host:port``."""

    pid: int
    label: str
    folder: Path
    addresses: tuple[str, ...]
    engine: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that is up. ``environment`` is what every program of the rehearsal runs in."""

    label: str
    folder: Path
    loaded: LoadedSettings
    sources: Mapping[str, SampleSource]
    environment: Mapping[str, str]
    ready: Ready
    process: subprocess.Popen[str]
    children: Children

    def start(
        self,
        argv: Sequence[str],
        *,
        stdin: int,
        stdout: int | IO[bytes],
        stderr: int | IO[bytes],
        environment: Mapping[str, str] | None = None,
        inside: Sequence[str] = (),
    ) -> Started:
        """Start a Python program of the rehearsal; it dies with this process, however that ends.

        ``environment`` is what differs for this program alone; ``inside`` is a command line that runs it.
        """
        process = subprocess.Popen(
            [*inside, sys.executable, *argv],
            cwd=TOOL_ROOT,
            env={**self.environment, **(environment or {}), "PYTHONUNBUFFERED": "1"},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        self.children.adopt(process)
        return process

    def client(self, service: str) -> Any:
        """Return a client of the twin, by its first door: what it says is true under every fault."""
        return _twin_client(service, self.ready.endpoint, self.loaded.settings.aws.region)

    def ended(self, process: Started) -> None:
        """Note that a started program has been waited for."""
        self.children.forget(process.pid)

    def standing(self) -> Standing:
        """Return what must be known to take the twin down from another process."""
        ready = self.ready
        doors = (ready.endpoint.removeprefix("http://"), ready.door.removeprefix("http://"))
        addresses = (*doors, ready.registry, ready.http, ready.https)
        return Standing(self.process.pid, self.label, self.folder, addresses, ready.engine)

    def let_stay(self) -> None:
        """Let the twin outlive this process."""
        (self.folder / OWNER_FILE).write_text(owner_of(self.process.pid), encoding="utf-8")
        assert self.process.stdin is not None
        self.process.stdin.write(STAY)
        self.process.stdin.close()
        self.children.close()


@functools.cache
def _twin_client(service: str, endpoint: str, region: str) -> Any:
    from botocore.config import Config
    from botocore.session import Session

    # Nothing of the operator's own: no profile, no files, no proxy.
    files = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    session = Session(session_vars={"profile": (None, None, None, None), **files})
    return session.create_client(
        service,
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
        config=Config(proxies={}),
    )


def put_up(
    project: str,
    environment_name: str,
    engine: str,
    *,
    time_scale: float,
    say: Callable[[str], None],
) -> Stage:
    """Make the sources, start the twin and wait until it is ready.

    ``engine`` is auto, docker or process. The twin ends when this process does, however it ends, unless it is let stay.
    Raises RehearsalFailed, with nothing left behind.
    """
    sweep_folders(Path(tempfile.gettempdir()))
    label = f"rehearsal-{secrets.token_hex(4)}"
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{label.removeprefix('rehearsal-')}-"))
    (folder / OWNER_FILE).write_text(owner_of(os.getpid()), encoding="utf-8")
    # An unprivileged PostgreSQL must be able to pass through.
    folder.chmod(0o711)
    try:
        return _put_up(project, environment_name, engine, label, folder, time_scale, say)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def sweep_folders(place: Path) -> list[Path]:
    """Remove the folders of stages whose owner is gone without having been able to tidy up; return them."""
    swept = []
    for folder in place.glob(f"{_FOLDER_PREFIX}*"):
        try:
            owner = (folder / OWNER_FILE).read_text(encoding="utf-8")
        except OSError:
            continue
        if not is_alive(owner):
            shutil.rmtree(folder, ignore_errors=True)
            swept.append(folder)
    return swept


def _put_up(
    project: str,
    environment_name: str,
    engine: str,
    label: str,
    folder: Path,
    time_scale: float,
    say: Callable[[str], None],
) -> Stage:
    root = root_folder()
    # What the operator overrides for real releases must not lead a rehearsal astray, so the files alone count here.
    plain = load(root, project, environment_name, {})
    process = without_real_aws(os.environ, plain.settings.values, folder) | {LABEL_VARIABLE: label}
    supplied = ("aws.account", "registry.host")
    require_present(replace(plain, absent=tuple(name for name in plain.absent if not name.startswith(supplied))))
    chosen, why = choose_engine(engine)
    say(f"tasks run as {'containers' if chosen == 'docker' else 'local processes'}: {why}")
    sources = {
        name: make_source(folder / "sources", name, service, plain.settings.git.branch)
        for name, service in plain.settings.services.items()
    }
    wanted = {f"services.{name}.source": str(source.folder) for name, source in sources.items()}
    if not plain.settings.aws.account:
        wanted["aws.account"] = _ACCOUNT
    process |= overriding(plain, wanted)
    npm = npm_folder(folder)
    if npm is not None:
        say("npm is not installed: a stand-in runs the scripts of package.json")
        process["PATH"] = f"{npm}{os.pathsep}{process.get('PATH', os.defpath)}"
    twin = _start_twin(project, environment_name, chosen, label, folder, time_scale, process)
    try:
        ready = _wait_ready(twin, folder)
        process |= _led_to(plain, ready) | {"DOCKER_HOST": ready.docker_host, "AWS_ENDPOINT_URL": ready.endpoint}
        process["AWS_DEFAULT_REGION"] = plain.settings.aws.region
        loaded = load(root, project, environment_name, process)
    except BaseException:
        _stop_process(twin)
        raise
    return Stage(label, folder, loaded, sources, process, ready, twin, Children())


def _led_to(plain: LoadedSettings, ready: Ready) -> dict[str, str]:
    wanted = {
        "registry.host": ready.registry,
        "health.connect_to": ready.https,
        "health.ca_file": ready.authority,
    }
    if plain.settings.cache is not None:
        wanted["cache.url"] = ready.cache
    for name, service in plain.settings.ecs_services.items():
        if "BASE_IMAGE" in service.build_arguments:
            wanted[f"services.{name}.build_arguments.BASE_IMAGE"] = ready.base_image
    return overriding(plain, wanted)


def _start_twin(
    project: str,
    environment_name: str,
    engine: str,
    label: str,
    folder: Path,
    time_scale: float,
    process: Mapping[str, str],
) -> subprocess.Popen[str]:
    argv = [
        sys.executable,
        *("-m", "gli_tasks.rehearsal.twin"),
        *("--project", project),
        *("--environment", environment_name),
        *("--folder", str(folder)),
        *("--engine", engine),
        *("--time-scale", str(time_scale)),
        *("--label", label),
    ]
    with (folder / "twin-errors.log").open("wb") as errors:
        return subprocess.Popen(
            argv,
            cwd=TOOL_ROOT,
            env=dict(process) | {"MOTO_ACCOUNT_ID": _account(project, environment_name, process)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )


def _account(project: str, environment_name: str, process: Mapping[str, str]) -> str:
    return load(root_folder(), project, environment_name, process).settings.aws.account


def _wait_ready(twin: subprocess.Popen[str], folder: Path) -> Ready:
    import msgspec

    assert twin.stdout is not None
    readable, _, _ = select.select([twin.stdout], [], [], _START_S)
    line = twin.stdout.readline() if readable else ""
    try:
        return msgspec.json.decode(line, type=Ready)
    except msgspec.MsgspecError:
        errors = (folder / "twin-errors.log").read_text(errors="replace")[-3_000:].strip()
        raise RehearsalFailed(f"the twin did not start: {errors or 'it said nothing'}") from None


def take_down(stage: Stage) -> tuple[str, ...]:
    """Stop the twin, remove its folder, and return a sentence for each thing that it left behind."""
    standing = stage.standing()
    stage.children.close()
    _stop_process(stage.process)
    shutil.rmtree(stage.folder, ignore_errors=True)
    return find_leftovers(standing.label, standing.folder, standing.addresses, standing.engine)


def _stop_process(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        # Its children die with it: the kernel and the warden see to that.
        process.kill()
        process.wait(_STOP_S)
    if process.stdout:
        process.stdout.close()


def take_down_standing(standing: Standing) -> tuple[str, ...]:
    """Stop a twin that another process started; return a sentence for each thing that it left behind."""
    deadline = time.monotonic() + _STOP_S
    if _is_twin(standing):
        os.kill(standing.pid, signal.SIGTERM)
    while _is_twin(standing) and time.monotonic() < deadline:
        time.sleep(0.1)
    if _is_twin(standing):
        os.kill(standing.pid, signal.SIGKILL)
    shutil.rmtree(standing.folder, ignore_errors=True)
    return find_leftovers(standing.label, standing.folder, standing.addresses, standing.engine)


def _is_twin(standing: Standing) -> bool:
    """Tell whether the process of that number is this twin; numbers are given again, and no stranger may be killed."""
    done = subprocess.run(
        ["ps", "-o", "stat=,args=", "-ww", "-p", str(standing.pid)],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    state, _, command = done.stdout.strip().partition(" ")
    return not state.startswith("Z") and "gli_tasks.rehearsal.twin" in command and standing.label in command
