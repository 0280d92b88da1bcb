"""A checkout and what tests ask of it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

IDENTITY = ("-c", "user.name=Kim", "-c", "user.email=kim@example.com")


@dataclass(frozen=True)
class Repository:
    """A checkout and its remote."""

    folder: Path
    remote: Path

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *IDENTITY, *words], cwd=self.folder, check=True, capture_output=True, text=True, timeout=30
        )
        return done.stdout.strip()

    def commit(self, name: str, subject: str = "feat: a change") -> str:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(f"{name} {subject}")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", subject)
        return self.git("rev-parse", "HEAD")

    def on_remote(self, ref: str) -> str:
        return self.git("--git-dir", str(self.remote), "rev-parse", ref)
