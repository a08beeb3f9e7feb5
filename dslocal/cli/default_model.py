"""The default model, and the line that says that it has changed.

The default is the model that the environment or config.toml names, else the one that was named
last, else nano.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from dslocal import home
from dslocal.catalog import resolve

from . import user_settings

ANNOUNCED = "announced-defaults"  # the state with the models of which that was said
MAX_ANNOUNCED = 100


def default_model() -> str:
    """Return the name or the path of the default model.

    Raises:
        UsageError: config.toml cannot be read.
    """
    return user_settings.named_model(None) or resolve.last_used_model() or resolve.DEFAULT


def make_default(model: str, notify: Callable[[str], None]) -> None:
    """Make ``model``, which was named and works, the one that is used where none is named.

    Args:
        model: A name or a file.
        notify: Receives the line that says so: on a terminal, the first time for this model, and
            only where neither the environment nor config.toml names another.
    """
    before = default_model()
    resolve.remember_last_used(model)
    now = default_model()
    if now == before or not sys.stderr.isatty():
        return
    announced = _announced()
    if now in announced:
        return
    home.write_state(ANNOUNCED, {"models": [*announced, now][-MAX_ANNOUNCED:]})
    notify(f"{now} is now the default model; -m NAME makes another model the default")


def _announced() -> list[str]:
    """Return the models for which the line was shown."""
    models = home.read_state(ANNOUNCED).get("models")
    return [model for model in models if isinstance(model, str)] if isinstance(models, list) else []
