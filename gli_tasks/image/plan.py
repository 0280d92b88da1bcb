"""Decide what an image is called and what is written on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PushedImage:
    """An image that the registry was seen to hold."""

    repository: str
    tag: str
    digest: str


def labels(*, commit: str, dirty: bool, moment: datetime, source: str, version: str) -> dict[str, str]:
    """Return an image's labels, by the keys of the OCI image specification (annotations.md) where it has one."""
    return {
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.created": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "org.opencontainers.image.source": source,
        "org.opencontainers.image.version": version,
        "com.glibiz.source-dirty": "true" if dirty else "false",
    }


def progress_line(event: dict[str, object]) -> str:
    """Return one event of the engine's build or push stream as a line for the operator; empty when it says nothing
    new."""
    if "stream" in event:
        return str(event["stream"]).strip()
    status = str(event.get("status", ""))
    # The bytes of each layer come many times a second; the state of a layer is news only when it changes.
    if status in ("Pushing", "Preparing", "Waiting", "Downloading", "Extracting", ""):
        return ""
    return f"{event['id']}: {status}" if event.get("id") else status
