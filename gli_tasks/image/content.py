"""What an image would be made of, as one key: two builds with one key need only one image."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gli_tasks.errors import CommandFailed, UsageError
from gli_tasks.image.bases import NamedBases, named_bases
from gli_tasks.image.context import beside_git, what_is_sent
from gli_tasks.image.dockerfile import DockerfileError, parse_dockerfile
from gli_tasks.image.engine import cut_off, docker_engine
from gli_tasks.image.plan import content_tag
from gli_tasks.source import Source

# Changes whenever what the key is made of does.
_FORMAT = 2
_DIGEST_LENGTH = len("sha256:") + 64


@dataclass(frozen=True, slots=True)
class Base:
    """An image to build upon. ``origin`` says who told its digest: its own ``name``, the ``registry``, or the
    ``engine``'s copy; both are empty where nobody could.
    """

    name: str
    digest: str
    origin: str


@dataclass(frozen=True, slots=True)
class Content:
    """What an image would be made of.

    ``key`` is 64 hexadecimal digits, or empty where the identity cannot be told; ``note`` says why, or what else an
    operator should know. ``base`` is the image that the final stage stands on. Of a ``dirty`` source no image is
    ever used again. ``sent`` is the digest of what the engine would be sent.
    """

    key: str
    bases: tuple[Base, ...]
    note: str
    base: Base | None = None
    dirty: bool = False
    sent: str = ""

    @property
    def tag(self) -> str:
        """Return the tag of the image with this content; empty where the key is."""
        return content_tag(self.key) if self.key else ""


def read_content(
    folder: Path,
    source: Source,
    *,
    dockerfile: str = "Dockerfile",
    arguments: Mapping[str, str],
    platform: str = "",
    within_s: float = 4.0,
) -> Content:
    """Return what building ``folder`` at its commit would be made of.

    The key covers all that the engine is sent of the folder, as it lies on disk, the Dockerfile, build arguments,
    platform and the digests of the base images. Git's own ``.git`` has no part in it. Base images are asked for at
    their registry, through the engine, for ``within_s`` in all; where that fails, the engine's copy counts.
    Nothing that cannot be read is an error: it is said in ``note``, and then the tag by commit alone decides.
    """
    if source.dirty:
        why = "differs from its commit" if source.changed_files else "has files that git was told not to look at"
        return Content("", (), f"the source {why}, so no image of it is used again", dirty=True)
    try:
        text = (folder / dockerfile).read_text(encoding="utf-8")
        named = named_bases(parse_dockerfile(text), arguments)
        sent = what_is_sent(folder, dockerfile)
        beside = beside_git(folder, source.commit, sent)
    except (OSError, UnicodeDecodeError, DockerfileError, CommandFailed) as error:
        return Content("", (), f"what goes into the image cannot be told: {error}")
    notes = [note for note in (sent.note, beside) if note]
    bases, found = _resolved(named, within_s)
    notes += found
    last = next((base for base in bases if base.name == named.last), None)
    unknown = not sent.digest or any(not base.digest for base in bases)
    key = "" if unknown else _key(sent.digest, dockerfile, text, arguments, platform, bases)
    return Content(key, bases, "; ".join(notes), last, sent=sent.digest)


def content_now(
    content: Content, folder: Path, *, dockerfile: str, arguments: Mapping[str, str], platform: str
) -> Content:
    """Return the content as it is if ``folder`` is sent now, upon the same bases.

    It was read before the build's checks, and they may have left something in the folder. What has no key gets none.
    Raises UsageError where the folder or its Dockerfile cannot be read.
    """
    if not content.key:
        return content
    try:
        text = (folder / dockerfile).read_text(encoding="utf-8")
        sent = what_is_sent(folder, dockerfile).digest
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"what goes into the image cannot be told: {error}", where=str(folder)) from None
    key = _key(sent, dockerfile, text, arguments, platform, content.bases) if sent else ""
    return replace(content, key=key, sent=sent)


def _key(
    sent: str,
    dockerfile: str,
    text: str,
    arguments: Mapping[str, str],
    platform: str,
    bases: Sequence[Base],
) -> str:
    parts = {
        "format": _FORMAT,
        "sent": sent,
        "dockerfile": [dockerfile, text],
        "arguments": dict(arguments),
        "platform": platform,
        "bases": [[base.name, base.digest] for base in bases],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _resolved(named: NamedBases, within_s: float) -> tuple[tuple[Base, ...], list[str]]:
    """Return the digest of each base, and what to say about those that are not what their registry shows now."""
    found: dict[str, Base] = {}
    notes: list[str] = []
    for name in named.names:
        pinned = name.rpartition("@")[2]
        if "@" in name and len(pinned) == _DIGEST_LENGTH:
            found[name] = Base(name, pinned, "name")
    asked = [name for name in named.names if name not in found]
    if asked:
        try:
            with docker_engine(within_s) as engine:
                deadline = time.monotonic() + within_s
                for name in asked:
                    found[name], note = _ask(engine, name, deadline)
                    notes += [note] if note else []
        except UsageError as error:
            notes.append(error.what)
    bases = tuple(found.get(name, Base(name, "", "")) for name in named.names)
    return bases, notes


def _ask(engine: Any, name: str, deadline: float) -> tuple[Base, str]:
    """Return a base as the registry shows it, else as the engine has it."""
    local = _local(engine, name)
    digests = [str(one).rpartition("@")[2] for one in local.get("RepoDigests") or ()]
    if local and not digests:
        # It never was in a registry: the build takes it as it is, and nobody else can tell of it.
        return Base(name, str(local.get("Id", "")), "engine"), ""
    why = "there was no time left"
    left = deadline - time.monotonic()
    if left > 0:
        engine.api.timeout = left
        try:
            shown = engine.api.inspect_distribution(name)
            digest = str((shown.get("Descriptor") or {}).get("digest", ""))
            if digest:
                return Base(name, digest, "registry"), ""
            why = "the registry named no digest"
        except cut_off() as error:
            why = str(getattr(error, "explanation", "") or error)
    if digests:
        return Base(name, digests[0], "engine"), f"{name} could not be asked for ({why}): the engine's copy counts"
    return Base(name, "", ""), f"{name} could not be asked for, and the engine has no copy ({why})"


def _local(engine: Any, name: str) -> dict[str, Any]:
    try:
        return dict(engine.api.inspect_image(name))
    except cut_off():
        return {}
