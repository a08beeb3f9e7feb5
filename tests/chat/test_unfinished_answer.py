"""Proves that an answer is on disk while it is generated, whenever a kill or a full disk comes, and
that it counts for its own conversation alone.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from support.chat.stored_conversations import HISTORY, PARTIAL, written

from dslocal.chat import load_conversation
from dslocal.chat.unfinished_answer import answer_file
from dslocal.errors import DslocalError
from dslocal.prompts import Message


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))


def test_an_answer_on_its_way_is_replaced_by_what_comes_next() -> None:
    """Proves that what came last is on disk whenever the process ends, and takes no room twice."""
    saved = written(closed=False)
    question = [*HISTORY[:2], Message("user", "c")]
    saved.save(question)
    kept = saved.file.read_bytes()
    for text in ("d", "de", "def"):
        saved.save_provisionally([*question, Message("assistant", text, cut="interrupted")])
        assert load_conversation(saved.file).history[-1].content == text
        assert answer_file(saved.file).read_bytes().count(b"\n") == 1
        assert stat.S_IMODE(answer_file(saved.file).stat().st_mode) == 0o600
    saved.save_provisionally([*question, Message("assistant", "", cut="interrupted")], PARTIAL)
    again = load_conversation(saved.file)
    assert (again.partial, len(again.history)) == (PARTIAL, 4)
    saved.save(question)  # nothing came of it
    assert saved.file.read_bytes() == kept
    assert load_conversation(saved.file).history == question
    assert not answer_file(saved.file).exists()
    saved.close()


@pytest.mark.parametrize("refused", ["fsync", "replace"])
def test_an_answer_that_cannot_be_replaced_stays(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that no moment is without an answer on disk, once there was one."""
    saved = written(closed=False)
    question = [*HISTORY, Message("user", "c")]
    saved.save(question)
    saved.save_provisionally([*question, Message("assistant", "d", cut="interrupted")])

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if refused == "fsync" else Path, refused, fail)
        with pytest.raises(DslocalError, match=r"answer: the conversation cannot be saved"):
            saved.save_provisionally([*question, Message("assistant", "de", cut="interrupted")])
    assert load_conversation(saved.file).history[-1].content == "d"
    saved.close()


def test_an_answer_counts_for_the_conversation_that_it_goes_on_from() -> None:
    """Proves that one whose deletion a kill prevented is not taken for a part of what follows."""
    saved = written(closed=False)
    question = [*HISTORY, Message("user", "c")]
    saved.save(question)
    saved.save_provisionally([*question, Message("assistant", "d", cut="interrupted")])
    old = answer_file(saved.file).read_bytes()
    done = [*question, Message("assistant", "def")]
    saved.save(done)
    answer_file(saved.file).write_bytes(old)
    saved.close()
    again = load_conversation(saved.file)
    assert again.history == done
    assert again.lock()
    assert again.history == done
    again.close()
    again.remove()
    assert list(saved.file.parent.iterdir()) == []


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"after": %d}', b'{"after": %d, "from": 99}'])
def test_a_damaged_answer_is_named(damage: bytes) -> None:
    saved = written()
    answer_file(saved.file).write_bytes(damage.replace(b"%d", b"%d" % saved.file.stat().st_size))
    with pytest.raises(DslocalError, match=rf"{saved.id}\.answer: is not an answer"):
        load_conversation(saved.file)


def test_an_answer_on_its_way_stays_where_the_process_ends() -> None:
    saved = written(closed=False)
    answer = Message("assistant", "d", cut="interrupted")
    saved.save([*HISTORY, Message("user", "c")])
    saved.save_provisionally([*HISTORY, Message("user", "c"), answer], PARTIAL)
    saved.close()
    again = load_conversation(saved.file)
    assert again.history[-1] == answer
    assert again.lock()
    assert not answer_file(again.file).exists()
    again.save([*again.history, Message("user", "e")])
    again.close()
    assert load_conversation(saved.file).history[-2:] == [answer, Message("user", "e")]
