"""A local hub that dslocal itself talks to, inside this process.

Its endpoint and cache are where the test wants them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from support.hub.hub_clients import hub_for_the_real_client
from support.hub.local_hub import LocalHub


@contextlib.contextmanager
def hub_for_dslocal(cache: Path) -> Iterator[LocalHub]:
    """Yield a hub, with Hugging Face's cache at ``cache`` and no token.

    Waits between tries take no time.
    """
    with hub_for_the_real_client() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setenv("HF_TOKEN", "")
        patch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
        patch.setattr("dslocal.hub.http.time.sleep", lambda seconds: None)
        yield hub
