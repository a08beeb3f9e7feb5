"""Proves on the real nano that an answer is on disk while it comes: a process that is killed leaves
an answer that was cut, and that continues to the same end.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dslocal import chat
from dslocal.chat import RecordedSession, Session, recorded_session
from dslocal.chat.resume import resume_history
from dslocal.engine import LlamaContext
from dslocal.errors import DslocalError
from dslocal.output import OutputConstraint, constraint_from_schema
from dslocal.prompts import Message
from dslocal.prompts.families.r1 import R1

CALM = R1.defaults.with_value("temperature", 0, "test")
QUESTION = Message("user", "What is 47 × 86?")
EVERY = 9  # events between two looks at the disk
SCHEMA = {"type": "object", "properties": {"result": {"type": "integer"}}, "required": ["result"]}


def fail(error: DslocalError) -> None:
    raise error


@pytest.fixture(autouse=True)
def _at_every_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    monkeypatch.setattr(recorded_session, "KEPT_EVERY_S", 0.0)
    monkeypatch.setattr(recorded_session, "KEPT_SHARE", 1e9)


@pytest.fixture(params=[None, constraint_from_schema(SCHEMA, "test")], ids=["text", "schema"])
def record(request: pytest.FixtureRequest, context: LlamaContext) -> Iterator[RecordedSession]:
    session = Session(context, R1, CALM, constraint=request.param)
    found = RecordedSession(session, chat.new_conversation("nano"), fail)
    yield found
    found.conversation.close()


def snapshots(record: RecordedSession, folder: Path, turn: Iterator[chat.Event]) -> list[Path]:
    """Run a turn, and return copies of its files as a kill would have left them."""
    folder.mkdir()
    copies = []
    for number, _ in enumerate(turn):
        if number and number % EVERY == 0:
            copy = folder / str(number)
            shutil.copytree(record.conversation.file.parent, copy)
            copies.append(copy / record.conversation.file.name)
    return copies


def continued(
    file: Path, context: LlamaContext, constraint: OutputConstraint | None
) -> tuple[Message, Message]:
    """Return the answer that a file holds, and what it is once it has been continued."""
    saved = chat.load_conversation(file)
    session = Session(context, R1, CALM, constraint=constraint)
    assert resume_history(session, saved) is None
    cut = session.history[-1]
    list(session.continue_answer())
    return cut, session.history[-1]


def test_what_came_is_on_disk_and_continues(record: RecordedSession, tmp_path: Path) -> None:
    record.begin_turn(QUESTION)
    copies = snapshots(record, tmp_path / "copies", record.stream(QUESTION, 7))
    record.end_turn(has_failed=False)
    whole = record.session.history[-1]
    assert len(copies) > 3
    lengths = []
    for copy in copies:
        cut, end = continued(copy, record.session.context, record.session.constraint)  # type: ignore[arg-type]
        assert cut.cut == "interrupted"
        assert (whole.reasoning + whole.content).startswith(cut.reasoning + cut.content)
        assert (end.reasoning, end.content) == (whole.reasoning, whole.content)
        lengths.append(len(cut.reasoning + cut.content))
    assert lengths == sorted(set(lengths))


def test_the_end_takes_the_place_of_what_came(record: RecordedSession) -> None:
    record.begin_turn(QUESTION)
    list(record.stream(QUESTION, 7))
    record.end_turn(has_failed=False)
    record.conversation.close()
    file = record.conversation.file
    assert file.read_bytes().count(b"\n") == 2  # the question, and the answer
    saved = chat.load_conversation(file)
    assert (saved.history, saved.partial) == (record.session.history, None)


def test_a_continuation_is_on_disk_as_well(record: RecordedSession, tmp_path: Path) -> None:
    record.begin_turn(QUESTION)
    events = record.stream(QUESTION, 7)
    for _ in range(20):
        next(events)
    events.close()
    record.end_turn(has_failed=False)
    first = record.session.history[-1]
    copies = snapshots(record, tmp_path / "copies", record.continue_answer())
    record.save()
    whole = record.session.history[-1]
    for copy in copies:
        cut, end = continued(copy, record.session.context, record.session.constraint)  # type: ignore[arg-type]
        assert len(cut.reasoning + cut.content) > len(first.reasoning + first.content)
        assert (end.reasoning, end.content) == (whole.reasoning, whole.content)


def test_a_text_that_is_continued_is_on_disk_with_its_beginning(
    record: RecordedSession, tmp_path: Path
) -> None:
    """Proves it for an answer of which the tokens are not known."""
    partial = Message("assistant", "The result", "I multiply.", cut="interrupted")
    record.session.history = [QUESTION, partial]
    record.save()
    for copy in snapshots(record, tmp_path / "copies", record.continue_answer()):
        saved = chat.load_conversation(copy)
        assert saved.history[-1].content.startswith(partial.content)
        assert saved.history[-1].reasoning == partial.reasoning
        assert saved.history[-1].cut == "interrupted"
        assert saved.partial is None


def test_a_disk_that_refuses_meanwhile_ends_no_answer(
    record: RecordedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    record.begin_turn(QUESTION)

    def refuse(*_: object) -> None:
        raise DslocalError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(record.conversation, "save_provisionally", refuse)
        list(record.stream(QUESTION, 7))
    record.end_turn(has_failed=False)
    assert chat.load_conversation(record.conversation.file).history == record.session.history
