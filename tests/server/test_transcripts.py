"""Proves that every format reads and writes the very bytes of its transcripts.

Requests named after a client are what that client sent, shortened and with its own texts left out.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.server.transcripts import FOLDER, transcripts

FILES = list(transcripts())


@pytest.mark.parametrize(
    ("path", "content"), FILES, ids=[str(path.relative_to(FOLDER)) for path, _ in FILES]
)
def test_a_transcript_is_the_same_byte_for_byte(path: Path, content: bytes) -> None:
    assert content == path.read_bytes()


def test_no_transcript_is_left_over() -> None:
    known = {path for path, _ in FILES}
    found = {path for path in FOLDER.rglob("*.*") if not path.name.endswith(".request.json")}
    assert found == known
