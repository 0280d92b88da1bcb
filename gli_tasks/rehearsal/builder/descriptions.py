"""Images in the words of the Docker Engine API."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from gli_tasks.rehearsal.builder.config import encode_config
from gli_tasks.rehearsal.builder.images import LocalImage

SOFTWARE = "rehearsal-builder"
VERSION = "rehearsal-builder"


def summary(image: LocalImage) -> dict[str, Any]:
    """Return an image as ImageList has it."""
    return {
        "Id": image.image_id,
        "ParentId": "",
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.repository_digests),
        "Created": int(datetime.fromisoformat(image.config.created).timestamp()),
        "Size": image.size,
        "VirtualSize": image.size,
        "SharedSize": -1,
        "Labels": dict(image.labels),
        "Containers": -1,
    }


def inspected(image: LocalImage) -> dict[str, Any]:
    """Return an image as ImageInspect has it."""
    config = json.loads(encode_config(image.config))
    return {
        "Id": image.image_id,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.repository_digests),
        "Parent": "",
        "Comment": f"built by {SOFTWARE}",
        "Created": image.config.created,
        "DockerVersion": VERSION,
        "Author": image.config.author,
        "Config": {"Labels": None, "Env": None, "Cmd": None, "Entrypoint": None, **config.get("config", {})},
        "Architecture": image.config.architecture,
        "Os": image.config.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "RootFS": {"Type": "layers", "Layers": list(image.config.rootfs.diff_ids)},
        "Metadata": {"LastTagTime": datetime.fromtimestamp(image.built_at, UTC).isoformat()},
    }
