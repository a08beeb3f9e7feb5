"""Own folders, config.toml, and the small things that dslocal remembers between runs.

Does not know what a model is.
"""

from .config import config_file, read_config
from .paths import cache_dir, config_dir, state_dir
from .state import read_state, write_state

__all__ = [
    "cache_dir",
    "config_dir",
    "config_file",
    "read_config",
    "read_state",
    "state_dir",
    "write_state",
]
