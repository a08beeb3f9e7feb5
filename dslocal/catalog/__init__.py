"""From a name to a file: models.yaml, what is on this machine, imports and removal.

Does not know tensors or prompts.
"""

from .inventory import (
    CHECKPOINT,
    InstalledModel,
    add_installed,
    find_installed,
    installed_models,
    remove_installed,
)
from .model_entry import DEFAULT_QUANTS, ModelEntry, ReadyMade
from .registry import find_entry, known_names, load_registry

__all__ = [
    "CHECKPOINT",
    "DEFAULT_QUANTS",
    "InstalledModel",
    "ModelEntry",
    "ReadyMade",
    "add_installed",
    "find_entry",
    "find_installed",
    "installed_models",
    "known_names",
    "load_registry",
    "remove_installed",
]
