"""dslocal's folders.

``DSLOCAL_HOME`` moves all of them; otherwise they are where the platform puts such things.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.files import expanded

if TYPE_CHECKING:
    from platformdirs import PlatformDirs

APP = "dslocal"
MODEL_DIGITS = 16


def cache_dir() -> Path:
    """Return the folder of files that can be made again, such as converted models."""
    return _in_home("cache") or _platform().user_cache_path


def config_dir() -> Path:
    """Return the folder of what the user wrote: config.toml, models.yaml."""
    return _in_home("config") or _platform().user_config_path


def state_dir() -> Path:
    """Return the folder of what dslocal remembers: input history, the model used last."""
    return _in_home("state") or _platform().user_state_path


def quality_dir() -> Path:
    """Return the folder of what ``dslocal quality`` keeps: log-probabilities, and scores."""
    return cache_dir() / "quality"


def prefix_dir() -> Path:
    """Return the folder of evaluated prompts that ``dslocal serve`` keeps.

    It has folders whose names begin with MODEL_DIGITS of the fingerprint of a model's file.
    """
    return cache_dir() / "prompts"


def registry_file() -> Path:
    """Return the models.yaml that ships.

    In an installed package it is a copy, in a checkout a link to the one at its root.
    """
    return bundled("models.yaml")


def bundled(name: str) -> Path:
    """Return a file or folder that ships inside the package."""
    return Path(str(resources.files(APP))) / name


def _in_home(name: str) -> Path | None:
    home = os.environ.get("DSLOCAL_HOME")
    return expanded(home, "DSLOCAL_HOME") / name if home else None


def _platform() -> PlatformDirs:
    from platformdirs import PlatformDirs

    return PlatformDirs(APP, appauthor=False)
