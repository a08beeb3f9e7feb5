"""Small things that dslocal remembers between runs, each a JSON object in a file of its own. Never
worth failing for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from .paths import state_dir


def read_state(name: str) -> dict[str, Any]:
    """What was remembered as ``name``; empty when nothing was, or it is damaged."""
    try:
        content = json.loads((state_dir() / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_state(name: str, content: Mapping[str, Any]) -> None:
    """Remembers ``content`` as ``name``. A home that cannot be written to is no reason to fail."""
    try:
        folder = state_dir()
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f"{name}.{os.getpid()}"
        beside.write_text(json.dumps(content), encoding="utf-8")
        beside.replace(folder / f"{name}.json")
    except OSError:
        return
