"""SGLang's events, as they were recorded: with all tokens so far, with the new ones, and with some
of the prompt before them (sgl-project/sglang, issue 17240).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.engines.fake_engine import FakeEngine, Raw

from dslocal.chat.session import Session
from dslocal.engine import LlamaModel
from dslocal.prompts import FAMILIES
from dslocal.types import FinishReason

from .conftest import OpenContext

VECTORS = Path(__file__).parents[2] / "vectors" / "engines"
RECORDED = json.loads((VECTORS / "sglang_generate.json").read_text(encoding="utf-8"))
NANO = FAMILIES["nano"]


@pytest.mark.parametrize(
    ("name", "ids", "reason"),
    [
        ("cumulative", [18, 19, 20, 21], FinishReason.STOP),
        ("incremental", [18, 19, 20, 21], FinishReason.STOP),
        ("length", [18, 19], FinishReason.LENGTH),
        ("with_ids_of_the_prompt", [18, 19], FinishReason.LENGTH),
    ],
)
def test_sglang(
    model: LlamaModel, open_context: OpenContext, name: str, ids: list[int], reason: FinishReason
) -> None:
    events = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in RECORDED[name]]
    with FakeEngine(model, "sglang", replies=[Raw([*events, b"data: [DONE]\n\n"])]) as engine:
        session = Session(open_context(engine), NANO, NANO.defaults)
        list(session.stream("hello", seed=1))
        turn = session.turn
        assert turn is not None
        assert turn.ids == ids
        assert turn.finish_reason is reason
        assert turn.cached_tokens == 1
