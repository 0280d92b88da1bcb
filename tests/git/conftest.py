"""A real repository with a bare remote beside it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.git.git_parts import Repository


@pytest.fixture(autouse=True)
def git_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the machine's own git settings out, as on a fresh CI machine."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    remote, folder = tmp_path / "remote.git", tmp_path / "checkout"
    for argv in (["--bare", str(remote)], [str(folder)]):
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main", *argv], check=True, timeout=30)
    made = Repository(folder, remote)
    made.git("remote", "add", "origin", str(remote))
    made.commit("app.py", "feat: begin")
    made.git("push", "--quiet", "origin", "main")
    return made
