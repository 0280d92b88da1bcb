"""Look for what a rehearsal left behind: processes, containers, networks, open ports, files."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import docker

from gli_tasks.rehearsal.engines import DOCKER_LABEL, engine_address

_SETTLE_S = 3.0


def find_leftovers(label: str, folder: Path, addresses: Sequence[str], engine: str) -> tuple[str, ...]:
    """Return a sentence for each thing that is still there. What is just ending gets a moment to do so."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        found = [*_processes(label, folder), *_ports(addresses)]
        if not found or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if folder.exists():
        found.append(f"folder {folder}")
    if engine == "docker":
        found.extend(_in_docker(label))
    return tuple(found)


def _processes(label: str, folder: Path) -> list[str]:
    """Processes that carry the label in their environment, or live in the folder; where there is no /proc, none are
    seen.

    An operator's shell that took in the rehearsal's environment carries the label too, as does all that wraps this
    command: what led here, and what shares this session, was not left behind.
    """
    found = []
    own = _ancestors(os.getpid())
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) in own or _shares_session(int(entry.name)):
            continue
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
            place = os.readlink(entry / "cwd")
        except OSError:
            # It ended meanwhile, or is none of ours to look into.
            continue
        marked = f"GLI_REHEARSAL={label}".encode() in environment.split(b"\0")
        if marked or str(folder).encode() in command or place.startswith(str(folder)):
            found.append(f"process {entry.name}: {command.replace(bytes(1), b' ').decode(errors='replace')[:120]}")
    return found


def _ancestors(process: int) -> set[int]:
    """Return a process and all that it descends from."""
    found: set[int] = set()
    while process > 0 and process not in found:
        found.add(process)
        try:
            # The name, in parentheses, may hold anything; the state and the parent's number follow.
            process = int(Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            break
    return found


def _shares_session(process: int) -> bool:
    try:
        return os.getsid(process) == os.getsid(0)
    except OSError:
        return False


def _ports(addresses: Sequence[str]) -> list[str]:
    found = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((host, int(port))) == 0:
                found.append(f"port {address}")
    return found


def _in_docker(label: str) -> list[str]:
    address = engine_address()
    if address is None:
        return []
    client = docker.DockerClient(base_url=address)
    try:
        filters = {"label": f"{DOCKER_LABEL}={label}"}
        containers = [f"container {one.name}" for one in client.containers.list(all=True, filters=filters)]
        return containers + [f"network {one.name}" for one in client.networks.list(filters=filters)]
    finally:
        client.close()
