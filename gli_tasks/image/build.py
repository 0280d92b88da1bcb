"""Build an image with the Docker engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gli_tasks.errors import BuildFailed, UsageError
from gli_tasks.image.content import Base
from gli_tasks.image.engine import cut_off, docker_engine
from gli_tasks.image.plan import progress_line

_TAIL = 15


def build_image(
    source: Path,
    name: str,
    *,
    dockerfile: str = "Dockerfile",
    labels: Mapping[str, str],
    arguments: Mapping[str, str],
    platform: str = "",
    bases: Iterable[Base] = (),
    timeout_s: float = 1_200,
    on_line: Callable[[str], None],
) -> str:
    """Build the folder as ``name`` (repository:tag) and return the image's id.

    ``bases`` are what the build is to stand on: the engine's copy of one that its registry shows is made to be that
    one, since the engine by itself takes the copy that it has, however old.
    Raises UsageError where the Dockerfile or the engine is missing, BuildFailed with the build's last lines.
    """
    if not (source / dockerfile).is_file():
        raise UsageError(f"there is no {dockerfile}", where=str(source), remedy="check the service's dockerfile")
    from docker.errors import APIError

    tail: deque[str] = deque(maxlen=_TAIL)
    with docker_engine(timeout_s) as engine:
        try:
            for base in bases:
                _require_base(engine, base, platform, on_line)
            events = engine.api.build(
                path=str(source),
                dockerfile=dockerfile,
                tag=name,
                labels=dict(labels),
                buildargs=dict(arguments),
                platform=platform or None,
                rm=True,
                forcerm=True,
                decode=True,
                # Without it the SDK waits for ever for the next line of a build.
                timeout=max(1, int(timeout_s)),
            )
            for event in events:
                if "error" in event:
                    raise BuildFailed(
                        f"the image build failed: {str(event['error']).strip()}; its last lines:\n"
                        + "\n".join(f"    {line}" for line in tail),
                        where=str(source / dockerfile),
                    )
                line = progress_line(event)
                if line:
                    tail.append(line)
                    on_line(line)
            return str(engine.images.get(name).id)
        except APIError as error:
            raise BuildFailed(f"the engine refused the build: {error.explanation}", where=str(source)) from None
        except cut_off() as error:
            raise BuildFailed(f"the build was cut off: {_reason(error)}", where=str(source)) from None


def _reason(error: Exception) -> str:
    """Return why: the SDK says of any failure to pack the sources that it cannot read a file, also of a full disk."""
    behind = error.__context__
    return f"{error} ({behind})" if isinstance(error, OSError) and isinstance(behind, OSError) else str(error)


def _require_base(engine: Any, base: Base, platform: str, on_line: Callable[[str], None]) -> None:
    """Pull a base image unless the engine has it as its registry shows it. Raises BuildFailed."""
    if base.origin != "registry" or _has(engine, base):
        return
    on_line(f"{base.name} is {base.digest[:19]} now: it is pulled")
    for event in engine.api.pull(base.name, stream=True, decode=True, platform=platform or None):
        if "error" in event:
            raise BuildFailed(
                f"the base image {base.name} cannot be pulled: {str(event['error']).strip()}",
                remedy="log in to its registry, or start again",
            )
        line = progress_line(event)
        if line:
            on_line(line)
    if not _has(engine, base):
        raise BuildFailed(f"the base image {base.name} moved while it was pulled", remedy="start again")


def _has(engine: Any, base: Base) -> bool:
    from docker.errors import ImageNotFound

    try:
        inspected = engine.api.inspect_image(base.name)
    except ImageNotFound:
        return False
    return any(str(one).endswith(f"@{base.digest}") for one in inspected.get("RepoDigests") or ())
