"""Proves that conversations come back from disk as they were, for their owner alone, and that a
damaged one does no harm.
"""

from __future__ import annotations

import itertools
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from support.chat.stored_conversations import HISTORY, PARTIAL, written

from dslocal.chat import (
    find_conversation,
    last_conversation,
    list_conversations,
    load_conversation,
)
from dslocal.chat.storage import MAX_FILE
from dslocal.chat.stored_conversations import KEPT_CACHES, PART_OF_ID, old_cache_files
from dslocal.errors import DslocalError, NotFoundError, UsageError
from dslocal.prompts import Message


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    return tmp_path


def test_it_comes_back(fresh: Path) -> None:
    """Proves that all of it does, from a file and a folder that are the user's alone, with nothing
    beside it.
    """
    saved = written()
    assert load_conversation(saved.file) == last_conversation() == saved
    assert (saved.history, saved.partial) == (HISTORY, PARTIAL)
    assert saved.questions[1] == "Why?"
    assert stat.S_IMODE(saved.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(saved.file.parent.stat().st_mode) == 0o700
    assert [file.name for file in saved.file.parent.iterdir()] == [saved.file.name]


def test_what_changes_is_appended(fresh: Path) -> None:
    """Proves that every change of the history is one line more, that no change is none, and that
    the last state comes back.
    """
    saved = written(closed=False)
    sizes = []
    steps: list[list[Message]] = [
        HISTORY[:3],
        [*HISTORY[:3], Message("user", "c")],
        [*HISTORY[:3], Message("user", "c")],
        [*HISTORY[:3], Message("user", "c"), Message("assistant", "d")],
        [],
        [Message("user", "e")],
    ]
    for history in steps:
        saved.save(history)
        assert load_conversation(saved.file).history == history
        assert load_conversation(saved.file).partial is None
        sizes.append(saved.file.stat().st_size)
    assert [later > earlier for earlier, later in itertools.pairwise(sizes)] == [
        True,
        False,
        True,
        True,
        True,
    ]
    saved.model = "other"
    saved.save(steps[-1])
    assert load_conversation(saved.file).model == "other"


def test_a_torn_last_line_is_ignored() -> None:
    """Proves that a file cut anywhere gives the lines that are whole, and that continuing it
    leaves no torn line behind.
    """
    saved = written(closed=False)
    first = saved.file.stat().st_size
    saved.save([*HISTORY, Message("user", "c"), Message("assistant", "d")])
    saved.close()
    whole = saved.file.read_bytes()
    for length in range(first, len(whole), 7):
        saved.file.write_bytes(whole[:length])
        assert load_conversation(saved.file).history == HISTORY
    again = load_conversation(saved.file)
    assert again.lock()
    again.save([*HISTORY, Message("user", "e")])
    again.close()
    assert [json.loads(line)["from"] for line in saved.file.read_bytes().splitlines()] == [
        0,
        len(HISTORY),
    ]


def test_two_do_not_write_one_file() -> None:
    """Proves that a conversation is held by one process at a time, sees what was written before,
    and is not deleted meanwhile.
    """
    one = written(closed=False)
    other = load_conversation(one.file)
    assert not other.lock()
    with pytest.raises(DslocalError, match="open in another terminal"):
        other.remove()
    one.save([*HISTORY, Message("user", "c")])
    one.close()
    assert other.lock()
    assert len(other.history) == len(HISTORY) + 1
    other.close()
    other.remove()
    assert not one.file.exists()


def test_the_last_is_the_one_written_last() -> None:
    """Proves the order, and that a damaged file is passed over."""
    first, second = written("first"), written("second")
    os.utime(second.file, (1, 1))
    assert [saved.model for saved in list_conversations()] == ["first", "second"]
    first.file.write_text("{")
    assert last_conversation().model == "second"


def test_none() -> None:
    """Proves that there is an error for it."""
    with pytest.raises(NotFoundError, match="no conversation"):
        last_conversation()


def test_by_part_of_the_id() -> None:
    """Proves that the end or the day is enough where it is clear, and that nothing but an id names
    a file.
    """
    saved = written()
    for part in (saved.id, saved.id[-4:], saved.id[:8], saved.id[:15]):
        assert PART_OF_ID.fullmatch(part)
        assert find_conversation(part) == saved
    for wrong in ("", "x", "../../etc/passwd", saved.id + "x", "\x1b[31m", "0" * 1000, "20010101"):
        with pytest.raises(NotFoundError, match="no conversation called"):
            find_conversation(wrong)
    twin = saved.file.with_name(
        saved.id[:-4] + ("0000" if saved.id[-4:] != "0000" else "0001") + ".jsonl"
    )
    twin.write_bytes(saved.file.read_bytes())
    with pytest.raises(UsageError, match="fits 2 conversations"):
        find_conversation(saved.id[:8])


BAD: list[Any] = [
    {"messages": 1},
    {"messages": [1]},
    {"messages": [{"role": "root", "content": ""}]},
    {"messages": [{"role": "user"}]},
]
BAD += [
    {"messages": [{"role": "user", "content": 1}]},
    {"model": 1},
    {"id": "other"},
    {"format": 1},
    {"began": "x"},
    {"system": None},
]
BAD += [
    {"messages": [{"role": "user", "content": "", "calls": [{"name": 1, "arguments": ""}]}]},
    {"messages": None},
    {"thinking": []},
]
BAD += [
    {"messages": [{"role": "assistant", "content": "", "cut": "\x1b[2J"}]},
    {"began": 1e300},
    {"began": -1},
    {"began": float("nan")},
]
BAD += [
    {"from": 1},
    {"from": -1},
    {"from": "0"},
    {"from": 10**30},
    {"partial": 1},
    {"partial": {"ids": [1]}},
]
BAD += [
    {"partial": {"ids": ids, "seed": 1, "thinking": ""}}
    for ids in ([-1], ["1"], [1.0], [True], [1 << 31], 1)
]
BAD += [
    {"partial": {"ids": [1], "seed": seed, "thinking": ""}} for seed in (-1, "1", 1 << 63, None)
]
BAD += [{"partial": {"ids": [1], "seed": 1, "thinking": "deeply"}}]


@pytest.mark.parametrize("changes", BAD, ids=[json.dumps(change)[:60] for change in BAD])
def test_what_makes_no_sense_is_named(changes: dict[str, Any]) -> None:
    """Proves that a hostile first line is an error with the file's name, is passed over, and
    stays.
    """
    saved = written(**changes)
    with pytest.raises(DslocalError, match=saved.id):
        load_conversation(saved.file)
    with pytest.raises(NotFoundError):
        last_conversation()
    assert saved.file.exists()


CONTENTS = [
    b"",
    b"[]\n",
    b"{\n",
    b"\xff\n",
    b"[" * 100_000 + b"\n",
    b"{}\n",
    b"1\n",
    b'{"format": 2}\n',
    b"\0\n",
    b"9" * 5000 + b"\n",
]


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: repr(content)[:20])
def test_what_is_not_a_conversation_is_named(content: bytes) -> None:
    """Proves the same of files that are something else."""
    saved = written()
    saved.file.write_bytes(content)
    with pytest.raises(DslocalError, match=saved.id):
        load_conversation(saved.file)
    with pytest.raises(DslocalError, match=f"{saved.id}.* is not a conversation"):
        saved.lock()


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_file_that_cannot_be_opened_is_not_called_held(is_folder: bool) -> None:
    saved = written()
    saved.file.unlink()
    if is_folder:
        saved.file.mkdir()
    with pytest.raises(DslocalError, match=f"{saved.id}.* cannot be opened"):
        saved.lock()


def test_an_absurd_size_is_refused() -> None:
    """Proves that a file of many gigabytes is not read."""
    saved = written()
    with saved.file.open("r+b") as file:
        file.truncate(MAX_FILE * 100)
    with pytest.raises(DslocalError, match="6,710,886,400 bytes are too many for a conversation"):
        load_conversation(saved.file)


def test_a_home_that_cannot_be_written(fresh: Path) -> None:
    """Proves that there is an error, and that what is then on disk is whole."""
    (fresh / "state").mkdir(exist_ok=True)
    (fresh / "state" / "sessions").write_text("in the way")
    with pytest.raises(DslocalError, match="cannot be saved"):
        written()


def test_a_full_disk_tears_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that a line of which only a part could be written is taken back, and that the next
    attempt writes it all.
    """
    saved = written(closed=False)
    before = saved.file.read_bytes()
    write = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(file, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(DslocalError, match="No space left"):
            saved.save([*HISTORY, Message("user", "c")])
    assert saved.file.read_bytes() == before
    saved.save([*HISTORY, Message("user", "c")])
    assert load_conversation(saved.file).history == [*HISTORY, Message("user", "c")]


def test_only_the_last_caches_are_worth_their_disk() -> None:
    """Proves which are old."""
    states = [written().cache_file for _ in range(KEPT_CACHES + 2)]
    for age, state in enumerate(states):
        state.write_bytes(b"kv")
        os.utime(state, (1000 - age, 1000 - age))
    assert old_cache_files() == states[KEPT_CACHES:]
