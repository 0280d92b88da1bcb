"""Write layers that depend on nothing but their content.

No times, no owners, no order of a file system: the same source gives the same bytes, hence the same digest, on every
machine with the same zlib.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from gli_tasks.rehearsal.builder.tree import Entry

COMPRESSION_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer on disk: digest and ``size`` of the compressed bytes, ``diff_id`` of the tar, its ``content_size``."""

    digest: str
    size: int
    diff_id: str
    content_size: int


class _HashingWriter:
    """Passes bytes on, and knows their hash and count."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._hasher = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hasher.hexdigest()}"

    def write(self, data: bytes) -> int:
        self._hasher.update(data)
        self.size += len(data)
        return self._target.write(data)

    def flush(self) -> None:
        self._target.flush()


def write_layer(entries: Iterable[tuple[str, Entry]], blobs: Path) -> Layer:
    """Write ``entries`` as a gzipped tar into the folder ``blobs``, under its digest. Raises OSError."""
    part = blobs / f"{uuid.uuid4()}.part"
    content_size = 0
    try:
        with part.open("wb") as file:
            compressed = _HashingWriter(file)
            with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, cast("BinaryIO", compressed), mtime=0) as packed:
                plain = _HashingWriter(cast("BinaryIO", packed))
                with tarfile.open(fileobj=cast("BinaryIO", plain), mode="w|", format=tarfile.PAX_FORMAT) as tar:
                    for path, entry in sorted(entries):
                        _write_entry(tar, path, entry)
                        content_size += entry.size
        part.replace(blobs / compressed.digest.removeprefix("sha256:"))
    finally:
        part.unlink(missing_ok=True)
    return Layer(compressed.digest, compressed.size, plain.digest, content_size)


def _write_entry(tar: tarfile.TarFile, path: str, entry: Entry) -> None:
    member = tarfile.TarInfo(path)
    member.mode = entry.mode
    if entry.kind == "directory":
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
    elif entry.kind == "symlink":
        member.type = tarfile.SYMTYPE
        member.linkname = entry.link
        tar.addfile(member)
    else:
        member.size = entry.size
        assert entry.open_content is not None
        with entry.open_content() as content:
            tar.addfile(member, content)
