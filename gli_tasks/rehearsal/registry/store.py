"""What the registry holds, on disk: blobs by digest, and for each repository its layers, manifests and tags.

    blobs/sha256/<hex>                        bytes, once for all repositories
    uploads/<id>                              uploads under way
    repositories/<name>/_layers/<hex>         the repository may hand out this blob
    repositories/<name>/_manifests/<hex>      the manifest's media type, and when it was pushed
    repositories/<name>/_tags/<tag>           the digest that the tag names

Files appear by rename, whole. Repository names cannot begin with an underscore, so the inner folders are no names.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gli_tasks.rehearsal.registry.manifest import Manifest, parse_manifest
from gli_tasks.rehearsal.registry.names import is_digest, is_repository


class DigestMismatch(Exception):
    """The bytes are not those that the digest names."""


class TagIsImmutable(Exception):
    """The tag exists already, and its repository does not let tags move."""


class MissingBlobs(Exception):
    """A manifest names blobs or manifests that the repository does not hold."""

    def __init__(self, digests: tuple[str, ...]) -> None:
        """Name the missing ``digests``."""
        super().__init__(", ".join(digests))
        self.digests = digests


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A manifest in a repository, its tags in order, and when it was pushed (epoch seconds)."""

    manifest: Manifest
    tags: tuple[str, ...]
    pushed_at: float


class _ManifestLink(msgspec.Struct, frozen=True):
    media_type: str
    pushed_at: float


@dataclass(slots=True)
class Upload:
    """A blob on its way in; its hash is computed as the bytes arrive."""

    upload_id: str
    repository: str
    path: Path
    size: int = 0
    hasher: hashlib._Hash = field(default_factory=hashlib.sha256)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, pieces: Iterable[bytes]) -> None:
        """Add ``pieces`` in constant memory."""
        with self.path.open("ab") as target:
            for piece in pieces:
                target.write(piece)
                self.hasher.update(piece)
                self.size += len(piece)


class ImageStore:
    """Blobs, manifests and tags below one folder; safe for use by many threads of one process."""

    def __init__(self, root: Path) -> None:
        """Use ``root``, which is made when it does not exist."""
        self._blobs = root / "blobs" / "sha256"
        self._uploads = root / "uploads"
        self._repositories = root / "repositories"
        shutil.rmtree(self._uploads, ignore_errors=True)  # what an earlier process did not finish
        for folder in (self._blobs, self._uploads, self._repositories):
            folder.mkdir(parents=True, exist_ok=True)
        self._open: dict[str, Upload] = {}
        self._lock = threading.RLock()

    # Uploads

    def begin_upload(self, repository: str) -> Upload:
        """Open an upload for ``repository``."""
        upload_id = str(uuid.uuid4())
        upload = Upload(upload_id, repository, self._uploads / upload_id)
        upload.path.touch()
        with self._lock:
            self._open[upload_id] = upload
        return upload

    def upload(self, repository: str, upload_id: str) -> Upload | None:
        """Return an open upload of ``repository``."""
        with self._lock:
            upload = self._open.get(upload_id)
        return upload if upload is not None and upload.repository == repository else None

    def finish_upload(self, upload: Upload, digest: str) -> None:
        """Turn an upload into the blob ``digest`` of its repository; a wrong digest ends the upload.

        Raises DigestMismatch.
        """
        actual = f"sha256:{upload.hasher.hexdigest()}"
        if actual != digest:
            self.cancel_upload(upload)
            raise DigestMismatch(f"the bytes sent are {actual}, not {digest}")
        # Of two that push the same blob at once, the last rename wins: the bytes are the same.
        upload.path.replace(self._blob_path(digest))
        self._link(upload.repository, digest)
        with self._lock:
            self._open.pop(upload.upload_id, None)

    def cancel_upload(self, upload: Upload) -> None:
        """Forget an upload and its bytes."""
        with self._lock:
            self._open.pop(upload.upload_id, None)
        upload.path.unlink(missing_ok=True)

    # Blobs

    def blob(self, repository: str, digest: str) -> Path | None:
        """Return where the blob is, if ``repository`` holds it."""
        if not is_digest(digest) or not self._folder(repository, "_layers").joinpath(_hex(digest)).exists():
            return None
        path = self._blob_path(digest)
        return path if path.exists() else None

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Let ``repository`` hand out a blob of the repository ``source``; say whether ``source`` holds it."""
        if self.blob(source, digest) is None:
            return False
        self._link(repository, digest)
        return True

    def unlink_blob(self, repository: str, digest: str) -> bool:
        """Take a blob out of ``repository``; say whether it was there. Its bytes stay for others."""
        if self.blob(repository, digest) is None:
            return False
        self._folder(repository, "_layers").joinpath(_hex(digest)).unlink(missing_ok=True)
        return True

    # Manifests

    def put_manifest(self, repository: str, manifest: Manifest, tag: str | None, *, immutable: bool = False) -> None:
        """Keep ``manifest`` and point ``tag`` at it.

        Raises MissingBlobs, or TagIsImmutable where the tag exists and ``immutable`` holds.
        """
        missing = [digest for digest in manifest.blobs if self.blob(repository, digest) is None]
        missing += [child.digest for child in manifest.manifests if self.manifest(repository, child.digest) is None]
        if missing:
            raise MissingBlobs(tuple(missing))
        with self._lock:
            tags = self._folder(repository, "_tags")
            if tag is not None and immutable and (tags / tag).exists():
                raise TagIsImmutable(tag)
            self._write(self._blob_path(manifest.digest), manifest.content)
            link = self._folder(repository, "_manifests") / _hex(manifest.digest)
            if not link.exists():
                self._write(link, msgspec.json.encode(_ManifestLink(manifest.media_type, time.time())))
            if tag is not None:
                self._write(tags / tag, manifest.digest.encode())

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """Return the manifest that a tag or digest names."""
        image = self.image(repository, reference)
        return image.manifest if image else None

    def image(self, repository: str, reference: str) -> StoredImage | None:
        """Return the manifest that a tag or digest names, with its tags."""
        with self._lock:
            digest = reference if is_digest(reference) else self.tags(repository).get(reference)
            if digest is None:
                return None
            link_path = self._folder(repository, "_manifests") / _hex(digest)
            if not link_path.exists():
                return None
            link = msgspec.json.decode(link_path.read_bytes(), type=_ManifestLink)
            manifest = parse_manifest(self._blob_path(digest).read_bytes(), link.media_type)
            tags = tuple(tag for tag, target in self.tags(repository).items() if target == digest)
        return StoredImage(manifest=manifest, tags=tags, pushed_at=link.pushed_at)

    def tags(self, repository: str) -> dict[str, str]:
        """Return the digest of each tag, by tag in order."""
        with self._lock:
            folder = self._folder(repository, "_tags")
            if not folder.is_dir():
                return {}
            return {path.name: path.read_text() for path in sorted(folder.iterdir())}

    def images(self, repository: str) -> tuple[StoredImage, ...]:
        """Return every manifest of ``repository``, oldest first."""
        with self._lock:
            folder = self._folder(repository, "_manifests")
            names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
            found = [self.image(repository, f"sha256:{name}") for name in names]
        return tuple(sorted((image for image in found if image), key=lambda image: (image.pushed_at, image.tags)))

    def repositories(self) -> tuple[str, ...]:
        """Return the names of the repositories that hold anything."""
        with self._lock:
            inner = [path.parent for path in self._repositories.rglob("_layers")]
        return tuple(sorted(path.relative_to(self._repositories).as_posix() for path in inner))

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Remove a tag, not its manifest; say whether it was there."""
        with self._lock:
            if tag not in self.tags(repository):
                return False
            self._folder(repository, "_tags").joinpath(tag).unlink()
        return True

    def delete_manifest(self, repository: str, digest: str) -> bool:
        """Remove a manifest and its tags; say whether it was there."""
        with self._lock:
            image = self.image(repository, digest)
            if image is None:
                return False
            for tag in image.tags:
                self.delete_tag(repository, tag)
            self._folder(repository, "_manifests").joinpath(_hex(digest)).unlink(missing_ok=True)
        return True

    def delete_repository(self, repository: str) -> None:
        """Remove all that ``repository`` holds."""
        with self._lock, contextlib.suppress(FileNotFoundError):
            for inner in ("_layers", "_manifests", "_tags"):
                shutil.rmtree(self._folder(repository, inner), ignore_errors=True)

    def _link(self, repository: str, digest: str) -> None:
        folder = self._folder(repository, "_layers")
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath(_hex(digest)).touch()

    def _folder(self, repository: str, inner: str) -> Path:
        if not is_repository(repository):  # a name that is a path elsewhere never gets to the disk
            raise ValueError(f"{repository!r} is not a repository's name")
        return self._repositories / repository / inner

    def _blob_path(self, digest: str) -> Path:
        return self._blobs / _hex(digest)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = self._uploads / f"{uuid.uuid4()}.part"
        part.write_bytes(content)
        part.replace(path)


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
