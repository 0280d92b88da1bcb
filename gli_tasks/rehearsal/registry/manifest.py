"""Image manifests: what a registry keeps under a tag or a digest.

Formats: https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md and
https://distribution.github.io/distribution/spec/manifest-v2-2/.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gli_tasks.rehearsal.registry.names import digest_of, is_digest

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_TYPES = (DOCKER_MANIFEST, OCI_MANIFEST)
INDEX_TYPES = (DOCKER_LIST, OCI_INDEX)
MANIFEST_TYPES = IMAGE_TYPES + INDEX_TYPES

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MAXIMUM_MANIFEST_BYTES = 4 * 1024 * 1024


class InvalidManifest(ValueError):
    """The bytes are not a manifest of a known type."""


class Platform(msgspec.Struct, frozen=True):
    """What a child of an index runs on."""

    architecture: str = ""
    os: str = ""


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A blob or manifest that a manifest names; ``size`` in bytes."""

    media_type: str
    size: int
    digest: str
    urls: tuple[str, ...] = ()
    platform: Platform | None = None


class ManifestDocument(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The members of a manifest that matter here; an index has ``manifests``, an image ``config`` and ``layers``."""

    schema_version: int
    media_type: str = ""
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest, byte for byte as it was pushed, and what it names."""

    digest: str
    media_type: str
    content: bytes
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]

    @property
    def image_size(self) -> int:
        """Return the bytes of the compressed layers and the configuration."""
        return sum(layer.size for layer in self.layers) + (self.config.size if self.config else 0)

    @property
    def blobs(self) -> tuple[str, ...]:
        """Return the digests that the registry must hold; layers with URLs of their own are kept elsewhere."""
        own = tuple(layer.digest for layer in self.layers if not layer.urls)
        return ((self.config.digest,) if self.config else ()) + own


def parse_manifest(content: bytes, media_type: str = "") -> Manifest:
    """Parse a manifest of ``media_type``, else of the type that it gives itself.

    Raises InvalidManifest.
    """
    if len(content) > MAXIMUM_MANIFEST_BYTES:
        raise InvalidManifest(f"the manifest is larger than {MAXIMUM_MANIFEST_BYTES} bytes")
    try:
        document = msgspec.json.decode(content, type=ManifestDocument)
    except msgspec.MsgspecError as error:
        raise InvalidManifest(f"the manifest cannot be read: {error}") from error
    declared = media_type.partition(";")[0].strip()
    if document.media_type and declared in MANIFEST_TYPES and document.media_type != declared:
        raise InvalidManifest(f"the manifest says {document.media_type}, its Content-Type says {declared}")
    kind = declared if declared in MANIFEST_TYPES else document.media_type
    if not kind and document.config is not None:
        kind = OCI_MANIFEST  # OCI makes the member optional
    if kind not in MANIFEST_TYPES or document.schema_version != 2:
        raise InvalidManifest(f"manifest type {kind or declared or 'unknown'} is not supported")
    if kind in IMAGE_TYPES and document.config is None:
        raise InvalidManifest("an image manifest needs a config")
    named = (*document.layers, *document.manifests, *((document.config,) if document.config else ()))
    for descriptor in named:
        if not is_digest(descriptor.digest) or descriptor.size < 0:
            raise InvalidManifest(f"{descriptor.digest!r} of {descriptor.size} bytes is not a descriptor")
    return Manifest(
        digest=digest_of(content),
        media_type=kind,
        content=content,
        config=document.config,
        layers=document.layers,
        manifests=document.manifests,
    )
