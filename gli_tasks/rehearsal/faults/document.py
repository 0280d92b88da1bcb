"""Write `docs/faults.md`: what was promised and what was seen."""

from __future__ import annotations

from collections.abc import Sequence

from gli_tasks.rehearsal.verdict import Verdict

_HEAD = """# Faults

TODO
"""


def document(verdicts: Sequence[Verdict]) -> str:
    """Return the page for these verdicts."""
    return _HEAD
