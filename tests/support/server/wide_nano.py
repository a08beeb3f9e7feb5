"""nano with a larger context, for prompts of agents.

The weights are nano's; the file only says that more positions are allowed. Beyond the 4,096 that
nano was trained for its answers are noise, which a test of formats does not mind.
"""

from __future__ import annotations

import struct
from pathlib import Path

from dslocal.gguf.header import read_header

N_CTX = 65536


def write_wide_nano(nano: Path, path: Path) -> Path:
    """Write a copy of the GGUF file ``nano`` that allows N_CTX positions, and return its path."""
    header = read_header(nano)
    span = header.value_spans[f"{header.architecture}.context_length"]
    data = bytearray(nano.read_bytes())
    data[span.stop - 4 : span.stop] = struct.pack("<I", N_CTX)
    path.write_bytes(data)
    return path
