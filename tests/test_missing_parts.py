"""A part that is missing is a failure where all are required: no test skips by itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import missing

TESTS = Path(__file__).parent
# Where the machine can never have the part, which is no matter of installing it.
ALLOWED = {TESTS / "rehearsal" / "runtime" / "test_process.py": 1, TESTS / "conftest.py": 1, Path(__file__): 2}


def test_every_skip_goes_through_the_one_function() -> None:
    words = re.compile(r"pytest[.]skip|mark[.]skip|importorskip|mark[.]xfail")
    found = {file: len(words.findall(file.read_text(encoding="utf-8"))) for file in TESTS.rglob("*.py")}
    assert {file: count for file, count in found.items() if count and count > ALLOWED.get(file, 0)} == {}


def test_a_missing_part_is_skipped_or_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLI_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="an engine is missing"):
        missing("an engine")
    monkeypatch.setenv("GLI_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="must be here"):
        missing("an engine")
