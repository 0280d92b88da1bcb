"""Read ``env/<project>/project.toml`` and ``<environment>.env`` into frozen, typed settings.

``model`` says what there is, ``validation`` turns plain data into it and collects every problem, ``interpolation``
fills in ``${KEY}`` and remembers where each value came from, ``load`` reads the files.
"""

from gli_tasks.settings.load import LoadedSettings, environments, load, load_all, projects
from gli_tasks.settings.model import EcsService, S3Site, Settings, VercelSite

__all__ = [
    "EcsService",
    "LoadedSettings",
    "S3Site",
    "Settings",
    "VercelSite",
    "environments",
    "load",
    "load_all",
    "projects",
]
