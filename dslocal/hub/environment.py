"""What the environment makes of the hub: whether it may be asked, and which it is."""

from __future__ import annotations


def is_offline() -> bool:
    """Whether the hub may not be asked, as ``HF_HUB_OFFLINE=1`` has it."""
    from huggingface_hub import constants

    return bool(constants.is_offline_mode())


def endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)
