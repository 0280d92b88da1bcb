"""Programs that stand in for ones that a machine may lack."""

from __future__ import annotations

import shutil
from pathlib import Path

_HERE = Path(__file__).parent


def npm_folder(folder: Path) -> Path | None:
    """Return a folder for PATH with a stand-in for npm, made below ``folder``; None where npm is installed."""
    if shutil.which("npm"):
        return None
    target = folder / "stand-ins"
    target.mkdir()
    shutil.copyfile(_HERE / "npm.py", target / "npm")
    (target / "npm").chmod(0o755)
    return target
