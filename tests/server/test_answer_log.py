"""Proves that answers with calls outlive the server in a private file, whose damage costs no more
than what is damaged.
"""

from __future__ import annotations

import dataclasses
import json
import math
import stat
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from dslocal.server.preparation import answer_log
from dslocal.server.preparation.answer_log import AnswerLog, LoggedAnswer

N_VOCAB = 100


def answer(key: str, ids: list[int] | None = None) -> LoggedAnswer:
    return LoggedAnswer(key, f"m{key}", "I call.", array("i", [1, 2]), array("i", ids or [3]), 5.5)


def keys(log: AnswerLog) -> list[str]:
    return [each.key for each in log.read(N_VOCAB)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model" / "answers.calls"


def test_what_is_added_is_read_by_another(path: Path) -> None:
    without = LoggedAnswer("b", "m", "", None, array("i", [0, N_VOCAB - 1]), 6.0)
    for each in (answer("a"), without):
        AnswerLog(path).add(each)
    assert AnswerLog(path).read(N_VOCAB) == [answer("a"), without]


def test_it_is_the_users_alone(path: Path) -> None:
    AnswerLog(path).add(answer("a"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def changed(line: bytes) -> bytes:
    return line.replace(b'"mb"', b'"mc"')


@pytest.mark.parametrize(
    "damage",
    [
        changed,
        lambda line: line[:-20],  # the next line follows without a break
        lambda line: line[: len(line) // 2] + b"\n",
        lambda line: b"\x00" * len(line) + b"\n",
        lambda line: b"\n",
        lambda line: b"[" * 100_000 + b"\n",
        lambda line: b"\xff" + line,
    ],
)
def test_damaged_lines_are_ignored(path: Path, damage: Callable[[bytes], bytes]) -> None:
    log = AnswerLog(path)
    for key in "abcd":
        log.add(answer(key))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = damage(lines[1])
    path.write_bytes(b"".join(lines))
    found = keys(log)
    assert "b" not in found
    assert found[0] == "a"
    assert found[-1] == "d"
    log.add(answer("e"))
    assert keys(log)[-1] == "e"


@pytest.mark.parametrize("ids", [[N_VOCAB], [-1]])
def test_ids_of_another_vocabulary_are_ignored(path: Path, ids: list[int]) -> None:
    log = AnswerLog(path)
    log.add(answer("a", ids))
    log.add(answer("b"))
    assert keys(log) == ["b"]


@pytest.mark.parametrize(
    "fields", ["5", "[]", "{}", '{"key": 1}', '{"key":"a","meaning":"","reasoning":"","when":1}']
)
def test_lines_of_another_form_are_ignored(path: Path, fields: str) -> None:
    log = AnswerLog(path)
    log.add(answer("a"))
    text = fields.encode()
    with path.open("ab") as file:
        file.write(answer_log._digest(text) + b" " + text + b"\n")
    assert keys(log) == ["a"]


@pytest.mark.parametrize("when", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_no_number_is_neither_written_nor_read(path: Path, when: float) -> None:
    """JSON has no NaN, and an answer of no time would never be too old."""
    log = AnswerLog(path)
    log.add(answer("a"))
    log.add(dataclasses.replace(answer("b"), when=when))
    assert keys(log) == ["a"]
    before = path.read_bytes()
    for text in (json.dumps(when), "1e999"):
        fields = before[answer_log.DIGEST_DIGITS + 1 : -1].replace(b"5.5", text.encode())
        with path.open("ab") as file:
            file.write(answer_log._digest(fields) + b" " + fields + b"\n")
    assert keys(log) == ["a"]


def test_it_does_not_grow_without_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_log, "MAX_BYTES", 4000)
    monkeypatch.setattr(answer_log, "KEPT_BYTES", 2000)
    log = AnswerLog(path)
    for number in range(100):
        log.add(answer(str(number)))
        assert path.stat().st_size <= 4000
    found = keys(log)
    assert found == [str(number) for number in range(100 - len(found), 100)]
    assert len(found) > 5
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = AnswerLog(tmp_path / "file" / "answers.calls")
    log.add(answer("a"))
    assert keys(log) == []
    (tmp_path / "link").symlink_to(tmp_path / "target")
    AnswerLog(tmp_path / "link").add(answer("a"))
    assert not (tmp_path / "target").exists()
