"""Settings on disk that a test may break, and what loading them says."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gli_tasks.errors import SettingsError
from gli_tasks.settings import LoadedSettings, load
from tests.floor_parts import Shop, write_shop
from tests.settings.settings_parts import Load, Problems


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return write_shop(tmp_path_factory.mktemp("shop") / "env")


@pytest.fixture
def loaded(shop: Shop) -> Load:
    """Return the settings as they stand; the argument is the process's environment."""

    def read(process: Mapping[str, str] | None = None) -> LoadedSettings:
        return load(shop.root, "shop", "dev", process or {})

    return read


@pytest.fixture
def problems(loaded: Load) -> Problems:
    """Return what is wrong with the settings as they stand; the argument is the process's environment."""

    def read(process: Mapping[str, str] | None = None) -> tuple[str, ...]:
        with pytest.raises(SettingsError) as caught:
            loaded(process)
        return caught.value.problems

    return read
