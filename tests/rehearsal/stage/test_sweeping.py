"""What a killed rehearsal could not remove, the next one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gli_tasks.rehearsal.runtime.sweep import owner_of
from gli_tasks.rehearsal.stage import OWNER_FILE, sweep_folders


def folder(place: Path, name: str, owner: str | None) -> Path:
    made = place / name
    made.mkdir()
    (made / "server.key").write_text("x")
    if owner is not None:
        (made / OWNER_FILE).write_text(owner)
    return made


def test_only_folders_of_the_dead_are_removed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    dead_owner = owner_of(process.pid)
    process.communicate(b"\n")
    of_the_dead = folder(tmp_path, "gli-rehearsal-0001-x", dead_owner)
    of_the_living = folder(tmp_path, "gli-rehearsal-0002-x", owner_of(os.getpid()))
    of_nobody = folder(tmp_path, "gli-rehearsal-0003-x", None)
    foreign = folder(tmp_path, "something-else", dead_owner)
    assert sweep_folders(tmp_path) == [of_the_dead]
    assert not of_the_dead.exists()
    assert of_the_living.exists()
    assert of_nobody.exists()
    assert foreign.exists()
