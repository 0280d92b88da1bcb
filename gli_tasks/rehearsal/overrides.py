"""What a rehearsal changes in a project's settings: endpoints and source folders, and nothing else.

Each change is a variable of the process that overrides the key of the ``.env`` file which the setting was made of. So
the release that is rehearsed reads the same files by the same code as a real one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from gli_tasks.errors import RehearsalFailed
from gli_tasks.rehearsal.drawn_secrets import draw
from gli_tasks.settings.load import LoadedSettings

ACCESS_KEY = "rehearsal"


def overriding(loaded: LoadedSettings, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that give the settings at these dotted paths these values.

    Raises RehearsalFailed, naming every setting that is not made of one key alone and so cannot be led elsewhere.
    """
    variables: dict[str, str] = {}
    stuck: list[str] = []
    for path, value in wanted.items():
        origin = loaded.origins.get(path)
        if origin is None or len(origin.keys) != 1:
            stuck.append(path)
        else:
            variables[origin.keys[0]] = value
    if stuck:
        raise RehearsalFailed(
            f"a rehearsal cannot lead these settings to the twin: {', '.join(stuck)}",
            where=str(loaded.settings.folder / "project.toml"),
            remedy='make each of them "${KEY}" of one key in the .env file',
        )
    return variables


def without_real_aws(process: Mapping[str, str], keys: Iterable[str], folder: Path) -> dict[str, str]:
    """Return a process environment that holds no way to a real account, and none of the settings' own keys.

    Nothing of AWS's or git's is let through, and no proxy, since everything is on this machine. What npm writes
    goes to ``folder``.
    """
    dropped = {*keys, "DOCKER_CONTEXT"}
    kept = {
        name: value
        for name, value in process.items()
        if name not in dropped
        and not name.startswith(("AWS_", "GIT_", "BOTO_"))
        and not name.lower().endswith("_proxy")
    }
    return kept | {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": draw(),
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "NPM_CONFIG_CACHE": str(folder / "npm"),
        "NPM_CONFIG_OFFLINE": "true",
        "NPM_CONFIG_UPDATE_NOTIFIER": "false",
    }
