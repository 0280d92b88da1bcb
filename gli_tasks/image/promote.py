"""Give a repository an image that another one holds, by digest and without building: what was proven goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gli_tasks.errors import AwsCallFailed, PushFailed, Refused
from gli_tasks.image.distribution import BlobCopyCut, Distribution
from gli_tasks.image.plan import Given, commit_tags, given_tags
from gli_tasks.image.reuse import read_back
from gli_tasks.registry import (
    ImageFacts,
    Manifest,
    find_digest,
    find_image,
    login,
    put_manifest,
    read_manifest,
    required,
)

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Place:
    """A repository: its registry's host, and the ECR that tells of it."""

    ecr: Any
    host: str
    repository: str


@dataclass(frozen=True, slots=True)
class Promotion:
    """What a promotion would do. ``copied`` tells whether the target lacks the image itself."""

    image: ImageFacts
    target: Place
    copied: bool
    tags: tuple[Given, ...]

    @property
    def sentence(self) -> str:
        """Return what would be done, as an operator reads it; empty where all is there already."""
        new = [tag for tag in self.tags if tag.moves]
        if not self.copied and not new:
            return ""
        copied = f" copied from {self.image.repository} ({self.image.size / 1e6:.1f} MB)" if self.copied else ""
        tagged = " and tagged " + ", ".join(tag.sentence for tag in new) if new else ""
        return f"{self.image.digest} would be{copied}{tagged} in {self.target.repository}".replace("be and", "be")


def decide_promotion(source: Place, target: Place, digest: str, to_tag: str) -> Promotion:
    """Return what giving ``target`` the image of ``digest`` takes. Reads only.

    It keeps its tags of commits and of its content, unless ``to_tag`` names the one that it gets.
    Raises Refused where the source does not hold it, or it would get no tag.
    """
    image = find_digest(source.ecr, source.repository, digest)
    if image is None:
        raise Refused(f"{source.repository} holds no image {digest}", remedy="see `invoke image.list`")
    wanted = (to_tag,) if to_tag else commit_tags(image.tags)
    if not wanted:
        shown = ", ".join(image.tags) or "none"
        raise Refused(f"{digest} has no tag of a commit (its tags: {shown})", remedy="name one by --to-tag")
    holders = {tag: find_image(target.ecr, target.repository, tag) for tag in wanted}
    there = find_digest(target.ecr, target.repository, digest)
    given = given_tags(wanted, {tag: one.digest for tag, one in holders.items() if one is not None}, digest)
    return Promotion(image, target, there is None, given)


def promote(
    source: Place,
    promotion: Promotion,
    *,
    pause_s: float = 2.0,
    read_back_s: float = 15,
    on_line: Callable[[str], None],
) -> ImageFacts:
    """Do it, and return the image as the target's registry then shows it.

    What an index is made of comes before it, and the tags last, so that a tag never names half an image.
    Raises PushFailed where a copy is cut off for good, a tag may not move, or the registry shows another digest.
    """
    image, target = promotion.image, promotion.target
    if promotion.copied:
        _copy(source, target, image.digest, pause_s, on_line)
    manifest = read_manifest(target.ecr, target.repository, image.digest)
    for tag in promotion.tags:
        if not tag.moves:
            continue
        if not put_manifest(target.ecr, target.repository, manifest, tag.name):
            holder = find_image(target.ecr, target.repository, tag.name)
            if holder is None or holder.digest != image.digest:
                raise PushFailed(
                    f"the tag {tag.name} of {target.repository} may not move to {image.digest}: its tags are immutable",
                    remedy="the image itself is there; name a free tag by --to-tag",
                )
        read_back(target.ecr, target.repository, tag.name, image.digest, read_back_s)
    shown = find_digest(target.ecr, target.repository, image.digest)
    if shown is None:
        raise PushFailed(f"{target.repository} does not show {image.digest}", remedy="start again")
    return shown


def _copy(source: Place, target: Place, digest: str, pause_s: float, on_line: Callable[[str], None]) -> None:
    with (
        Distribution(source.host, login(source.ecr)) as origin,
        Distribution(target.host, login(target.ecr)) as destination,
    ):

        def copy(each: str) -> None:
            manifest = read_manifest(source.ecr, source.repository, each)
            children, blobs = _parts(manifest)
            for child in children:
                copy(child)
            for number, (blob, size) in enumerate(blobs, 1):
                how = _copy_blob(origin, source.repository, destination, target.repository, blob, size, pause_s)
                on_line(f"{each[7:19]} {number}/{len(blobs)}: {blob[7:19]} {how} ({size / 1e6:.1f} MB)")
            if not put_manifest(target.ecr, target.repository, manifest):
                raise PushFailed(f"ECR does not take the manifest {each} into {target.repository}")

        copy(digest)


def _parts(manifest: Manifest) -> tuple[Sequence[str], Sequence[tuple[str, int]]]:
    """Return the manifests that one names, and its blobs with their sizes; what is kept elsewhere stays there."""
    document = json.loads(manifest.text)
    children = [str(required(one, "digest", "BatchGetImage")) for one in document.get("manifests") or ()]
    named = [*(document.get("layers") or ()), *([document["config"]] if document.get("config") else ())]
    if not children and not named:
        raise AwsCallFailed(f"the manifest {manifest.digest} names neither layers nor manifests")
    blobs = {
        str(required(one, "digest", "BatchGetImage")): int(required(one, "size", "BatchGetImage"))
        for one in named
        if not one.get("urls")
    }
    return children, list(blobs.items())


def _copy_blob(
    origin: Distribution, repository: str, destination: Distribution, to: str, digest: str, size: int, pause_s: float
) -> str:
    """Bring one blob over and say how. Raises PushFailed."""
    mount_from = repository if origin.host == destination.host else ""
    for attempt in range(1, _TRIES + 1):
        try:
            if destination.has(to, digest):
                return "is there"
            location = destination.begin(to, digest, mount_from)
            if not location:
                return "mounted"
            with origin.reading(repository, digest) as pieces:
                destination.write(location, digest, size, pieces)
            return "copied"
        except BlobCopyCut as error:
            if attempt == _TRIES:
                raise PushFailed(
                    f"the copy of {digest} from {repository} to {to} was cut off {attempt} times: {error}",
                    remedy="start again: what arrived is kept",
                ) from None
            time.sleep(pause_s)
    raise AssertionError("unreachable")
