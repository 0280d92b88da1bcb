"""Make a base image out of this machine's Python, so that an engine can build with no network.

It holds the interpreter and its standard library, a shell and a few tools, the shared libraries that these need, and
users. It is made once for an interpreter and kept: its name carries a hash of what it is made of.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import docker
from docker.errors import DockerException, ImageNotFound

REPOSITORY = "gli-rehearsal-base"
RECIPE_VERSION = "3"  # changes the name when what is put in changes
LDD_TIMEOUT_S = 30.0
ENGINE_TIMEOUT_S = 120
_READ_BYTES = 1024 * 1024
_LIBRARY = re.compile(r"(?:=>\s+)?(/\S+)\s+\(0x[0-9a-f]+\)")
_LEFT_OUT = frozenset({"site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3"})
_LOADER_FOLDERS = ("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/")
# A shell for CMD-SHELL checks, env for scripts that begin with it, the rest for whoever looks into a container.
_TOOLS = ("/bin/sh", "/usr/bin/env", "/bin/cat", "/bin/ls", "/bin/sleep", "/usr/bin/id")
_USERS = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
_GROUPS = "root:x:0:\napp:x:1000:\nnogroup:x:65534:\n"


class BaseImageUnavailable(Exception):
    """The base image cannot be made on this machine; the text says what to do."""


def base_image_name(repository: str = REPOSITORY) -> str:
    """Return the image's name for this interpreter."""
    facts = (RECIPE_VERSION, sys.version, sys.platform, os.uname().machine, os.path.realpath(sys.executable))
    digest = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:12]
    return f"{repository}:{sys.version_info.major}.{sys.version_info.minor}-{digest}"


def ensure_base_image(docker_host: str, repository: str = REPOSITORY) -> str:
    """Return the name of the base image on the engine, and make it where it is not there.

    Raises BaseImageUnavailable.
    """
    name = base_image_name(repository)
    client = docker.DockerClient(base_url=docker_host, timeout=ENGINE_TIMEOUT_S)
    try:
        try:
            client.images.get(name)
        except ImageNotFound:
            _make(client, name)
    except (DockerException, OSError, subprocess.SubprocessError) as error:
        raise BaseImageUnavailable(f"the base image cannot be made: {error}") from error
    finally:
        client.close()
    return name


def _make(client: docker.DockerClient, name: str) -> None:
    if sys.platform != "linux":
        raise BaseImageUnavailable(
            "a base image can be made of this machine's Python on Linux alone: pull python:3.11-slim and name it"
        )
    repository, _, tag = name.partition(":")
    changes = ["ENV PATH=/usr/local/bin:/usr/bin:/bin", "ENV LANG=C.UTF-8", 'CMD ["python3"]']
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            _fill(tar)
        archive.seek(0)
        # An iterator, not the file: the SDK announces chunks, and a file's known length would make it send none.
        pieces = iter(lambda: archive.read(_READ_BYTES), b"")
        client.api.import_image_from_stream(pieces, repository=repository, tag=tag, changes=changes)


def _fill(tar: tarfile.TarFile) -> None:
    image = _Image(tar)
    for path, mode in (("tmp", 0o1777), ("root", 0o700), ("home/app", 0o755), ("etc", 0o755)):
        image.add_folder(path, mode, owner=1000 if path == "home/app" else 0)
    image.add_text("etc/passwd", _USERS)
    image.add_text("etc/group", _GROUPS)
    interpreter = Path(sys.executable).resolve()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # The interpreter finds its library beside itself, so that it may move to /usr/local wherever it is here.
    image.add_file(f"usr/local/bin/{version}", interpreter)
    for link in ("python3", "python"):
        image.add_link(f"usr/local/bin/{link}", version)
    library = Path(sysconfig.get_path("stdlib"))
    programs = [interpreter]
    for module in _standard_library(library):
        image.add_file(posixpath.join("usr/local/lib", version, module.relative_to(library).as_posix()), module)
        if module.suffix == ".so":
            programs.append(module)
    for place in _TOOLS:
        tool = Path(place).resolve()
        if tool.exists():
            image.add_file(place.lstrip("/"), tool)
            programs.append(tool)
    for shared in _shared_libraries(programs):
        # The loader falls back to its default folders for a library that is not where the program says.
        known = shared.as_posix().startswith(_LOADER_FOLDERS)
        image.add_file((shared.as_posix() if known else f"/usr/lib/{shared.name}").lstrip("/"), shared.resolve())
    cache = Path("/etc/ld.so.cache")
    if cache.exists():  # says where libraries are that are in no default place
        image.add_file("etc/ld.so.cache", cache)


def _standard_library(library: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(library):
        left_out = _LEFT_OUT | {name for name in names if name.startswith("config-")}
        names[:] = sorted(name for name in names if name not in left_out)
        for name in sorted(files):
            if not name.endswith((".a", ".opt-1.pyc", ".opt-2.pyc")):
                yield Path(folder, name)


def _shared_libraries(programs: list[Path]) -> list[Path]:
    """Return what the dynamic loader would load for ``programs``, itself included."""
    result = subprocess.run(
        ["ldd", *map(str, programs)], capture_output=True, text=True, timeout=LDD_TIMEOUT_S, check=False
    )
    found = {Path(match) for match in _LIBRARY.findall(result.stdout)}
    if not found:
        raise BaseImageUnavailable(f"ldd finds no shared libraries of {programs[0]}: {result.stderr.strip()}")
    return sorted(found)


class _Image:
    """A root file system being written as a tar; every path once, parents first, readable by all."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._seen: set[str] = set()

    def add_folder(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        if not path or path in self._seen:
            return
        self.add_folder(posixpath.dirname(path))
        self._seen.add(path)
        member = tarfile.TarInfo(path)
        member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, mode, owner, owner
        self._tar.addfile(member)

    def add_file(self, path: str, source: Path) -> None:
        status = source.stat()
        with source.open("rb") as content:
            mode = 0o755 if status.st_mode & 0o111 else 0o644
            self._add(path, mode, status.st_size, content, modified=int(status.st_mtime))

    def add_text(self, path: str, text: str) -> None:
        content = text.encode()
        self._add(path, 0o644, len(content), io.BytesIO(content))

    def add_link(self, path: str, target: str) -> None:
        self.add_folder(posixpath.dirname(path))
        member = tarfile.TarInfo(path)
        member.type, member.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(member)

    def _add(self, path: str, mode: int, size: int, content: IO[bytes], modified: int = 0) -> None:
        if path in self._seen:
            return
        self.add_folder(posixpath.dirname(path))
        self._seen.add(path)
        member = tarfile.TarInfo(path)
        # Compiled modules are valid for the time of their source; without it each start would compile them again.
        member.mode, member.size, member.mtime = mode, size, modified
        self._tar.addfile(member, content)
