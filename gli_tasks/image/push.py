"""Push an image, and believe it only when the registry shows the same digest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gli_tasks.errors import GliError, PushFailed, UsageError
from gli_tasks.image.engine import cut_off, docker_engine
from gli_tasks.image.plan import CONTENT_KEY, content_tag, progress_line
from gli_tasks.image.reuse import adopt, read_back
from gli_tasks.registry import ImageFacts, find_image, login

_AGAIN = "see whether the registry answers, then start again: layers that arrived are kept"
_REPLACING = f"{_AGAIN}; where tags are immutable no image takes an equal one's place: change what goes into it"


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image of the engine; ``content_key`` is what it says that it is made of, empty where it does not."""

    identity: str
    content_key: str


class _PushEnded(Exception):
    """One try did not come to its end; another one may."""


def push_image(
    ecr: Any,
    registry: str,
    repository: str,
    tag: str,
    *,
    content_key: str = "",
    replacing: bool = False,
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
    an image is. ``content_key`` is what the image must be made of, empty where nobody can tell. An equal image that is
    in the registry already is taken instead where the push cannot come to its end, unless this one is ``replacing`` it.
    Raises PushFailed where the push ends in an error, the engine has no such image, one of other content, or names no
    digest, or the registry shows another.
    """
    name = f"{registry}/{repository}"
    deadline = time.monotonic() + timeout_s
    with docker_engine(timeout_s) as engine:
        local = _inspected(engine, f"{name}:{tag}")
        if local is None:
            raise PushFailed(f"the engine has no image {name}:{tag}", remedy="build it first: `invoke image.build`")
        key = local.content_key
        if content_key and key != content_key:
            raise PushFailed(
                f"the engine's image {name}:{tag} is made of something else ({_shown(key)}) than the source and its"
                f" settings are now ({_shown(content_key)})",
                remedy="run `invoke image.build`",
            )
        first = content_tag(key) if key else tag
        replaced = find_image(ecr, repository, first) if replacing else None
        if first != tag:
            _tag_locally(engine, f"{name}:{tag}", name, first)
        for attempt in range(1, tries + 1):
            try:
                digest = _push_once(engine, login(ecr), name, first, on_line)
                break
            except _PushEnded as ended:
                held = _held(ecr, repository, first, f"the push of {name}:{first} failed: {ended}")
                if held is not None and key and (replaced is None or held.digest != replaced.digest):
                    # Immutable tags: an equal image was pushed since we looked, or we did and lost the answer.
                    on_line(f"{repository}:{first} is in the registry already")
                    return adopt(ecr, held, tag, read_back_s=read_back_s)
                if attempt == tries or time.monotonic() + pause_s > deadline:
                    raise PushFailed(
                        f"the push of {name}:{tag} failed, {attempt} of {tries} times: {ended}",
                        remedy=_REPLACING if replaced is not None else _AGAIN,
                    ) from None
                on_line(f"the push was cut off ({ended}); again in {pause_s:g} s")
                time.sleep(pause_s)
    return adopt(ecr, read_back(ecr, repository, first, digest, read_back_s), tag, read_back_s=read_back_s)


def local_image(name: str) -> LocalImage | None:
    """Return the engine's image of a name, or None. Raises UsageError where no engine answers, PushFailed."""
    with docker_engine(10) as engine:
        return _inspected(engine, name)


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


def _inspected(engine: Any, image: str) -> LocalImage | None:
    """Return what the engine tells of an image; None where it has none of that name. Raises PushFailed."""
    from docker.errors import ImageNotFound

    try:
        inspected = engine.api.inspect_image(image)
    except ImageNotFound:
        return None
    except cut_off() as error:
        raise PushFailed(f"the engine does not tell of {image}: {error}", remedy="start again") from None
    labels = (inspected.get("Config") or {}).get("Labels") or {}
    return LocalImage(str(inspected["Id"]), str(labels.get(CONTENT_KEY, "")))


def _shown(key: str) -> str:
    return content_tag(key) if key else "it does not say of what"


def _tag_locally(engine: Any, image: str, name: str, tag: str) -> None:
    try:
        engine.api.tag(image, name, tag)
    except cut_off() as error:
        raise PushFailed(f"the engine does not tag {image} as {tag}: {error}", remedy="start again") from None
