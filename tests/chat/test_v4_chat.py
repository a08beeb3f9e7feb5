"""Proves that a chat with DeepSeek-V4, whose KV cache cannot be cut, can be taken back like any
other, and that little of it is evaluated again.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat.v4_chat import play, write_chat_v4


@pytest.mark.slow
def test_ten_turns_with_all_that_takes_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    path = write_chat_v4(tmp_path / "v4.gguf")
    turns = play(path, has_checkpoints=True)
    lost = play(path, has_checkpoints=False)
    done = [turn.what for turn in turns]
    assert {"/retry", "/edit", "/continue", "Ctrl-C", "a follow-up after the kill"} <= set(done)
    assert len(turns) >= 10
    for turn in (*turns, *lost):
        assert turn.difference is None or turn.difference <= 1e-4, turn
    again = {turn.what: turn.evaluated for turn in turns}
    assert again["/retry"] <= 8
    assert again["a follow-up after the kill"] < 250, "of 774: its question and an answer before it"
    assert sum(turn.evaluated for turn in turns) < sum(turn.evaluated for turn in lost) / 2
