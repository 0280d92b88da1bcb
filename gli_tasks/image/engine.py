"""Reach the Docker engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gli_tasks import guard
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
            _ask_before_each_request(client.api)
        except (DockerException, OSError) as error:
            raise _no_engine(error) from None
        yield client
    finally:
        client.close()


def _ask_before_each_request(api: Any) -> None:
    """Let the guard see every request to the engine, which is HTTP on whatever socket it listens on."""
    send = api.send

    def ask_and_send(request: Any, **options: Any) -> Any:
        guard.require_http(str(request.method), "the Docker engine")
        return send(request, **options)

    api.send = ask_and_send


def cut_off() -> tuple[type[Exception], ...]:
    """Return the errors of an engine that goes silent, goes away, or breaks its answer off in the middle.

    The SDK reads a stream below the layer that makes its own errors, so urllib3's come through as they are.
    """
    from docker.errors import DockerException, StreamParseError
    from urllib3.exceptions import HTTPError

    return (DockerException, StreamParseError, HTTPError, OSError)


def _no_engine(error: Exception) -> UsageError:
    where = os.environ.get("DOCKER_HOST", "the default socket")
    return UsageError(f"no Docker engine answers at {where} ({error})", remedy="start Docker, or set DOCKER_HOST")
