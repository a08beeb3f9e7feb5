"""The hub as the environment sets it: offline or not, which endpoint, and where the cache is."""

from __future__ import annotations

import os
from pathlib import Path


def is_offline() -> bool:
    """Return whether the hub must not be contacted, as ``HF_HUB_OFFLINE=1`` says."""
    from huggingface_hub import constants

    return bool(constants.is_offline_mode())


def endpoint() -> str:
    """Return the hub's URL: ``HF_ENDPOINT``, or Hugging Face's own."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def hub_cache_dir() -> Path:
    """Return Hugging Face's cache folder, by the environment as it is now.

    The rule is that of ``huggingface_hub.constants``, which reads the environment once.
    """
    env = os.environ
    explicit = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE")
    if explicit:
        return Path(os.path.expandvars(explicit)).expanduser()
    home = env.get("HF_HOME") or f"{env.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(os.path.expandvars(home)).expanduser() / "hub"
