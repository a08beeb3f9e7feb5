"""Notes of saved KV caches, changed as damage or another program could change them."""

from __future__ import annotations

import json
from pathlib import Path

from dslocal.engine.kv_cache.kv_state import END, MAGIC, read_note


def put_note(path: Path, note: bytes) -> None:
    """Put ``note`` in place of the note at the end of a state."""
    _, start = read_note(path)
    path.write_bytes(path.read_bytes()[:start] + note + END.pack(len(note), MAGIC))


def change_note(path: Path, **changes: object) -> None:
    """Change fields of the note of a state."""
    put_note(path, json.dumps({**read_note(path)[0], **changes}).encode())
