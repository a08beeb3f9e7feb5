"""Read small JSON files of a checkpoint without trusting them."""

from __future__ import annotations

import json
from typing import Any

from dslocal.errors import CheckpointError
from dslocal.file_kinds import HEAD_BYTES, content_kind
from dslocal.files import json_integer, utf8_text

from .source import Source

MAX_JSON_BYTES = 4 << 20
MAX_LARGE_JSON_BYTES = 64 << 20
LARGE = (".index.json", "tokenizer.json", "vocab.json")  # ends of the names of larger ones


def read_json(source: Source, file: str) -> dict[str, Any]:
    """Read a small file of the checkpoint that is one JSON object.

    Raises:
        CheckpointError: It is missing, too large, or not a JSON object that can be written again.
    """
    limit = MAX_LARGE_JSON_BYTES if file.endswith(LARGE) else MAX_JSON_BYTES
    size = source.size(file)
    if size > limit:  # before it is opened, which may be to fetch it
        raise CheckpointError(
            f"is {size:,} bytes long; more than {limit:,} cannot be right", file=file
        )
    with source.open(file) as opened:
        data = opened.read(size)
    try:
        value = json.loads(utf8_text(data), parse_int=json_integer)
        if b"\\ud" in data or b"\\uD" in data:
            # half a surrogate pair is not text: encoding it raises a ValueError
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as e:
        raise _not_json(data, file, e) from None
    if not isinstance(value, dict):
        raise CheckpointError("is not a JSON object", file=file)
    return value


def _not_json(data: bytes, file: str, error: Exception) -> CheckpointError:
    """Return the error for a file that is not JSON, by what it is if that can be recognised."""
    kind = content_kind(data[:HEAD_BYTES], len(data))
    if kind is None or kind.what.startswith("JSON"):
        return CheckpointError(f"is not valid JSON ({error})", file=file)
    return CheckpointError(f"is not valid JSON, but {kind.what}", file=file, hint=kind.hint)
