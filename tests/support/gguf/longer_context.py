"""nano with room for long prompts: the same weights, and another context length in the header."""

from __future__ import annotations

import struct
from pathlib import Path

KEY = b"deepseek2.context_length"
UINT32 = 4  # of gguf_metadata_value_type


def write_longer_context(nano: Path, out: Path, n_ctx: int) -> Path:
    """Write ``nano`` with ``n_ctx`` tokens of context to ``out``, and return that."""
    data = bytearray(nano.read_bytes())
    place = data.index(KEY) + len(KEY)
    assert struct.unpack_from("<I", data, place) == (UINT32,)
    struct.pack_into("<I", data, place + 4, n_ctx)
    out.write_bytes(data)
    return out
