"""dslocal's folders. ``DSLOCAL_HOME`` moves all of them; otherwise they are where the platform puts
such things.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platformdirs import PlatformDirs

APP = "dslocal"


def cache_dir() -> Path:
    """Files that can be made again: converted models."""
    return _own("cache") or _platform().user_cache_path


def config_dir() -> Path:
    """What the user wrote: config.toml, models.yaml."""
    return _own("config") or _platform().user_config_path


def state_dir() -> Path:
    """What dslocal remembers: input history, the model used last."""
    return _own("state") or _platform().user_state_path


def registry_file() -> Path:
    """models.yaml: a copy inside an installed package, in a checkout a link to the one at its
    root.
    """
    return bundled("models.yaml")


def bundled(name: str) -> Path:
    """A file or folder that ships inside the package."""
    return Path(str(resources.files(APP))) / name


def _own(name: str) -> Path | None:
    home = os.environ.get("DSLOCAL_HOME")
    return Path(home).expanduser() / name if home else None


def _platform() -> PlatformDirs:
    from platformdirs import PlatformDirs

    return PlatformDirs(APP, appauthor=False)
