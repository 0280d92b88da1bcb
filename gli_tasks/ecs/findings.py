"""What a verification finds: one sentence on one subject, and whether a release may go on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a subject stands: as the release needs it, not so, or not to be seen from here."""

    OK = "OK"
    NG = "NG"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True)
class Finding:
    """One subject, what was found of it, and what to do about it; ``remedy`` may be empty."""

    level: Level
    subject: str
    sentence: str
    remedy: str = ""


def ok(subject: str, sentence: str) -> Finding:
    """Return a finding of what is as it must be."""
    return Finding(Level.OK, subject, sentence)


def ng(subject: str, sentence: str, remedy: str) -> Finding:
    """Return a finding of what would make the release fail, or must not be released."""
    return Finding(Level.NG, subject, sentence, remedy)


def skip(subject: str, sentence: str, remedy: str = "") -> Finding:
    """Return a finding of what could not be looked at, with why."""
    return Finding(Level.SKIP, subject, sentence, remedy)
