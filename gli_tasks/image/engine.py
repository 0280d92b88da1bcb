"""Reach the Docker engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gli_tasks.errors import UsageError


@contextmanager
def docker_engine(timeout_s: float) -> Iterator[Any]:
    """Give a client of the Docker engine (DOCKER_HOST, else the default socket), closed at the end.

    Raises UsageError where no engine answers.
    """
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=max(1, int(timeout_s)))
    except DockerException as error:
        raise _no_engine(error) from None
    try:
        try:
            client.ping()
        except (DockerException, OSError) as error:
            raise _no_engine(error) from None
        yield client
    finally:
        client.close()


def _no_engine(error: Exception) -> UsageError:
    where = os.environ.get("DOCKER_HOST", "the default socket")
    return UsageError(f"no Docker engine answers at {where} ({error})", remedy="start Docker, or set DOCKER_HOST")
