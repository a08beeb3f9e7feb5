"""Small things that dslocal remembers between runs, each a JSON object in a file of its own.

dslocal works without any of them, so an error in reading or writing one is ignored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dslocal.files import read_json_object, write_atomic

from .paths import state_dir

MAX_BYTES = 64 << 20


def read_state(name: str) -> dict[str, Any]:
    """Return what was remembered as ``name``; empty when nothing was, or it is damaged."""
    try:
        return read_json_object(state_dir() / f"{name}.json", max_bytes=MAX_BYTES)
    except (OSError, ValueError):
        return {}


def write_state(name: str, content: Mapping[str, Any]) -> None:
    """Remember ``content`` as ``name``, where the home can be written to."""
    with suppress(OSError):
        folder = state_dir()
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f"{name}.{os.getpid()}"
        write_atomic(folder / f"{name}.json", json.dumps(content), beside=beside, is_durable=False)
