"""What the image registry (ECR) holds, and how to log in to it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from gli_tasks.console import PROCESS_REDACTOR, Secret
from gli_tasks.errors import UsageError


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image as the registry describes it. ``pushed_at`` is an ISO 8601 time, ``size`` is in bytes, compressed."""

    repository: str
    digest: str
    tags: tuple[str, ...]
    pushed_at: str
    size: int

    def reference(self, registry: str) -> str:
        """Return the name that ECS runs it by: registry, repository and digest, never a tag."""
        return f"{registry}/{self.repository}@{self.digest}"


def find_image(ecr: Any, repository: str, tag: str) -> ImageFacts | None:
    """Return the image that carries a tag, or None. Raises UsageError where the repository does not exist."""
    try:
        answer = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    except ecr.exceptions.ImageNotFoundException:
        return None
    except ecr.exceptions.RepositoryNotFoundException:
        raise _no_repository(repository) from None
    details = answer.get("imageDetails") or []
    return _facts(details[0]) if details else None


def has_digest(ecr: Any, repository: str, digest: str) -> bool:
    """Tell whether a repository holds the image of this digest. Raises UsageError where there is no such repository."""
    try:
        answer = ecr.describe_images(repositoryName=repository, imageIds=[{"imageDigest": digest}])
    except ecr.exceptions.ImageNotFoundException:
        return False
    except ecr.exceptions.RepositoryNotFoundException:
        raise _no_repository(repository) from None
    return bool(answer.get("imageDetails"))


def list_images(ecr: Any, repository: str) -> list[ImageFacts]:
    """Return all tagged images of a repository, the newest first. Raises UsageError where it does not exist."""
    images: list[ImageFacts] = []
    try:
        pages = ecr.get_paginator("describe_images").paginate(repositoryName=repository, filter={"tagStatus": "TAGGED"})
        for page in pages:
            images.extend(_facts(detail) for detail in page["imageDetails"])
    except ecr.exceptions.RepositoryNotFoundException:
        raise _no_repository(repository) from None
    return sorted(images, key=lambda image: image.pushed_at, reverse=True)


def login(ecr: Any) -> tuple[str, Secret]:
    """Return the user and the password that the registry takes for the next twelve hours."""
    data = ecr.get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    secret = Secret(password)
    PROCESS_REDACTOR.learn(secret)
    return user, secret


def _facts(detail: dict[str, Any]) -> ImageFacts:
    pushed = detail.get("imagePushedAt")
    return ImageFacts(
        repository=str(detail["repositoryName"]),
        digest=str(detail["imageDigest"]),
        tags=tuple(detail.get("imageTags", ())),
        pushed_at=pushed.isoformat() if pushed is not None else "",
        size=int(detail.get("imageSizeInBytes", 0)),
    )


def _no_repository(repository: str) -> UsageError:
    return UsageError(f"ECR has no repository {repository!r}", remedy="create it, or check the .env file")
