"""From a name to a file: models.yaml, what is on this machine, imports and removal.

Does not know tensors or prompts.
"""

from .inventory import CHECKPOINT, Kept, find_kept, forget, keep, kept
from .published import DEFAULT_QUANTS, ReadyMade
from .registry import ModelEntry, load_registry

__all__ = [
    "CHECKPOINT",
    "DEFAULT_QUANTS",
    "Kept",
    "ModelEntry",
    "ReadyMade",
    "find_kept",
    "forget",
    "keep",
    "kept",
    "load_registry",
]
