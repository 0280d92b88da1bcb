"""The secrets of a rehearsal: drawn by chance, behind a prefix by which each is known wherever it shows up.

Every secret that the twin holds is made here, so whoever looks for a leak needs to be told of none of them.
"""

from __future__ import annotations

import secrets

PREFIX = "twin-secret-"


def draw() -> str:
    """Return a new secret, which may stand in an address as it is."""
    return f"{PREFIX}{secrets.token_hex(12)}"
