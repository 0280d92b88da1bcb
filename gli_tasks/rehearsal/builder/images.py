"""The images that the stand-in builder keeps: by Id, and by the references that name them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from gli_tasks.rehearsal.builder.config import ImageConfig, image_id, parse_config
from gli_tasks.rehearsal.builder.layer import Layer
from gli_tasks.rehearsal.builder.recipe import BaseImage, BuiltImage
from gli_tasks.rehearsal.builder.tree import Tree
from gli_tasks.rehearsal.registry.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    Descriptor,
    Manifest,
    ManifestDocument,
    parse_manifest,
)
from gli_tasks.rehearsal.registry.names import ImageReference, InvalidReference, parse_reference


class NoSuchImage(LookupError):
    """No image here has that name."""


class ImageInUse(Exception):
    """An image with several names is removed by Id only by force."""


@dataclass(slots=True)
class LocalImage:
    """An image, with the references that name it; ``built_at`` in epoch seconds."""

    image_id: str
    config: ImageConfig
    config_content: bytes
    layers: tuple[Layer, ...]
    tree: Tree
    built_at: float
    tags: list[str] = field(default_factory=list)
    repository_digests: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Return the bytes of the files, as Docker counts an image's size."""
        return sum(layer.content_size for layer in self.layers)

    @property
    def labels(self) -> Mapping[str, str]:
        """Return the labels."""
        return self.config.container.labels or {}

    def manifest(self) -> Manifest:
        """Return the manifest to push: Docker's schema 2, as its classic builder's."""
        document = ManifestDocument(
            schema_version=2,
            media_type=DOCKER_MANIFEST,
            config=Descriptor(DOCKER_CONFIG, len(self.config_content), self.image_id),
            layers=tuple(Descriptor(DOCKER_LAYER, layer.size, layer.digest) for layer in self.layers),
        )
        return parse_manifest(msgspec.json.encode(document))


class LocalImages:
    """The images of one builder; safe for use by many threads.

    Blobs stay until the folder goes: a build under way may be about to use one.
    """

    def __init__(self, root: Path) -> None:
        """Keep blobs below ``root``."""
        self.blobs = root / "blobs"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self._images: dict[str, LocalImage] = {}
        self._lock = threading.RLock()

    def blob(self, digest: str) -> Path:
        """Return where a layer or a configuration is."""
        return self.blobs / digest.removeprefix("sha256:")

    def add(self, built: BuiltImage) -> LocalImage:
        """Keep a built image; the same build twice is one image."""
        found = image_id(built.config)
        with self._lock:
            if found not in self._images:
                part = self.blobs / f"{uuid.uuid4()}.part"
                part.write_bytes(built.config)
                part.replace(self.blob(found))
                config = parse_config(built.config)
                self._images[found] = LocalImage(
                    found, config, built.config, built.layers, _without_contents(built.tree), time.time()
                )
            return self._images[found]

    def tag(self, image: LocalImage, reference: ImageReference) -> None:
        """Let ``reference`` name ``image``, and no other."""
        name = _tagged(reference)
        with self._lock:
            for other in self._images.values():
                if name in other.tags:
                    other.tags.remove(name)
            image.tags.append(name)

    def add_digest(self, image: LocalImage, repository: str, digest: str) -> None:
        """Note under which digest ``repository`` has the image."""
        with self._lock:
            name = f"{repository}@{digest}"
            if name not in image.repository_digests:
                image.repository_digests.append(name)

    def get(self, name: str) -> LocalImage:
        """Return the image of a reference, an Id, or the beginning of one. Raises NoSuchImage."""
        with self._lock:
            short = name.removeprefix("sha256:")
            for image in self._images.values():
                if self._names(image, name):
                    return image
            begins = [image for found, image in self._images.items() if found.removeprefix("sha256:").startswith(short)]
            if len(begins) == 1 and len(short) >= 4:
                return begins[0]
        raise NoSuchImage(f"No such image: {name}")

    def tags_of(self, repository: str) -> list[str]:
        """Return the tags under which images of ``repository`` are here."""
        with self._lock:
            names = [name.rpartition(":") for image in self._images.values() for name in image.tags]
        return sorted(tag for found, _, tag in names if found == repository)

    def find(self, labels: list[str], references: list[str], dangling: bool | None) -> list[LocalImage]:
        """Return the images that have all ``labels`` (``key`` or ``key=value``) and one of ``references``."""
        with self._lock:
            images = list(self._images.values())
        return sorted(
            (
                image
                for image in images
                if all(_has_label(image, label) for label in labels)
                and (not references or any(_matches(tag, pattern) for tag in image.tags for pattern in references))
                and (dangling is None or dangling == (not image.tags))
            ),
            key=lambda image: image.built_at,
            reverse=True,
        )

    def remove(self, name: str, *, force: bool) -> list[dict[str, str]]:
        """Remove a reference, and the image with its last one; return what was done in the engine's words.

        Raises NoSuchImage or ImageInUse.
        """
        with self._lock:
            image = self.get(name)
            by_reference = self._names(image, name) and name.removeprefix("sha256:") != image.image_id[7:]
            if not by_reference and len(image.tags) > 1 and not force:
                raise ImageInUse(
                    f"conflict: unable to delete {image.image_id[7:19]} (must be forced) - image is referenced in "
                    "multiple repositories"
                )
            reference = _tagged(parse_reference(name)) if by_reference and "@" not in name else None
            gone = [reference] if reference is not None else list(image.tags)
            done = [{"Untagged": tag} for tag in gone]
            image.tags = [tag for tag in image.tags if tag not in gone]
            if not image.tags:
                done += [{"Untagged": digest} for digest in image.repository_digests]
                done.append({"Deleted": image.image_id})
                del self._images[image.image_id]
        return done

    def as_base(self, reference: str) -> BaseImage | None:
        """Return an image to build upon, if it is here."""
        try:
            image = self.get(reference)
        except NoSuchImage:
            return None
        return BaseImage(image.config, image.layers, image.tree)

    def _names(self, image: LocalImage, name: str) -> bool:
        if name in (image.image_id, image.image_id.removeprefix("sha256:")) or name in image.repository_digests:
            return True
        try:
            return "@" not in name and _tagged(parse_reference(name)) in image.tags
        except InvalidReference:
            return False


def _without_contents(tree: Tree) -> Tree:
    """Return the tree as names and kinds: the context that the contents came from ends with the build."""
    return Tree({path: replace(entry, open_content=None) for path, entry in tree.below("")})


def _tagged(reference: ImageReference) -> str:
    return f"{reference.name}:{reference.tag or 'latest'}"


def _has_label(image: LocalImage, wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in image.labels and (not equals or image.labels[name] == value)


def _matches(tag: str, pattern: str) -> bool:
    return fnmatchcase(tag, pattern) or fnmatchcase(tag.rpartition(":")[0], pattern)
