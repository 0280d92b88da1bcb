"""The collection `release`: what goes forward, what goes back, and what looks, a module each."""

from __future__ import annotations

import os
import re
from pathlib import Path

from invoke import Collection

from gli_tasks.release.tasks.back import abort, resume, rollback, unlock
from gli_tasks.release.tasks.forward import plan, release_task
from gli_tasks.release.tasks.look import history, status


def collection(settings_folder: Path) -> Collection:
    """Return the collection, with one release task for each environment that any project has."""
    folder = Path(os.environ.get("GLI_ENV_FOLDER") or settings_folder)
    # The names that settings/load.py takes for environments; importing it would slow down `invoke --list`.
    environments = sorted({file.stem for file in folder.glob("*/*.env") if re.fullmatch("[a-z][a-z0-9-]*", file.stem)})
    tasks = (plan, status, history, rollback, resume, abort, unlock)
    return Collection(*tasks, *(release_task(environment) for environment in environments))
