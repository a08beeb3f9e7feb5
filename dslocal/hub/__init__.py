"""What models there are and where their files live: models.yaml, dslocal's own folders, what is
kept in them. It knows no prompts.
"""

import os

os.environ.setdefault(
    "HF_HUB_DISABLE_TELEMETRY", "1"
)  # before anything imports huggingface_hub, which asks its hub otherwise

from .config import config_file, read_config
from .inventory import CHECKPOINT, Kept, find_kept, forget, keep, kept
from .paths import cache_dir, config_dir, state_dir
from .published import DEFAULT_QUANTS, ReadyMade
from .registry import ModelEntry, load_registry
from .state import read_state, write_state

__all__ = [
    "CHECKPOINT",
    "DEFAULT_QUANTS",
    "Kept",
    "ModelEntry",
    "ReadyMade",
    "cache_dir",
    "config_dir",
    "config_file",
    "find_kept",
    "forget",
    "keep",
    "kept",
    "load_registry",
    "read_config",
    "read_state",
    "state_dir",
    "write_state",
]
