"""Proves that an answer says of itself that it repeats itself without end."""

from __future__ import annotations

import pytest

from dslocal import output
from dslocal.output.loops import Loop
from dslocal.server.wire.openai_response import remarks_json
from dslocal.types import FinishReason


@pytest.mark.parametrize(
    ("loop", "reason", "words"),
    [
        (None, FinishReason.STOP, ""),
        (None, FinishReason.LENGTH, ""),
        (Loop("again ", 200), FinishReason.LENGTH, "the answer was cut"),
        (Loop("again ", 200), FinishReason.STOP, "the reasoning was cut"),
    ],
)
def test_a_loop_is_a_warning(loop: Loop | None, reason: FinishReason, words: str) -> None:
    turn = output.Turn(0, finish_reason=reason, loop=loop)
    turn.text = "x"
    warning = remarks_json(turn).get("warning", "")
    assert bool(warning) == bool(words)
    assert words in warning
    assert "200" in warning or not words
