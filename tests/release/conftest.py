"""A release of small steps on a real S3 endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from tests.release.release_parts import Release
from tests.state_fixtures import s3, s3_endpoint

__all__ = ["release", "s3", "s3_endpoint"]


@pytest.fixture
def release(s3: Any) -> Release:
    return Release(s3)
