"""Where an image's paths are on this machine, for a container that is a process; pure but for looking."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gli_tasks.rehearsal.builder.config import ContainerConfig
from gli_tasks.rehearsal.runtime.contract import CannotStartContainer, ContainerSpec
from gli_tasks.rehearsal.runtime.unpack import BadLayer, path_in

MACHINE_PATH = ("/usr/bin", "/bin")
# Lists of folders that programs search; other variables are left as the image says.
SEARCH_VARIABLES = ("PYTHONPATH", "NODE_PATH", "LD_LIBRARY_PATH", "PERL5LIB", "RUBYLIB")


@dataclass(frozen=True, slots=True)
class Placement:
    """How to run a container as a process; ``name`` is what the image calls the program."""

    name: str
    program: str
    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


def make_interpreter_links(folder: Path) -> None:
    """Fill ``folder`` with ``python`` and ``python3``, links to this interpreter."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("python", "python3", f"python3.{sys.version_info.minor}"):
        folder.joinpath(name).symlink_to(sys.executable)


def place(spec: ContainerSpec, image: ContainerConfig, root: Path, interpreters: Path) -> Placement:
    """Return how to run ``spec`` with the image's files in ``root``; its working folder is made.

    ``interpreters`` is the folder of the links to this interpreter. Raises CannotStartContainer.
    """
    entry_point, command = _command(spec, image)
    if not entry_point and not command:
        raise CannotStartContainer(
            "CannotStartContainerError: Error response from daemon: No command specified for the container"
        )
    folder = _below(root, spec.working_directory or image.working_dir or "/")
    folder.mkdir(parents=True, exist_ok=True)
    environment = _environment(spec, image, root, interpreters)
    words = (*entry_point, *command)
    program = find_program(words[0], root, folder, environment["PATH"], interpreters)
    argv = tuple(map_path(word, root) for word in words)
    return Placement(words[0], program, argv, folder, environment)


def map_path(word: str, root: Path) -> str:
    """Return where an absolute path of the image is below ``root``; what is not there stays as it is."""
    if not word.startswith("/") or not word.strip("/"):
        return word
    path = _below(root, word)
    return str(path) if path.exists() and path != root else word


def find_program(name: str, root: Path, folder: Path, path: str, interpreters: Path) -> str:
    """Return the program that the image calls ``name``, found as from ``folder``. Raises CannotStartContainer."""
    if "/" in name:
        program = folder / map_path(name, root)
        if not program.exists() and program.name.startswith("python"):
            program = interpreters / program.name  # an image's Python is this machine's
        if program.exists() and not os.access(program, os.X_OK):
            raise CannotStartContainer(start_failure(name, "permission denied"))
        found = str(program) if program.is_file() else None
        reason = f"stat {name}: no such file or directory"
    else:
        found = shutil.which(name, path=path)
        reason = "executable file not found in $PATH"
    if found is None:
        raise CannotStartContainer(start_failure(name, reason))
    return found


def start_failure(program: str, reason: str) -> str:
    """Return what ECS says when a container's program cannot be started."""
    return (
        "CannotStartContainerError: Error response from daemon: failed to create shim task: OCI runtime create failed: "
        f'runc create failed: unable to start container process: exec: "{program}": {reason}: unknown'
    )


def _command(spec: ContainerSpec, image: ContainerConfig) -> tuple[Sequence[str], Sequence[str]]:
    """Return entry point and command: an entry point of the task's own drops the image's command, as in Docker."""
    if spec.entry_point:
        return spec.entry_point, spec.command or ()
    return image.entrypoint or (), spec.command or image.cmd or ()


def _environment(spec: ContainerSpec, image: ContainerConfig, root: Path, interpreters: Path) -> dict[str, str]:
    environment = image.environment
    environment |= {"BIND_ADDRESS": spec.address, "TASK_ADDRESS": spec.address}
    # What a program writes "at home" or "temporarily" belongs to the container, and goes with it.
    environment |= {"HOME": str(root), "TMPDIR": str(_made(root / "tmp"))}
    environment |= spec.environment
    folders = [map_path(each, root) for each in environment.get("PATH", "").split(":")]
    own = [each for each in folders if each.startswith(str(root))]
    environment["PATH"] = ":".join([*own, str(interpreters), *MACHINE_PATH])
    for name in SEARCH_VARIABLES:
        if name in environment:
            environment[name] = ":".join(map_path(each, root) for each in environment[name].split(":"))
    return environment


def _below(root: Path, name: str) -> Path:
    try:
        return path_in(root, name)
    except BadLayer as error:
        raise CannotStartContainer(start_failure(name, str(error))) from error


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
