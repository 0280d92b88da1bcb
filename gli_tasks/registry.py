"""What the image registry (ECR) holds, and how to log in to it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gli_tasks.console import PROCESS_REDACTOR, Secret
from gli_tasks.errors import AwsCallFailed, UsageError


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image as the registry describes it. ``pushed_at`` is an ISO 8601 time, ``size`` is in bytes, compressed."""

    repository: str
    digest: str
    tags: tuple[str, ...]
    pushed_at: str
    size: int
    media_type: str = ""

    def reference(self, registry: str) -> str:
        """Return the name that ECS runs it by: registry, repository and digest, never a tag."""
        return f"{registry}/{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image's manifest, as it was pushed."""

    digest: str
    text: str
    media_type: str


def find_image(ecr: Any, repository: str, tag: str) -> ImageFacts | None:
    """Return the image that carries a tag, or None.

    Raises UsageError where the repository does not exist, AwsCallFailed for an answer that lacks what it must hold.
    """
    return _described(ecr, repository, {"imageTag": tag})


def find_digest(ecr: Any, repository: str, digest: str) -> ImageFacts | None:
    """Return the image of a digest, or None. Raises as ``find_image`` does."""
    return _described(ecr, repository, {"imageDigest": digest})


def has_digest(ecr: Any, repository: str, digest: str) -> bool:
    """Tell whether a repository holds the image of this digest. Raises as ``find_image`` does."""
    return find_digest(ecr, repository, digest) is not None


def list_images(ecr: Any, repository: str, *, untagged: bool = False) -> list[ImageFacts]:
    """Return all tagged images of a repository, or those without a tag as well, the newest first.

    Raises as ``find_image`` does.
    """
    images: list[ImageFacts] = []
    try:
        pages = ecr.get_paginator("describe_images").paginate(
            repositoryName=repository, filter={"tagStatus": "ANY" if untagged else "TAGGED"}
        )
        for page in pages:
            images.extend(_facts(detail) for detail in required(page, "imageDetails", "DescribeImages"))
    except ecr.exceptions.RepositoryNotFoundException:
        raise _no_repository(repository) from None
    return sorted(images, key=lambda image: image.pushed_at, reverse=True)


def read_manifest(ecr: Any, repository: str, digest: str) -> Manifest:
    """Return the manifest of an image, byte for byte, which its digest proves. Raises as ``find_image`` does."""
    try:
        answer = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageDigest": digest}])
    except ecr.exceptions.RepositoryNotFoundException:
        raise _no_repository(repository) from None
    images = answer.get("images") or []
    if not images:
        failures = answer.get("failures") or [{}]
        reason = failures[0].get("failureReason") or "no reason is given"
        raise AwsCallFailed(f"ECR does not give the manifest of {repository}@{digest}: {reason}")
    text = str(required(images[0], "imageManifest", "BatchGetImage"))
    found = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    if found != digest:
        raise AwsCallFailed(
            f"ECR gave the manifest {found} for {repository}@{digest}", remedy="start again; report it if it stays"
        )
    return Manifest(digest, text, str(images[0].get("imageManifestMediaType") or ""))


def put_manifest(ecr: Any, repository: str, manifest: Manifest, tag: str = "") -> bool:
    """Give a repository a manifest whose layers it holds, under a tag if there is one; tell whether ECR took it.

    It does not where the repository's tags are immutable and this one is taken. That the manifest is there under
    this tag already is as good. Raises UsageError where the repository does not exist.
    """
    tagged = {"imageTag": tag} if tag else {}
    typed = {"imageManifestMediaType": manifest.media_type} if manifest.media_type else {}
    try:
        ecr.put_image(
            repositoryName=repository, imageManifest=manifest.text, imageDigest=manifest.digest, **typed, **tagged
        )
    except ecr.exceptions.ImageAlreadyExistsException:
        return True
    except ecr.exceptions.ImageTagAlreadyExistsException:
        return False
    except ecr.exceptions.RepositoryNotFoundException:
        raise _no_repository(repository) from None
    return True


def login(ecr: Any) -> tuple[str, Secret]:
    """Return the user and the password that the registry takes for the next twelve hours. Raises AwsCallFailed."""
    operation = "GetAuthorizationToken"
    data = required(ecr.get_authorization_token(), "authorizationData", operation)[0]
    try:
        token = str(required(data, "authorizationToken", operation))
        user, _, password = base64.b64decode(token).decode().partition(":")
    except ValueError:
        raise AwsCallFailed("ECR gave a login that cannot be read", remedy="start again") from None
    secret = Secret(password)
    PROCESS_REDACTOR.learn(secret)
    # User and password in base64: the very header that the registry is sent.
    PROCESS_REDACTOR.learn(Secret(token))
    return user, secret


def required(answer: Mapping[str, Any], field: str, operation: str, service: str = "ECR") -> Any:
    """Return a member that an answer must hold: one cut short reaches us as success with members missing.

    Raises AwsCallFailed.
    """
    found = answer.get(field)
    if found is None or (field == "authorizationData" and not found):
        raise AwsCallFailed(
            f"{service}'s answer to {operation} lacks {field}", remedy="start again; see the network if it stays"
        )
    return found


def _described(ecr: Any, repository: str, identifier: Mapping[str, str]) -> ImageFacts | None:
    try:
        answer = ecr.describe_images(repositoryName=repository, imageIds=[dict(identifier)])
    except ecr.exceptions.ImageNotFoundException:
        return None
    except ecr.exceptions.RepositoryNotFoundException:
        raise _no_repository(repository) from None
    details = required(answer, "imageDetails", "DescribeImages")
    return _facts(details[0]) if details else None


def _facts(detail: Mapping[str, Any]) -> ImageFacts:
    pushed = detail.get("imagePushedAt")
    return ImageFacts(
        repository=str(required(detail, "repositoryName", "DescribeImages")),
        digest=str(required(detail, "imageDigest", "DescribeImages")),
        tags=tuple(detail.get("imageTags") or ()),
        pushed_at=pushed.isoformat() if pushed is not None else "",
        size=int(detail.get("imageSizeInBytes") or 0),
        media_type=str(detail.get("imageManifestMediaType") or ""),
    )


def _no_repository(repository: str) -> UsageError:
    return UsageError(f"ECR has no repository {repository!r}", remedy="create it, or check the .env file")
