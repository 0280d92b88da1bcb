"""Fetch images from the twin's registry and unpack them, once for each digest."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gli_tasks.rehearsal.builder.config import ImageConfig, parse_config, parse_platform
from gli_tasks.rehearsal.registry.client import Credentials, RegistryClient, RegistryError
from gli_tasks.rehearsal.registry.manifest import Manifest
from gli_tasks.rehearsal.registry.names import ImageReference, InvalidReference, parse_reference
from gli_tasks.rehearsal.runtime.contract import CannotPullContainer
from gli_tasks.rehearsal.runtime.unpack import BadLayer, unpack_layer


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    """An image on disk; ``digest`` is that of the manifest which the reference names. Not to be written to."""

    digest: str
    root: Path
    config: ImageConfig


class ImageCache:
    """Images of one registry, unpacked below a folder; safe for use by many threads."""

    def __init__(self, root: Path, registry: str, credentials: Callable[[], Credentials]) -> None:
        """Keep images of ``registry`` (``host:port``) below ``root``; ``credentials`` are asked for at each pull."""
        self._root = root
        self._registry = registry
        self._credentials = credentials
        self._images: dict[str, UnpackedImage] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)

    def pull(self, image: str) -> UnpackedImage:
        """Return the image that a reference names now. Raises CannotPullContainer with Docker's reason."""
        reference = own_reference(image, self._registry)
        try:
            with RegistryClient(self._registry, self._credentials()) as client:
                return self._pull(client, reference)
        except RegistryError as error:
            raise CannotPullContainer(pull_failure(reference, error)) from error
        except (BadLayer, msgspec.MsgspecError, OSError) as error:
            raise CannotPullContainer(
                f"CannotPullContainerError: failed to register layer: {image}: {error}"
            ) from error

    def _pull(self, client: RegistryClient, reference: ImageReference) -> UnpackedImage:
        named = client.manifest(reference.repository, reference.target)
        with self._lock:
            lock = self._locks.setdefault(named.digest, threading.Lock())
        with lock:
            found = self._images.get(named.digest)
            if found is None:
                manifest = named if named.config else self._for_this_machine(client, reference, named)
                found = self._fetch(client, reference.repository, named.digest, manifest)
                self._images[named.digest] = found
        return found

    def _for_this_machine(self, client: RegistryClient, reference: ImageReference, index: Manifest) -> Manifest:
        wanted = parse_platform("")
        for child in index.manifests:
            platform = child.platform
            if platform and (platform.os, platform.architecture) == (wanted.os, wanted.architecture):
                return client.manifest(reference.repository, child.digest)
        raise CannotPullContainer(
            f"CannotPullContainerError: no matching manifest for {wanted.os}/{wanted.architecture} in the manifest "
            f"list entries of {reference}"
        )

    def _fetch(self, client: RegistryClient, repository: str, digest: str, manifest: Manifest) -> UnpackedImage:
        assert manifest.config is not None
        with tempfile.TemporaryDirectory(dir=self._root, prefix="pull-") as folder:
            work = Path(folder)
            client.pull_blob(repository, manifest.config.digest, work / "config")
            config = parse_config((work / "config").read_bytes())
            if len(config.rootfs.diff_ids) != len(manifest.layers):
                raise BadLayer(f"{len(manifest.layers)} layers, of which the image knows {len(config.rootfs.diff_ids)}")
            (work / "root").mkdir()
            for layer, diff_id in zip(manifest.layers, config.rootfs.diff_ids, strict=True):
                client.pull_blob(repository, layer.digest, work / "layer")
                unpack_layer(work / "layer", work / "root", diff_id)
                (work / "layer").unlink()
            target = self._root / digest.removeprefix("sha256:")
            shutil.rmtree(target, ignore_errors=True)
            (work / "root").rename(target)
        return UnpackedImage(digest, target, config)


def own_reference(image: str, registry: str) -> ImageReference:
    """Parse the image of a task definition, which must be in the twin's ``registry``: nothing else is reachable.

    Raises CannotPullContainer.
    """
    try:
        reference = parse_reference(image)
    except InvalidReference as error:
        raise CannotPullContainer(f"CannotPullContainerError: invalid reference format: {image}") from error
    if reference.registry != registry:
        raise CannotPullContainer(
            f"CannotPullContainerError: Error response from daemon: {image} is in {reference.registry}, and the twin "
            f"reaches its own registry alone ({registry})"
        )
    return reference


def pull_failure(reference: ImageReference, error: RegistryError) -> str:
    """Return what ECS says when the registry refuses a pull."""
    prefix = "CannotPullContainerError: Error response from daemon: "
    reason = f"{error.code.lower().replace('_', ' ')}: {error}"
    if error.code == "MANIFEST_UNKNOWN":
        return f"{prefix}manifest for {reference} not found: {reason}"
    if error.code == "NAME_UNKNOWN":
        return f"{prefix}repository {reference.name} not found: {reason}"
    if error.code == "UNAUTHORIZED":
        return f"{prefix}pull access denied for {reference.name}: no basic auth credentials"
    return f"{prefix}{reason}"
