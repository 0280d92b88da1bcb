"""Push an image, and believe it only when the registry shows the same digest."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gli_tasks.errors import GliError, PushFailed, UsageError
from gli_tasks.image.engine import cut_off, docker_engine
from gli_tasks.image.plan import CONTENT_KEY, content_tag, progress_line
from gli_tasks.image.reuse import adopt, read_back
from gli_tasks.registry import ImageFacts, find_image, login


class _PushEnded(Exception):
    """One try did not come to its end; another one may."""


def push_image(
    ecr: Any,
    registry: str,
    repository: str,
    tag: str,
    *,
    timeout_s: float = 1_200,
    read_back_s: float = 15,
    tries: int = 3,
    pause_s: float = 3.0,
    on_line: Callable[[str], None],
) -> ImageFacts:
    """Push ``registry/repository:tag`` from the engine and return the image as the registry shows it.

    An image that says what it is made of is pushed under its content's tag, and then given ``tag`` as well: so one
    that has a commit's tag always has its content's. A push that was cut off is tried again, ``tries`` times in all
    and while ``timeout_s`` lasts, since the layers that arrived are there; the registry names a tag only once all of
    an image is. Raises PushFailed where the push ends in an error, the engine has no such image or names no digest,
    or the registry shows another.
    """
    name = f"{registry}/{repository}"
    deadline = time.monotonic() + timeout_s
    with docker_engine(timeout_s) as engine:
        key = _content_key(engine, f"{name}:{tag}")
        first = content_tag(key) if key else tag
        if first != tag:
            _tag_locally(engine, f"{name}:{tag}", name, first)
        for attempt in range(1, tries + 1):
            try:
                digest = _push_once(engine, login(ecr), name, first, on_line)
                break
            except _PushEnded as ended:
                held = _held(ecr, repository, first, f"the push of {name}:{first} failed: {ended}")
                if held is not None and key:
                    # Immutable tags: an equal image was pushed since we looked, or we did and lost the answer.
                    on_line(f"{repository}:{first} is in the registry already")
                    return adopt(ecr, held, tag, read_back_s=read_back_s)
                if attempt == tries or time.monotonic() + pause_s > deadline:
                    raise PushFailed(
                        f"the push of {name}:{tag} failed, {attempt} of {tries} times: {ended}",
                        remedy="see whether the registry answers, then start again: layers that arrived are kept",
                    ) from None
                on_line(f"the push was cut off ({ended}); again in {pause_s:g} s")
                time.sleep(pause_s)
    return adopt(ecr, read_back(ecr, repository, first, digest, read_back_s), tag, read_back_s=read_back_s)


def local_image(name: str) -> str | None:
    """Return the id of the engine's image of a name, or None. Raises UsageError where no engine answers."""
    from docker.errors import ImageNotFound

    with docker_engine(10) as engine:
        try:
            return str(engine.api.inspect_image(name)["Id"])
        except ImageNotFound:
            return None


def _push_once(engine: Any, account: Any, name: str, tag: str, on_line: Callable[[str], None]) -> str:
    """Push once and return the digest that the engine names. Raises PushFailed, _PushEnded."""
    from docker.errors import APIError

    user, password = account
    digest = ""
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
                raise _PushEnded(str(event["error"]))
            digest = str((event.get("aux") or {}).get("Digest", "")) or digest
            line = progress_line(event)
            if line:
                on_line(line)
    except APIError as error:
        raise PushFailed(f"the engine refused to push {name}:{tag}: {error.explanation}") from None
    except cut_off() as error:
        raise _PushEnded(f"it was cut off: {error}") from None
    if not digest:
        raise _PushEnded("the engine named no digest")
    return digest


def _held(ecr: Any, repository: str, tag: str, failure: str) -> ImageFacts | None:
    """Return the image that has the tag in spite of the failure; None where there is none, or nobody can tell."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return find_image(ecr, repository, tag)
    except UsageError as error:
        raise PushFailed(f"{failure}; {error.what}", remedy=error.remedy) from None
    except (GliError, ClientError, BotoCoreError):
        return None


def _content_key(engine: Any, image: str) -> str:
    """Return what the image says that it is made of. Raises PushFailed where the engine has no such image."""
    from docker.errors import ImageNotFound

    try:
        inspected = engine.api.inspect_image(image)
    except ImageNotFound:
        raise PushFailed(f"the engine has no image {image}", remedy="build it first: `invoke image.build`") from None
    except cut_off() as error:
        raise PushFailed(f"the engine does not tell of {image}: {error}", remedy="start again") from None
    labels = (inspected.get("Config") or {}).get("Labels") or {}
    return str(labels.get(CONTENT_KEY, ""))


def _tag_locally(engine: Any, image: str, name: str, tag: str) -> None:
    try:
        engine.api.tag(image, name, tag)
    except cut_off() as error:
        raise PushFailed(f"the engine does not tag {image} as {tag}: {error}", remedy="start again") from None
