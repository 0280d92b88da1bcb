"""Delete images that nothing needs any more, and believe it only when the registry no longer lists them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gli_tasks.errors import AwsCallFailed
from gli_tasks.image.plan import Stored
from gli_tasks.registry import ImageFacts, list_images, read_manifest, required

# BatchDeleteImage takes a hundred images a call (API reference).
_IMAGES_A_CALL = 100
# The media types of a manifest that names others: https://github.com/opencontainers/image-spec/blob/v1.1.0/media-types.md
INDEX_TYPES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)


def stored_images(ecr: Any, repository: str) -> tuple[Stored, ...]:
    """Return all images of a repository, those without a tag as well, the newest first.

    Raises UsageError where it does not exist, AwsCallFailed for an answer that lacks what it must hold.
    """
    return tuple(_stored(ecr, one) for one in list_images(ecr, repository, untagged=True))


def delete_images(ecr: Any, repository: str, waves: Sequence[Sequence[str]]) -> None:
    """Delete images by digest, with all their tags: one wave after the other, a hundred a call.

    That one is gone already is as good. Raises AwsCallFailed, naming every image that is still there.
    """
    failed: dict[str, str] = {}
    for wave in waves:
        for start in range(0, len(wave), _IMAGES_A_CALL):
            some = [{"imageDigest": digest} for digest in wave[start : start + _IMAGES_A_CALL]]
            answer = ecr.batch_delete_image(repositoryName=repository, imageIds=some)
            for failure in answer.get("failures") or ():
                if failure.get("failureCode") != "ImageNotFound":
                    digest = str((failure.get("imageId") or {}).get("imageDigest", "an image"))
                    failed[digest] = str(failure.get("failureReason") or failure.get("failureCode"))
    wanted = {digest for wave in waves for digest in wave}
    left = wanted & {one.digest for one in list_images(ecr, repository, untagged=True)} if wanted else set()
    failed |= {digest: "it is still listed" for digest in left if digest not in failed}
    if failed:
        lines = "\n".join(f"  - {digest}: {reason}" for digest, reason in sorted(failed.items()))
        raise AwsCallFailed(
            f"{len(failed)} of {len(wanted)} images of {repository} could not be deleted:\n{lines}",
            remedy="see the reasons, then start again",
        )


def _stored(ecr: Any, image: ImageFacts) -> Stored:
    children: tuple[str, ...] = ()
    if image.media_type in INDEX_TYPES:
        document = json.loads(read_manifest(ecr, image.repository, image.digest).text)
        children = tuple(str(required(one, "digest", "BatchGetImage")) for one in document.get("manifests") or ())
    pushed = datetime.fromisoformat(image.pushed_at) if image.pushed_at else None
    return Stored(image.digest, image.tags, pushed, image.size, children)
