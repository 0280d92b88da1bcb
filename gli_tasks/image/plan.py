"""Decide what an image is called and what is written on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PushedImage:
    """An image that the registry was seen to hold."""

    repository: str
    tag: str
    digest: str


#: The label by which an image carries its content's key from the build to the push.
CONTENT_KEY = "com.glibiz.content-key"
_CONTENT = "source-"
_KEY_IN_TAG = 40


def labels(
    *,
    commit: str,
    dirty: bool,
    moment: datetime,
    source: str,
    version: str,
    content_key: str = "",
    base: tuple[str, str] = ("", ""),
) -> dict[str, str]:
    """Return an image's labels, by the keys of the OCI image specification (annotations.md) where it has one.

    ``moment`` is the commit's, so that equal content gives equal labels; ``base`` the name and the digest of the image
    that it stands on.
    """
    found = {
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.created": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "org.opencontainers.image.source": source,
        "org.opencontainers.image.version": version,
        "com.glibiz.source-dirty": "true" if dirty else "false",
        CONTENT_KEY: content_key,
        "org.opencontainers.image.base.name": base[0],
        "org.opencontainers.image.base.digest": base[1],
    }
    return {name: value for name, value in found.items() if value}


def content_tag(key: str) -> str:
    """Return the tag that every image of one content has, whichever commit it was built of."""
    return f"{_CONTENT}{key[:_KEY_IN_TAG]}"


def content_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return those of an image's tags that name its content."""
    return tuple(tag for tag in tags if tag.startswith(_CONTENT) and len(tag) == len(_CONTENT) + _KEY_IN_TAG)


def second_tag(tag: str, tags: Iterable[str], digest: str) -> str:
    """Return the tag for a second image of a commit where no tag may move: ``<commit>-<8 digits of the content>``.

    A commit is built again when its base image moved. Of an image without a content's tag, its digest stands in.
    """
    content = next(iter(content_tags(tags)), "")
    return f"{tag}-{content.removeprefix(_CONTENT)[:8] or digest.removeprefix('sha256:')[:8]}"


def progress_line(event: dict[str, object]) -> str:
    """Return one event of the engine's build or push stream as a line for the operator; empty when it says nothing
    new."""
    if "stream" in event:
        return str(event["stream"]).strip()
    status = str(event.get("status", ""))
    # The bytes of each layer come many times a second; the state of a layer is news only when it changes.
    if status in ("Pushing", "Preparing", "Waiting", "Downloading", "Extracting", ""):
        return ""
    return f"{event['id']}: {status}" if event.get("id") else status
