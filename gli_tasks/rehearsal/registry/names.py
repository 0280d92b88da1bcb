"""Names of images: digests, repositories, tags and references.

Grammar: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests and
https://pkg.go.dev/github.com/distribution/reference.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
REGISTRY = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?")
MAXIMUM_REPOSITORY_LENGTH = 255

DEFAULT_REGISTRY = "docker.io"


class InvalidReference(ValueError):
    """The text is not an image reference."""


def digest_of(content: bytes) -> str:
    """Return the ``sha256:...`` digest of ``content``."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_digest(text: str) -> bool:
    """Say whether ``text`` is a SHA-256 digest, the only algorithm that registries in use here speak."""
    return DIGEST.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """Say whether ``text`` is a repository's name."""
    return len(text) <= MAXIMUM_REPOSITORY_LENGTH and REPOSITORY.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Say whether ``text`` is a tag."""
    return TAG.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image's name: ``registry/repository:tag@digest``; ``tag`` and ``digest`` may both be absent."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """Return ``registry/repository``, without the registry where it is the default one."""
        if self.registry == DEFAULT_REGISTRY:
            return self.repository.removeprefix("library/")
        return f"{self.registry}/{self.repository}"

    @property
    def target(self) -> str:
        """Return what to ask a registry for: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        """Return the reference as it is written."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse_reference(text: str) -> ImageReference:
    """Parse an image reference as Docker does.

    The part before the first slash is a registry only if it holds a dot or a colon, or is ``localhost``.
    Raises InvalidReference.
    """
    rest, _, digest = text.partition("@")
    if digest and not is_digest(digest):
        raise InvalidReference(f"{text!r}: {digest!r} is not a sha256 digest")
    tag = ""
    if ":" in rest.rpartition("/")[2]:
        rest, _, tag = rest.rpartition(":")
        if not is_tag(tag):
            raise InvalidReference(f"{text!r}: {tag!r} is not a tag")
    first, slash, remainder = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = first, remainder
    else:
        registry, repository = DEFAULT_REGISTRY, rest if slash else f"library/{rest}"
    if not is_repository(repository) or REGISTRY.fullmatch(registry) is None:
        raise InvalidReference(f"invalid reference format: {text!r}")
    return ImageReference(registry=registry, repository=repository, tag=tag or None, digest=digest or None)
