"""Make the sample services' source folders: git repositories with a remote, as the real ones are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gli_tasks import shell
from gli_tasks.settings.model import EcsService, Service
from gli_tasks.source import NO_OTHER_REPOSITORY

_SAMPLES = Path(__file__).parent / "sample"
_IDENTITY: Mapping[str, str | None] = {
    **NO_OTHER_REPOSITORY,
    "GIT_AUTHOR_NAME": "rehearsal",
    "GIT_AUTHOR_EMAIL": "rehearsal@localhost",
    "GIT_COMMITTER_NAME": "rehearsal",
    "GIT_COMMITTER_EMAIL": "rehearsal@localhost",
    # The operator's own configuration (signing, hooks) has no say in a rehearsal.
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


@dataclass(frozen=True, slots=True)
class SampleSource:
    """A sample service's checkout, and the bare repository that is its remote."""

    folder: Path
    remote: Path
    branch: str

    def commit(self, message: str, files: Mapping[str, str]) -> str:
        """Write the files, commit and push them, and return the commit."""
        for name, text in files.items():
            (self.folder / name).write_text(text, encoding="utf-8")
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        self._git("push", "--quiet", "--set-upstream", "origin", self.branch)
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *words: str) -> str:
        return shell.run(["git", *words], folder=self.folder, environment=_IDENTITY).output


def sample_of(service: Service, has_websocket_name: bool) -> Path:
    """Return the sample that stands in for a service: the WebSocket server, the API or the front end."""
    if not isinstance(service, EcsService):
        return _SAMPLES / "site"
    return _SAMPLES / ("websocket" if has_websocket_name else "api")


def make_source(root: Path, name: str, service: Service, branch: str) -> SampleSource:
    """Make the checkout and the remote of one service below ``root``; nothing is committed yet."""
    sample = sample_of(service, "websocket" in name)
    source = SampleSource(root / name, root / f"{name}.git", branch)
    shutil.copytree(sample, source.folder, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    shell.run(["git", "init", "--quiet", "--bare", str(source.remote)], environment=_IDENTITY)
    shell.run(["git", "init", "--quiet", "--initial-branch", branch, str(source.folder)], environment=_IDENTITY)
    shell.run(["git", "remote", "add", "origin", str(source.remote)], folder=source.folder, environment=_IDENTITY)
    return source
