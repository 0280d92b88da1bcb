"""The twin that stays up (`rehearse.up`, `rehearse --keep`).

One stands at a time. What `rehearse.down` and the operator's shell must know of it is noted in `.rehearsal/` of the
checkout, for its owner's eyes alone.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

from gli_tasks.errors import Refused, RehearsalFailed
from gli_tasks.rehearsal.stage import TOOL_ROOT, Stage, Standing, take_down_standing

FOLDER = TOOL_ROOT / ".rehearsal"
_STATE = FOLDER / "stage.json"
ENVIRONMENT = FOLDER / "environment"


def require_room() -> None:
    """Make sure that a twin may stay up and can be noted. Raises Refused."""
    if _STATE.exists():
        raise Refused(f"a twin is up already ({_STATE})", remedy="run `invoke rehearse.down` first")
    try:
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        FOLDER.chmod(0o700)
    except OSError as error:
        raise Refused(
            f"a twin that stays up is noted there, and it cannot be written ({error.strerror})", where=str(FOLDER)
        ) from None


def let_stay(stage: Stage) -> None:
    """Note the stage's twin, and then let it outlive this process."""
    standing = stage.standing()
    changed = {key: value for key, value in stage.environment.items() if os.environ.get(key) != value}
    lines = [f"unset {key}" for key in os.environ if key not in stage.environment and key.isidentifier()]
    lines += [f"export {key}={shlex.quote(value)}" for key, value in sorted(changed.items()) if key.isidentifier()]
    _write(ENVIRONMENT, "\n".join(lines) + "\n")
    state = {
        "pid": standing.pid,
        "label": standing.label,
        "folder": str(standing.folder),
        "addresses": list(standing.addresses),
        "engine": standing.engine,
    }
    _write(_STATE, json.dumps(state, indent=2) + "\n")
    stage.let_stay()


def _write(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(text, encoding="utf-8")


def take_down() -> bool:
    """Take the noted twin down; return whether there was one. Raises RehearsalFailed, naming what it left behind."""
    if not _STATE.exists():
        return False
    try:
        state = json.loads(_STATE.read_text(encoding="utf-8"))
        standing = Standing(
            int(state["pid"]), str(state["label"]), Path(state["folder"]), tuple(state["addresses"]), state["engine"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RehearsalFailed(
            f"the note of the twin that is up cannot be read ({error})",
            where=str(_STATE),
            remedy="end `python -m gli_tasks.rehearsal.twin` by hand, then remove the folder",
        ) from None
    left_over = take_down_standing(standing)
    shutil.rmtree(FOLDER)
    if left_over:
        raise RehearsalFailed("the twin left behind:\n" + "\n".join(f"  - {one}" for one in left_over))
    return True
