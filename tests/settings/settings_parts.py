"""The types of the fixtures in this folder."""

from __future__ import annotations

from collections.abc import Callable

from gli_tasks.settings import LoadedSettings

Load = Callable[..., LoadedSettings]
Problems = Callable[..., tuple[str, ...]]
