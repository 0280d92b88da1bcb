"""Push an image, and believe it only when the registry shows the same digest."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gli_tasks.errors import PushFailed
from gli_tasks.image.engine import cut_off, docker_engine
from gli_tasks.image.plan import PushedImage, progress_line
from gli_tasks.registry import ImageFacts, find_image, login


def push_image(
    ecr: Any,
    registry: str,
    repository: str,
    tag: str,
    *,
    timeout_s: float = 1_200,
    read_back_s: float = 15,
    on_line: Callable[[str], None],
) -> ImageFacts:
    """Push ``registry/repository:tag`` from the engine and return the image as the registry shows it.

    Raises PushFailed where the push ends in an error, the engine names no digest, or the registry shows another.
    """
    from docker.errors import APIError

    user, password = login(ecr)
    name = f"{registry}/{repository}"
    digest = ""
    with docker_engine(timeout_s) as engine:
        try:
            events = engine.api.push(
                name,
                tag=tag,
                stream=True,
                decode=True,
                auth_config={"username": user, "password": password.reveal()},
            )
            for event in events:
                if "error" in event:
                    raise PushFailed(f"the push of {name}:{tag} failed: {event['error']}", remedy="start again")
                digest = str(event.get("aux", {}).get("Digest", "")) or digest
                line = progress_line(event)
                if line:
                    on_line(line)
        except APIError as error:
            raise PushFailed(f"the engine refused to push {name}:{tag}: {error.explanation}") from None
        except cut_off() as error:
            raise PushFailed(f"the push of {name}:{tag} was cut off: {error}", remedy="start again") from None
    if not digest:
        raise PushFailed(f"the engine named no digest for {name}:{tag}", remedy="start again")
    return _read_back(ecr, PushedImage(repository, tag, digest), read_back_s)


def _read_back(ecr: Any, pushed: PushedImage, within_s: float) -> ImageFacts:
    deadline = time.monotonic() + within_s
    while True:
        found = find_image(ecr, pushed.repository, pushed.tag)
        if found is not None and found.digest == pushed.digest:
            return found
        if time.monotonic() > deadline:
            shown = found.digest if found else "nothing"
            raise PushFailed(
                f"{pushed.digest} was pushed to {pushed.repository}:{pushed.tag}, and the registry shows {shown}",
                remedy="see who else pushes this tag, then start again",
            )
        time.sleep(min(1.0, within_s))
