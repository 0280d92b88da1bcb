"""Push an image of the stand-in builder to a registry, told step by step as the Docker engine tells it."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import threading
from collections.abc import Iterator

import msgspec

from gli_tasks.rehearsal.builder.images import LocalImage, LocalImages
from gli_tasks.rehearsal.registry.client import Credentials, RegistryClient, RegistryError
from gli_tasks.rehearsal.registry.names import ImageReference

_BAR_WIDTH = 50


class PushRefused(Exception):
    """The push cannot be done; the text is the engine's."""


class _AuthHeader(msgspec.Struct, frozen=True):
    username: str = ""
    password: str = ""


def read_credentials(header: str) -> Credentials | None:
    """Read the API's ``X-Registry-Auth`` header: JSON in URL-safe base64. Raises PushRefused."""
    if not header:
        return None
    try:
        content = base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
        auth = msgspec.json.decode(content, type=_AuthHeader)
    except (binascii.Error, msgspec.MsgspecError) as error:
        raise PushRefused("X-Registry-Auth cannot be read") from error
    return Credentials(auth.username, auth.password) if auth.username else None


def check_loopback(registry: str) -> None:
    """Raise PushRefused unless ``registry`` is on this machine: a rehearsal reaches nothing else."""
    host = registry.rpartition(":")[0] or registry
    try:
        local = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = False
    if not local:
        raise PushRefused(f"the stand-in builder speaks with registries on this machine alone, not with {registry}")


class Pusher:
    """Pushes images, and remembers which repository has which layer, so that another one can mount it."""

    def __init__(self, images: LocalImages) -> None:
        """Push images of ``images``."""
        self._images = images
        self._homes: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def push(
        self, image: LocalImage, reference: ImageReference, tag: str, credentials: Credentials | None
    ) -> Iterator[dict[str, object]]:
        """Push ``image`` as ``tag`` and yield the engine's progress lines; the last one names the digest.

        Raises PushRefused with the registry's reason.
        """
        check_loopback(reference.registry)
        yield {"status": f"The push refers to repository [{reference.name}]"}
        try:
            with RegistryClient(reference.registry, credentials) as client:
                client.check()
                yield from self._push(client, image, reference, tag)
        except RegistryError as error:
            raise PushRefused(_wording(error, credentials)) from error

    def _push(
        self, client: RegistryClient, image: LocalImage, reference: ImageReference, tag: str
    ) -> Iterator[dict[str, object]]:
        repository = reference.repository
        for layer in image.layers:
            yield {"status": "Preparing", "progressDetail": {}, "id": _short(layer.diff_id)}
        for layer in image.layers:
            short = _short(layer.diff_id)
            home = (client.address, layer.digest)
            with self._lock:
                source = self._homes.get(home)
            if client.has_blob(repository, layer.digest):
                yield {"status": "Layer already exists", "progressDetail": {}, "id": short}
            elif source and source != repository and client.mount_blob(repository, layer.digest, source):
                yield {"status": f"Mounted from {source}", "progressDetail": {}, "id": short}
            else:
                yield _progress(short, 0, layer.size)
                client.push_blob(repository, layer.digest, self._images.blob(layer.digest))
                yield _progress(short, layer.size, layer.size)
                yield {"status": "Pushed", "progressDetail": {}, "id": short}
            with self._lock:
                self._homes[home] = repository
        if not client.has_blob(repository, image.image_id):
            client.push_blob(repository, image.image_id, self._images.blob(image.image_id))
        manifest = image.manifest()
        client.put_manifest(repository, tag, manifest)
        self._images.add_digest(image, reference.name, manifest.digest)
        size = len(manifest.content)
        yield {"status": f"{tag}: digest: {manifest.digest} size: {size}"}
        yield {"progressDetail": {}, "aux": {"Tag": tag, "Digest": manifest.digest, "Size": size}}


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _progress(short: str, current: int, total: int) -> dict[str, object]:
    done = _BAR_WIDTH * current // total if total else _BAR_WIDTH
    bar = f"[{'=' * done}{'>':<{max(1, _BAR_WIDTH - done)}}] {current:>7}B/{total}B"
    detail = {"current": current, "total": total}
    return {"status": "Pushing", "progressDetail": detail, "progress": bar, "id": short}


def _wording(error: RegistryError, credentials: Credentials | None) -> str:
    if error.code == "UNAUTHORIZED":
        return f"unauthorized: {error}" if credentials else "no basic auth credentials"
    if error.status == 0:
        return str(error)
    return f"{error.code.lower().replace('_', ' ')}: {error}"
