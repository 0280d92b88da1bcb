"""What tests of news share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from gli_tasks.notify.plan import News

PATH = "/services/T000/B000/xoxSECRETxox"


@dataclass
class Sink:
    """What it got, and how it answers."""

    address: str
    status: int = 200
    silent: bool = False
    bodies: list[dict[str, Any]] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)


def news(**changes: Any) -> News:
    values: dict[str, Any] = {
        "project": "gli",
        "environment": "prod",
        "release": "20260301-040506-abcd",
        "outcome": "healthy",
        "who": "kim@desk",
        "seconds": 61.6,
        "versions": {"api": "0123456789abcdef", "websocket": "fedcba9876543210"},
    }
    return News(**{**values, **changes})
