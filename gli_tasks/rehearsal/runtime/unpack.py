"""Unpack an image's layers into a folder, and never outside it.

Whiteouts: https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md#whiteouts. Owners, devices and set-user-id
bits are left out: what is unpacked is run by this user on this machine.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import posixpath
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import IO, BinaryIO, cast

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_MAXIMUM_LINKS = 40
_GZIP = b"\x1f\x8b"


class BadLayer(Exception):
    """A layer cannot be unpacked, or is not what the image's configuration says."""


class _HashingReader:
    """Passes a stream on and knows its hash."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.hasher.update(data)
        return data


def unpack_layer(layer: Path, root: Path, diff_id: str) -> None:
    """Unpack one layer (a tar, gzipped or not) over what ``root`` holds already.

    Raises BadLayer, also where the uncompressed bytes are not ``diff_id``; OSError.
    """
    with layer.open("rb") as file:
        gzipped = file.read(2) == _GZIP
        file.seek(0)
        source = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if gzipped else file
        reader = _HashingReader(source)
        try:
            with tarfile.open(fileobj=cast("BinaryIO", reader), mode="r|") as tar:
                for member in tar:
                    _unpack_member(tar, member, root)
            while reader.read(1024 * 1024):
                pass  # padding after the end of the archive is part of the hash
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise BadLayer(f"layer {layer.name} cannot be read: {error}") from error
    actual = f"sha256:{reader.hasher.hexdigest()}"
    if actual != diff_id:
        raise BadLayer(f"layer {layer.name} unpacks to {actual}, the image says {diff_id}")


def path_in(root: Path, name: str) -> Path:
    """Return where ``name`` is below ``root``, links of its parents followed as if ``root`` were the whole world.

    Raises BadLayer where links go in a circle.
    """
    pending = [part for part in posixpath.normpath(posixpath.join("/", name)).split("/") if part]
    place: list[str] = []
    hops = 0
    while pending:
        part = pending.pop(0)
        if part == "..":
            place = place[:-1]
            continue
        candidate = root.joinpath(*place, part)
        if pending and candidate.is_symlink():
            hops += 1
            if hops > _MAXIMUM_LINKS:
                raise BadLayer(f"{name}: too many levels of symbolic links")
            target = os.readlink(candidate)
            place = [] if target.startswith("/") else place
            pending = [step for step in target.split("/") if step not in ("", ".")] + pending
            continue
        place.append(part)
    return root.joinpath(*place)


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    path = path_in(root, member.name)
    if path == root:
        return
    if path.name == OPAQUE:
        if path.parent.is_dir() and not path.parent.is_symlink():
            for child in list(path.parent.iterdir()):
                _remove(child)
        return
    if path.name.startswith(WHITEOUT):
        hidden = path.name.removeprefix(WHITEOUT)
        if hidden not in ("", ".", ".."):
            _remove(path.with_name(hidden))
        return
    _make_parents(path, root)
    if member.isdir():
        if path.is_symlink() or not path.is_dir():
            _remove(path)
            path.mkdir()
        path.chmod((member.mode & 0o777) | 0o700)
        return
    _remove(path)
    if member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        target = path_in(root, member.linkname)
        if target.is_symlink():
            path.symlink_to(os.readlink(target))
        elif target.is_file():
            path.hardlink_to(target)
        else:
            raise BadLayer(f"{member.name} is a link to {member.linkname}, which is not there")
    elif member.isreg():
        content = tar.extractfile(member)
        assert content is not None
        with path.open("xb") as target_file:
            shutil.copyfileobj(content, target_file)
        path.chmod((member.mode & 0o777) | 0o600)


def _make_parents(path: Path, root: Path) -> None:
    for parent in reversed(path.relative_to(root).parents[:-1]):
        folder = root / parent
        if not folder.is_dir():
            _remove(folder)
            folder.mkdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
