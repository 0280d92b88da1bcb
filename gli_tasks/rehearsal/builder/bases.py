"""Base images of the stand-in builder: what a registry on this machine shows, and this machine's Python for the rest.

A rehearsal reaches no registry beyond this machine. Every name of one stands for an image without layers that runs this
machine's Python, which the runtime brings; it has a digest, and can be pulled, as a real one.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator

from gli_tasks.rehearsal.builder.config import (
    ContainerConfig,
    ImageConfig,
    encode_config,
    image_id,
    parse_config,
    parse_platform,
)
from gli_tasks.rehearsal.builder.images import LocalImage, LocalImages
from gli_tasks.rehearsal.builder.push import PushRefused, check_loopback
from gli_tasks.rehearsal.builder.recipe import DEFAULT_PATH, BuiltImage
from gli_tasks.rehearsal.builder.tree import Tree
from gli_tasks.rehearsal.registry.client import Credentials, RegistryClient
from gli_tasks.rehearsal.registry.manifest import Manifest
from gli_tasks.rehearsal.registry.names import ImageReference


def is_elsewhere(reference: ImageReference) -> bool:
    """Tell whether an image's registry is beyond this machine."""
    try:
        check_loopback(reference.registry)
    except PushRefused:
        return True
    return False


def shown_manifest(reference: ImageReference, credentials: Credentials | None) -> Manifest:
    """Return the manifest that the reference's registry shows. Raises RegistryError."""
    if is_elsewhere(reference):
        return _machine_python().manifest()
    with RegistryClient(reference.registry, credentials) as client:
        return client.manifest(reference.repository, reference.target)


def pull_lines(images: LocalImages, reference: ImageReference) -> Iterator[dict[str, object]]:
    """Take a base from beyond this machine into ``images`` and yield the engine's progress lines."""
    tag = reference.target
    yield {"status": f"Pulling from {reference.repository}", "id": tag}
    image = images.add(_built())
    digest = image.manifest().digest
    images.tag(image, reference)
    images.add_digest(image, reference.name, digest)
    yield {"status": f"Digest: {digest}"}
    yield {"status": f"Status: Downloaded newer image for {reference}"}


def _built() -> BuiltImage:
    machine = parse_platform("")
    config = ImageConfig(
        architecture=machine.architecture,
        os=machine.os,
        author=f"Python {platform.python_version()} of this machine",
        config=ContainerConfig(env=(DEFAULT_PATH,), cmd=("python3",)),
    )
    return BuiltImage(encode_config(config), (), Tree())


def _machine_python() -> LocalImage:
    built = _built()
    return LocalImage(image_id(built.config), parse_config(built.config), built.config, (), Tree(), 0.0)
