"""Parts that tests share: which of them are here, and what to do when one is missing."""

from __future__ import annotations

import os

import pytest

#: No marked secret may show up in the whole suite; see there.
pytest_plugins = ["tests.marker_secrets"]


def missing(part: str) -> None:
    """Skip a test for want of a part, or fail it where every part is required (``GLI_REQUIRE_ALL=1``)."""
    if os.environ.get("GLI_REQUIRE_ALL") == "1":
        pytest.fail(f"{part} is missing, and GLI_REQUIRE_ALL=1 says that it must be here")
    pytest.skip(f"{part} is missing")


@pytest.fixture(scope="session")
def docker_engine() -> str:
    """Return the address of a Docker engine that answers."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=10)
        client.ping()
        client.close()
    except DockerException:
        missing("a Docker engine")
    return os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
