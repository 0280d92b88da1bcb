"""A plan reads from the engine and writes nothing to it: the engine itself is the witness."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from tests.floor_parts import REPOSITORY, clean_process_environment
from tests.image.image_parts import Watched, write_source

# The wall has no way back, so it stands in a process of its own.
PROGRAM = """
import json, sys
from gli_tasks import guard
from gli_tasks.errors import PlanWouldWrite
from gli_tasks.image.engine import docker_engine

guard.forbid_writes()
name, folder = sys.argv[1:]
writes = {
    "build": lambda api: list(api.build(path=folder, tag=f"{name}:2", decode=True)),
    "pull": lambda api: list(api.pull(name, stream=True, decode=True)),
    "push": lambda api: list(api.push(name, tag="1", stream=True, decode=True)),
    "tag": lambda api: api.tag(f"{name}:1", name, "2"),
    "remove": lambda api: api.remove_image(f"{name}:1"),
}
refused = {}
with docker_engine(10) as engine:
    found = engine.images.get(f"{name}:1").id
    for verb, write in writes.items():
        try:
            write(engine.api)
        except PlanWouldWrite as error:
            refused[verb] = error.what
    still = engine.images.get(f"{name}:1").id
print(json.dumps({"found": found, "still": still, "refused": refused}))
"""


@pytest.mark.parametrize("kind", ["stand-in", pytest.param("docker", marks=pytest.mark.docker)])
def test_only_reads_get_to_the_engine(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if kind == "docker":
        address = str(request.getfixturevalue("docker_engine"))
    else:
        address = str(request.getfixturevalue("engine").api.base_url).replace("http://", "tcp://")
    client = docker.DockerClient(base_url=address)
    source, name = write_source(tmp_path / "source"), "plan-wall-of-a-test"
    image, _ = client.images.build(path=str(source), tag=f"{name}:1", rm=True)
    watched = Watched(address)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, name, str(source)],
            cwd=REPOSITORY,
            env=clean_process_environment(DOCKER_HOST=watched.url),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["found"] == answer["still"] == image.id
        assert set(answer["refused"]) == {"build", "pull", "push", "tag", "remove"}
        assert answer["refused"]["remove"] == "a plan tried to write: DELETE the Docker engine"
        assert len(watched.requests) >= 3
        assert {line.split()[0] for line in watched.requests} <= {"GET", "HEAD"}
        assert [one.tags for one in client.images.list(name)] == [[f"{name}:1"]]
    finally:
        watched.stop()
        client.images.remove(f"{name}:1", force=True)
        client.close()
