"""Remove what an earlier, dead run left on a Docker engine.

    python -m gli_tasks.rehearsal.runtime.sweep DOCKER_HOST LABEL RUN

waits for the end of its input, that is, for its parent to be gone, and then removes what belongs to RUN: the net under
a twin that is killed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import docker

OWNER = "owner"
REGISTRY = "registry"
_START_TIME_FIELD = 19  # of what follows the name in /proc/PID/stat (proc(5): field 22)


@dataclass(frozen=True, slots=True)
class Swept:
    """How much was removed."""

    containers: int
    networks: int
    images: int


def owner_of(pid: int) -> str:
    """Return a name for a process that no later process has: its number and, on Linux, its start time."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return str(pid)
    return f"{pid}:{stat.rpartition(')')[2].split()[_START_TIME_FIELD]}"


def is_alive(owner: str) -> bool:
    """Say whether the process that ``owner_of`` named still runs."""
    pid = owner.partition(":")[0]
    if not pid.isdecimal():
        return False
    if ":" in owner:
        return owner_of(int(pid)) == owner
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sweep(docker_host: str, label: str, run: str | None = None) -> Swept:
    """Remove containers, networks and images that carry ``label``: of ``run``, or of all runs whose owner is dead.

    Images go by their label, or because they are named after the registry of a run that is removed. Raises
    docker.errors.DockerException where the engine does not answer; what is gone already is no error.
    """
    import docker

    client = docker.DockerClient(base_url=docker_host)
    try:
        return _sweep(client, label, run)
    finally:
        client.close()


def _sweep(client: docker.DockerClient, label: str, run: str | None) -> Swept:
    wanted = {"label": label if run is None else f"{label}={run}"}

    def is_left_over(labels: dict[str, str]) -> bool:
        return run is not None or not is_alive(labels.get(f"{label}.{OWNER}", ""))

    # By identity only: an object per container would be inspected one by one, and may be gone by then.
    containers = [
        each["Id"] for each in client.api.containers(all=True, filters=wanted) if is_left_over(each["Labels"])
    ]
    networks = [each for each in client.api.networks(filters=wanted) if is_left_over(each["Labels"])]
    registries = {each["Labels"].get(f"{label}.{REGISTRY}", "") for each in networks} - {""}
    images = [each["Id"] for each in client.api.images(filters=wanted) if is_left_over(each["Labels"] or {})]
    removed_containers = sum(_gone(client.api.remove_container, each, force=True, v=True) for each in containers)
    removed_networks = sum(_gone(client.api.remove_network, each["Id"]) for each in networks)
    removed_images = sum(_gone(client.api.remove_image, each, force=True) for each in images)
    removed_images += sum(remove_images_of(client, registry) for registry in registries)
    return Swept(removed_containers, removed_networks, removed_images)


def remove_images_of(client: docker.DockerClient, registry: str) -> int:
    """Remove every image name that begins with ``registry`` (``host:port``), and say how many."""
    count = 0
    for image in client.api.images(all=False):
        names = (*(image["RepoTags"] or ()), *(image["RepoDigests"] or ()))
        count += sum(
            _gone(client.api.remove_image, name, force=True) for name in names if name.startswith(f"{registry}/")
        )
    return count


def _gone(remove: Any, name: str, **options: bool) -> bool:
    """Remove something; what another has removed, or still uses, is left to it."""
    import docker.errors

    with contextlib.suppress(docker.errors.APIError):
        remove(name, **options)
        return True
    return False


if __name__ == "__main__":
    sys.stdin.read()
    sweep(*sys.argv[1:4])
