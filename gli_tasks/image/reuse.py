"""Use an image again instead of building an equal one: find it, and give it the commit's tag."""

from __future__ import annotations

import time
from typing import Any

from gli_tasks.errors import PushFailed
from gli_tasks.image.content import Content
from gli_tasks.image.plan import content_tags, second_tag
from gli_tasks.registry import ImageFacts, find_image, put_manifest, read_manifest


def find_reusable(ecr: Any, repository: str, tag: str, content: Content) -> ImageFacts | None:
    """Return the image that a build of this content need not make anew, or None. Reads only.

    That is the one with the content's own tag. Where no image has it, or the content cannot be told, the one of the
    commit, unless its own content's tag says that it was made of something else. None ever for a dirty source.
    Raises UsageError where the repository does not exist.
    """
    if content.dirty:
        return None
    if content.tag:
        found = find_image(ecr, repository, content.tag)
        if found is not None:
            return found
    by_commit = find_image(ecr, repository, tag)
    if by_commit is not None and content.tag and content_tags(by_commit.tags):
        return None
    return by_commit


def adopt(ecr: Any, image: ImageFacts, tag: str, *, read_back_s: float = 15) -> ImageFacts:
    """Give an image the commit's tag as well, and return it as the registry then shows it.

    The tag moves to it from an older image of this commit. Where the repository's tags are immutable it cannot, and
    this one gets ``<commit>-<8 digits of its content>`` instead.
    Nothing is pulled or pushed: the manifest is put a second time (ECR user guide, "Retagging an image").
    Raises PushFailed where the registry does not show the image under either tag.
    """
    if tag in image.tags:
        return image
    manifest = read_manifest(ecr, image.repository, image.digest)
    for each in (tag, second_tag(tag, image.tags, image.digest)):
        if put_manifest(ecr, image.repository, manifest, each):
            return read_back(ecr, image.repository, each, image.digest, read_back_s)
        # Refused, although it is this very image's: so ECR answers a first try whose answer was lost.
        holder = find_image(ecr, image.repository, each)
        if holder is not None and holder.digest == image.digest:
            return holder
    raise PushFailed(
        f"{image.repository}@{image.digest} gets no tag: other images have {tag} and {each}, and tags are immutable",
        remedy="see what pushes these tags, then start again",
    )


def read_back(ecr: Any, repository: str, tag: str, digest: str, within_s: float) -> ImageFacts:
    """Return the image of a tag once the registry shows this digest under it. Raises PushFailed."""
    deadline = time.monotonic() + within_s
    while True:
        found = find_image(ecr, repository, tag)
        if found is not None and found.digest == digest:
            return found
        if time.monotonic() > deadline:
            shown = found.digest if found else "nothing"
            raise PushFailed(
                f"{digest} was pushed to {repository}:{tag}, and the registry shows {shown}",
                remedy="see who else pushes this tag, then start again",
            )
        time.sleep(min(1.0, within_s))
