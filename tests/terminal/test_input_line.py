"""Proves what surrounds the input line: history, completion, toolbar, keys while an answer
streams.
"""

from __future__ import annotations

import functools
import io
import os
import pty
import signal
import stat
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import Application, get_app
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.output.vt100 import Vt100_Output
from rich.cells import cell_len
from support.chat.chat_loop import Loop
from support.timing import at_most
from support.waiting import wait_until

from dslocal.chat import new_conversation
from dslocal.prompts import Message
from dslocal.terminal.chat.input_line import (
    MAX_ENTRY_CHARACTERS,
    MAX_HISTORY_BYTES,
    InputLine,
    PromptHistory,
    open_history,
)
from dslocal.terminal.chat.keys import KeyReader
from dslocal.terminal.chat.toolbar import (
    APART,
    ToolbarPart,
    fit_parts,
    resident_bytes,
    toolbar_parts,
)


def in_no_chat() -> str:
    return ""


def test_history_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    """Proves that lines come back, many-lined ones whole, the newest first, from a file of mode
    0600.
    """
    file = tmp_path / "history"
    file.touch(0o644)
    for line in ("one", "two\nlines\n\nthree", "№ 3"):
        open_history(tmp_path, in_no_chat).store_string(line)
    kept = open_history(tmp_path, in_no_chat)
    assert list(kept.load_history_strings()) == ["№ 3", "two\nlines\n\nthree", "one"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "+one\n" in file.read_text()


HOSTILE = [
    (b"\n# \n+a\x1b[2J\x9b31m\xc2\x9b32m b\n", ["a[2J\ufffd31m32m b"]),
    (b"\n# \n+\xe2\x80\xaeevil\n", ["evil"]),
    (b"\n# \n+\xff\xfe\n", ["\ufffd\ufffd"]),
    (b"no history at all\n\0\0\n", []),
    (b"\n# \n+" + b"x" * (MAX_ENTRY_CHARACTERS + 1) + b"\n\n# \n+short\n", ["short"]),
    (b"+", []),
]


@pytest.mark.parametrize(("data", "lines"), HOSTILE, ids=lambda value: repr(value)[:20])
def test_a_hostile_history_does_not_act(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    """Proves that nothing of it reaches the terminal as it is, and that what is absurd is left
    out.
    """
    (tmp_path / "history").write_bytes(data)
    assert (
        list(PromptHistory(str(tmp_path / "history"), in_no_chat).load_history_strings()) == lines
    )


def test_an_absurd_history_is_read_in_part(tmp_path: Path) -> None:
    """Proves that of gigabytes only the end is read, from an entry's beginning on, and that the end
    is all there.
    """
    file = tmp_path / "history"
    file.touch()
    os.truncate(file, 50 * MAX_HISTORY_BYTES)
    history = PromptHistory(str(file), in_no_chat)
    entries = [f"entry {i}" for i in range(3)]
    for entry in entries:
        history.store_string(entry)
    assert list(history.load_history_strings()) == entries[::-1]


@pytest.mark.timed
def test_an_absurd_history_is_read_at_once(tmp_path: Path) -> None:
    with at_most(2):
        test_an_absurd_history_is_read_in_part(tmp_path)


def test_what_was_typed_in_a_conversation_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that questions and commands are removed, whole and for that conversation alone, and
    that the file stays its owner's.
    """
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    saved, other = new_conversation("nano"), new_conversation("nano")
    state = tmp_path / "state"
    for conversation, lines in (
        (saved, ["/file a.txt", "two\n# lines\n\n+", "the same"]),
        (other, ["the same", f"# {saved.id}"]),
        (saved, ["/system Be kind."]),
    ):
        history = open_history(state, functools.partial(str, conversation.id))
        for line in lines:
            history.store_string(line)
        conversation.save([Message("user", "the same")])
        conversation.close()
    saved.remove()
    kept = open_history(state, in_no_chat)
    assert list(kept.load_history_strings()) == [f"# {saved.id}", "the same"]
    assert stat.S_IMODE((state / "history").stat().st_mode) == 0o600
    assert [file.name for file in state.iterdir() if file.is_file()] == ["history"]


def test_a_conversation_is_removed_where_nothing_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that one of the chat page's goes without a history, and leaves none behind."""
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    saved = new_conversation("nano")
    saved.save([Message("user", "a")])
    saved.close()
    saved.remove()
    assert not saved.file.exists()
    assert not (tmp_path / "state" / "history").exists()


def test_a_folder_that_cannot_be_had(tmp_path: Path) -> None:
    """Proves that the chat works without a history on disk."""
    (tmp_path / "file").touch()
    assert isinstance(open_history(tmp_path / "file", in_no_chat), InMemoryHistory)


def completed(loop: Loop, text: str) -> list[tuple[str, str]]:
    """What the line could become, with what is said of it."""
    found = loop.make_completer().get_completions(Document(text), CompleteEvent())
    return [
        (text[: len(text) + one.start_position] + one.text, one.display_meta_text) for one in found
    ]


def test_completion(loop: Loop, tmp_path: Path) -> None:
    """Proves that commands come with their help, and after them names, values, ids and paths,
    quoted where they must be.
    """
    assert (
        "/set",
        "temperature, top_p, max_tokens, …; math (on, off, auto)",
    ) in completed(loop, "/se")
    assert completed(loop, "hello /se") == completed(loop, "//se") == []
    assert [text for text, _ in completed(loop, "/set temp")] == ["/set temperature"]
    assert [text for text, _ in completed(loop, "/set math o")] == ["/set math on", "/set math off"]
    assert [text for text, _ in completed(loop, "/model O")] == ["/model other"]
    (tmp_path / "a b.txt").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "it's").touch()
    (tmp_path / "evil\x1b[2J").touch()
    (tmp_path / ".hidden").touch()
    assert [text for text, _ in completed(loop, "/file ")] == [
        "/file 'a b.txt'",
        "/file folder/",
        "/file home/",
    ]
    assert [text for text, _ in completed(loop, "/file a")] == ["/file 'a b.txt'"]
    assert [text for text, _ in completed(loop, "/file 'a b")] == ["/file 'a b.txt'"]
    assert [text for text, _ in completed(loop, "/file x folder/i")] == [
        "/file x 'folder/it'\"'\"'s'"
    ]
    assert [text for text, _ in completed(loop, "/file .h")] == ["/file .hidden"]
    assert (
        completed(loop, "/file /no/such/")
        == completed(loop, "/file ~nobody-at-all/")
        == completed(loop, "/file \0")
        == []
    )
    saved = new_conversation("nano")
    saved.save([Message("user", "Why \x1b[2J\u202e?")])
    ((text, meta),) = completed(loop, f"/resume {saved.id[:8]}")
    assert text == f"/resume {saved.id}"
    assert meta.endswith("Why [2J?")
    saved.close()


@pytest.mark.parametrize("width", [0, 1, 5, 20, 40, 60, 80, 120, 500])
def test_the_toolbar_fits(width: int) -> None:
    """Proves that it never is wider than the terminal, and that the least important goes first,
    order kept.
    """
    found = [
        ToolbarPart(0, "モデル"),
        ToolbarPart(1, "context 1 of 2"),
        ToolbarPart(4, "9 tokens/s"),
        ToolbarPart(6, "1,234 MiB"),
        ToolbarPart(2, "1 file attached"),
    ]
    line = fit_parts(found, width)
    assert cell_len(line) <= width
    shown = line.split(APART)
    if width >= 5:
        assert "モデル".startswith(shown[0].rstrip())
    kept = [text for importance, text in sorted(found) if text in shown]
    assert kept == [text for _, text in sorted(found)][: len(kept)]
    assert len(shown) == len(found) or width < 80


def test_the_toolbar_says_what_there_is(loop: Loop) -> None:
    """Proves that model, context, speed, drafts, memory, files and thinking are in it."""
    loop.said("/think off")
    loop.said("capital of peru")
    turn = loop.session.turn
    assert turn is not None
    turn.drafted_tokens, turn.accepted_tokens = 20, 15
    text = " ".join(part for _, part in toolbar_parts(loop.session, "nano", 2, used=0))
    for word in (
        "nano",
        "context ",
        " of 2,048",
        "tokens/s",
        "drafts 15/20",
        "MiB",
        "2 files attached",
        "thinking bypassed",
    ):
        assert word in text
    assert 10 << 20 < resident_bytes() < 100 << 30


def entered(keys: str, tmp_path: Path, default: str = "") -> str:
    """What is entered by ``keys``."""
    with create_pipe_input() as pipe:
        pipe.send_text(keys)
        prompt = InputLine(
            open_history(tmp_path, in_no_chat),
            Loop.make_completer(None),  # type: ignore[arg-type]
            lambda width: "",
            input=pipe,
            output=DummyOutput(),
        )
        return prompt.read(default)


TYPED = [
    ("hello\r", "", "hello"),
    ("one\x1b\rtwo\r", "", "one\ntwo"),
    ("\x1b[200~def f():\r\n    return 1\n\x1b[201~ ?\r", "", "def f():\n    return 1\n ?"),
    (" more\r", "some", "some more"),
    ("\x12fir\r\r", "", "the first"),  # Ctrl-R searches
    ("\x1b[A\r", "", "the second"),
]


@pytest.mark.parametrize(
    ("keys", "default", "line"), TYPED, ids=[repr(keys) for keys, _, _ in TYPED]
)
def test_what_is_typed(tmp_path: Path, keys: str, default: str, line: str) -> None:
    """Proves Alt-Enter, a paste of many lines, a line that is there already, the search, and the
    way back in history.
    """
    for earlier in ("the first", "the second"):
        open_history(tmp_path, in_no_chat).store_string(earlier)
    assert entered(keys, tmp_path, default) == line


class Terminal(io.StringIO):
    """A terminal that says that it is one."""

    def isatty(self) -> bool:
        return True


# Keys, the line that they make, and the rows between it and the toolbar.
ROWS_BETWEEN = [
    ("hello", "hello", 0),
    ("/zzz", "/zzz", 7),
    ("/zzz\x15", "", 0),
    ("/zzz\x15hello", "hello", 0),
]


@pytest.mark.parametrize(("keys", "line", "rows"), ROWS_BETWEEN)
def test_the_toolbar_is_below_the_line(
    monkeypatch: pytest.MonkeyPatch, keys: str, line: str, rows: int
) -> None:
    """Proves that rows are kept for a menu only while a command is typed, and that the terminal is
    not asked where the cursor is.
    """
    monkeypatch.delenv("PROMPT_TOOLKIT_NO_CPR", raising=False)
    written = Terminal()
    heights: list[int] = []

    def note_height(app: Application[str]) -> None:
        screen = app.renderer.last_rendered_screen
        if pressed and screen is not None and app.current_buffer.text == line:
            heights.append(screen.height)
            app.exit(exception=EOFError)

    def toolbar(width: int) -> str:
        app = get_app()
        if not pressed:
            app.after_render += note_height
            pipe.send_text(keys)
            pressed.append(keys)
        return "the toolbar"

    pressed: list[str] = []
    with create_pipe_input() as pipe:
        prompt = InputLine(
            InMemoryHistory(),
            Loop.make_completer(None),  # type: ignore[arg-type]
            toolbar,
            input=pipe,
            output=Vt100_Output(written, lambda: Size(rows=24, columns=80), term="xterm"),
        )
        with pytest.raises(EOFError):
            prompt.read()
    assert heights[0] == 1 + rows + 1
    assert "the toolbar" in written.getvalue()
    assert "\x1b[6n" not in written.getvalue()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Our end of a terminal, and the program's."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


PRESSED = [
    ("hello", "hello", 0),
    ("next\x0e question", "next question", 1),
    ("\x0e\x0e", "", 2),
    ("wrong\x15right", "right", 0),
    ("abx\x7fc", "abc", 0),
    ("one two\x17three", "one three", 0),
    ("a\x1b[Db\x1bOCc\x1b[1;5Cd", "abcd", 0),
    ("two\rlines\r", "two\nlines", 0),
    ("ünï ｜", "ünï ｜", 0),
    ("\x1b[200~paste\x1b[201~\x01", "paste", 0),
]


@pytest.mark.parametrize(
    ("keys", "typed", "times"), PRESSED, ids=[repr(keys) for keys, _, _ in PRESSED]
)
def test_keys_while_an_answer_streams(
    terminal: tuple[int, int], keys: str, typed: str, times: int
) -> None:
    """Proves that the key to answer now is noticed, and that the rest is kept.

    Nothing is shown, and the terminal is as it was afterwards.
    """
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    now: list[int] = []
    with KeyReader(lambda: now.append(1), theirs) as pressed:
        assert not termios.tcgetattr(theirs)[3] & (termios.ECHO | termios.ICANON)
        assert termios.tcgetattr(theirs)[3] & termios.ISIG
        os.write(ours, keys.encode())
        wait_until(lambda: len(now) >= times and pressed.typed_text == typed)
    assert (pressed.typed_text, len(now)) == (typed, times)
    assert termios.tcgetattr(theirs) == before


def test_the_terminal_is_restored_after_an_error(terminal: tuple[int, int]) -> None:
    """Proves it for Ctrl-C and for Ctrl-Z, and that nothing is read without a terminal."""
    _, theirs = terminal
    before = termios.tcgetattr(theirs)
    with pytest.raises(KeyboardInterrupt), KeyReader(lambda: None, theirs):
        raise KeyboardInterrupt
    assert termios.tcgetattr(theirs) == before
    with KeyReader(lambda: None, theirs):
        termios.tcsetattr(theirs, termios.TCSANOW, before)  # as a shell does after Ctrl-Z
        os.kill(os.getpid(), signal.SIGCONT)
        assert not termios.tcgetattr(theirs)[3] & termios.ECHO
    assert (termios.tcgetattr(theirs), signal.getsignal(signal.SIGCONT)) == (before, signal.SIG_DFL)
    reading, writing = os.pipe()
    os.write(writing, b"not for us")
    with KeyReader(lambda: None, reading) as pressed:
        time.sleep(0.05)
    assert pressed.typed_text == ""
    assert os.read(reading, 100) == b"not for us"
    os.close(reading)
    os.close(writing)
