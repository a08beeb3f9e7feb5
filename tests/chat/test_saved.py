"""Proves that conversations come back from disk as they were, for their owner alone, and that a damaged one does no harm."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from dslocal.chat import Call, Message, Saved, last_saved, load_saved, new_saved
from dslocal.chat.saved import KEPT_STATES, old_states
from dslocal.errors import DslocalError, NotFoundError

HISTORY = [
    Message("user", "What is 1 + 1? \x1b[31m ｜ \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")),
    Message("assistant", "2", "I add.", (Call("add", '{"a": 1}'),)),
    Message("tool", "2"),
]


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    return tmp_path


def written(model: str = "nano", **changes: Any) -> Saved:
    saved = new_saved(model)
    saved.history = list(HISTORY)
    saved.write()
    if changes:
        saved.file.write_text(json.dumps({**json.loads(saved.file.read_text()), **changes}))
    return saved


def test_it_comes_back(fresh: Path) -> None:
    saved = written()
    assert load_saved(saved.file) == saved
    assert last_saved() == saved
    assert stat.S_IMODE(saved.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(saved.file.parent.stat().st_mode) == 0o700
    assert [file.name for file in saved.file.parent.iterdir()] == [saved.file.name]


def test_the_last_is_the_one_written_last() -> None:
    first, second = written("first"), written("second")
    os.utime(second.file, (1, 1))
    assert last_saved().model == "first"
    first.file.write_text("{")
    assert last_saved().model == "second"


def test_none() -> None:
    with pytest.raises(NotFoundError, match="no conversation"):
        last_saved()


BAD: list[Any] = [{"history": 1}, {"history": [1]}, {"history": [{"role": "root", "content": ""}]}, {"history": [{"role": "user"}]}]
BAD += [{"history": [{"role": "user", "content": 1}]}, {"model": 1}, {"id": "other"}, {"format": 2}, {"began": "x"}, {"system": None}]
BAD += [{"history": [{"role": "user", "content": "", "calls": [{"name": 1, "arguments": ""}]}]}, {"history": None}, {"thinking": []}]


@pytest.mark.parametrize("changes", BAD, ids=[json.dumps(change)[:60] for change in BAD])
def test_what_makes_no_sense_is_named(changes: dict[str, Any]) -> None:
    saved = written(**changes)
    with pytest.raises(DslocalError, match=saved.id):
        load_saved(saved.file)
    with pytest.raises(NotFoundError):
        last_saved()
    assert saved.file.exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000], ids=["empty", "a list", "cut", "no text", "deep"])
def test_what_is_no_conversation_is_named(content: bytes) -> None:
    saved = written()
    saved.file.write_bytes(content)
    with pytest.raises(DslocalError, match=saved.id):
        load_saved(saved.file)


def test_a_home_that_cannot_be_written(fresh: Path) -> None:
    (fresh / "state").mkdir(exist_ok=True)
    (fresh / "state" / "sessions").write_text("in the way")
    with pytest.raises(DslocalError, match="cannot be saved"):
        written()


def test_only_the_last_caches_are_worth_their_disk() -> None:
    states = [written().state for _ in range(KEPT_STATES + 2)]
    for age, state in enumerate(states):
        state.write_bytes(b"kv")
        os.utime(state, (1000 - age, 1000 - age))
    assert old_states() == states[KEPT_STATES:]
