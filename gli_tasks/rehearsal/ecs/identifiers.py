"""Ids in the forms that ECS gives them."""

from __future__ import annotations

import secrets


def new_id() -> str:
    """Return 32 hex digits, as task ids are."""
    return secrets.token_hex(16)


def new_uuid() -> str:
    """Return a random id in groups, as event and container ids are."""
    text = new_id()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def new_number() -> str:
    """Return 19 digits, as deployment and revision ids are."""
    return str(10**18 + secrets.randbelow(8 * 10**18))


def new_short_id() -> str:
    """Return 21 letters and digits, as service deployment ids are."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
    return "".join(secrets.choice(alphabet) for _ in range(21))
