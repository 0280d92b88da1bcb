"""Decide what an image is called and what is written on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gli_tasks.errors import UsageError

#: The label by which an image carries its content's key from the build to the push.
CONTENT_KEY = "com.glibiz.content-key"
_CONTENT = "source-"
_KEY_IN_TAG = 40
_OF_COMMIT = re.compile(r"[0-9a-f]{40}(-[0-9a-f]{8})?")
_OF_DIRTY_SOURCE = re.compile(r"[0-9a-f]{40}-dirty")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Stored:
    """An image of a repository; ``children`` are the digests of the images that an index is made of.

    ``pushed_at`` is None where the registry does not tell; ``size`` is in bytes, compressed.
    """

    digest: str
    tags: tuple[str, ...]
    pushed_at: datetime | None
    size: int
    children: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """A tag that an image is to have; ``moves`` is false where it has it, and ``holder`` the digest that loses it."""

    name: str
    moves: bool
    holder: str

    @property
    def sentence(self) -> str:
        """Return the tag, and from which image it would be taken."""
        return f"{self.name} (which is {self.holder} now)" if self.holder else self.name


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


def commit_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return those of an image's tags that say what it is: of a commit and of its content, but of no dirty source."""
    of_commits = [tag for tag in tags if _OF_COMMIT.fullmatch(tag)]
    return (*of_commits, *content_tags(tags))


def chosen_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return those of an image's tags that a person chose: neither of a commit, dirty or not, nor of its content."""
    given = tuple(tags)
    made = set(commit_tags(given))
    return tuple(tag for tag in given if tag not in made and not _OF_DIRTY_SOURCE.fullmatch(tag))


def require_tag(text: str) -> str:
    """Return a tag that a registry takes (OCI distribution specification, "Pulling manifests").

    Raises UsageError for any other text.
    """
    if not _TAG.fullmatch(text):
        raise UsageError(
            f"{text!r} is no tag of an image",
            remedy="use up to 128 letters, digits, '_', '.' and '-', and begin with none of the last two",
        )
    return text


def given_tags(wanted: Iterable[str], holders: Mapping[str, str], digest: str) -> tuple[Given, ...]:
    """Return what giving an image these tags means, where ``holders`` are the digests that have them now."""
    return tuple(
        Given(tag, holders.get(tag) != digest, "" if holders.get(tag) == digest else holders.get(tag, ""))
        for tag in wanted
    )


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


def kept_digests(images: Iterable[Stored], references: Iterable[str], repository: str) -> frozenset[str]:
    """Return the digests that references (``registry/repository@digest`` or ``:tag``) to this repository name.

    A reference without either is to ``latest``, as Docker reads it.
    """
    by_tag = {tag: image.digest for image in images for tag in image.tags}
    kept = set()
    for reference in references:
        name, _, digest = reference.partition("@")
        tag = "latest"
        if ":" in name.rpartition("/")[2]:
            name, _, tag = name.rpartition(":")
        if name == repository or name.endswith(f"/{repository}"):
            kept.add(digest or by_tag.get(tag, ""))
    return frozenset(kept - {""})


def prunable(
    images: Sequence[Stored], keep: frozenset[str], newest: int, younger_than: timedelta, now: datetime
) -> tuple[tuple[Stored, ...], ...]:
    """Return the images that may go, in waves: those that an index is made of come after it.

    Stays what ``keep`` names, the ``newest`` tagged images, all that is younger than ``younger_than`` or of unknown
    age, what a person tagged, and what an image that stays is made of or is a part of: ECR gives no image back. An
    index and its parts count as one image.
    """
    by_digest = {image.digest: image for image in images}
    parts = {child for image in images for child in image.children}
    whole = sorted(
        (image for image in images if image.digest not in parts and image.tags),
        key=lambda image: (image.pushed_at is None, image.pushed_at or now, image.digest),
        reverse=True,
    )
    stays = set(keep) | {image.digest for image in whole[:newest]}
    stays |= {one.digest for one in images if one.pushed_at is None or now - one.pushed_at < younger_than}
    stays |= {one.digest for one in images if chosen_tags(one.tags)}
    grown = True
    while grown:
        before = len(stays)
        stays |= {image.digest for image in images if stays & set(image.children)}
        stays |= {child for digest in stays & set(by_digest) for child in by_digest[digest].children}
        grown = len(stays) > before
    goes = [image for image in images if image.digest not in stays]
    waves: list[tuple[Stored, ...]] = []
    while goes:
        inner = {child for image in goes for child in image.children if child != image.digest}
        wave = tuple(image for image in goes if image.digest not in inner) or tuple(goes)
        waves.append(wave)
        gone = {image.digest for image in wave}
        goes = [image for image in goes if image.digest not in gone]
    return tuple(waves)
