"""Proves the ways into the clipboard, and what leaves the chat as a file: whole, as the model wrote
it, and never over another one.
"""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import pytest

from dslocal.errors import DslocalError, UsageError
from dslocal.prompts import Message, ToolCall
from dslocal.terminal.chat.export import last_code, to_markdown, write_new
from dslocal.terminal.clipboard import MAX_OSC52_BYTES, copy, osc52


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def program(folder: Path, name: str, code: int = 0) -> None:
    """Make a command that keeps what it is given and how it was called."""
    file = folder / name
    file.write_text(
        f"""#!/bin/sh
printf "%s " "$@" > "{folder}/{name}.args"
cat > "{folder}/{name}.in"
exit {code}
"""
    )
    file.chmod(0o755)


def taken(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.in"))


SSH = {"SSH_CONNECTION": "1"}
WAYS = [
    ({"WAYLAND_DISPLAY": "w"}, {}, "by wl-copy", ["wl-copy"]),
    ({"DISPLAY": ":0"}, {}, "by xclip", ["xclip"]),
    ({"DISPLAY": ":0"}, {"xclip": 1}, "by xsel", ["xclip", "xsel"]),
    ({"WSL_DISTRO_NAME": "Debian"}, {}, "by clip.exe", ["clip.exe"]),
    ({"TMUX": "t"}, {}, "by tmux", ["tmux"]),
    ({"TMUX": "t", **SSH, "DISPLAY": ":0"}, {}, "by tmux", ["tmux"]),
    (
        {"TMUX": "t"},
        {"tmux": 1},
        "by the terminal, if it allows that (OSC 52, through tmux)",
        ["tmux"],
    ),
    ({"DISPLAY": ":0", **SSH}, {}, "by the terminal, if it allows that (OSC 52)", []),
    ({}, {}, "by the terminal, if it allows that (OSC 52)", []),
]


@pytest.mark.parametrize(
    ("env", "failing", "way", "asked"),
    WAYS,
    ids=[" ".join((*way[0], *way[1])) or "none" for way in WAYS],
)
def test_ways(
    tmp_path: Path, env: dict[str, str], failing: dict[str, int], way: str, asked: list[str]
) -> None:
    """Proves which way is taken where, that the next is tried when one fails, and that it is said
    which it was.
    """
    for name in ("wl-copy", "xclip", "xsel", "clip.exe", "tmux"):
        program(tmp_path, name, failing.get(name, 0))
    screen = Terminal()
    path = f"{tmp_path}:{os.environ['PATH']}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        assert copy("\\frac{1}{2} 好\x1b[2J", screen, {"TERM": "xterm", "PATH": path, **env}) == way
    assert taken(tmp_path) == asked
    for name in asked:
        encoding = "utf-16" if name == "clip.exe" else "utf-8"
        assert (tmp_path / f"{name}.in").read_bytes().decode(encoding) == "\\frac{1}{2} 好[2J"
    assert (screen.getvalue() != "") == ("OSC" in way)


def test_the_terminal_is_asked_in_its_own_words() -> None:
    """Proves the bytes of OSC 52, plain and passed through tmux."""
    inside = base64.b64encode("é".encode()).decode()
    assert osc52("é".encode(), tmux=False) == f"\x1b]52;c;{inside}\x07"
    assert osc52("é".encode(), tmux=True) == f"\x1bPtmux;\x1b\x1b]52;c;{inside}\x07\x1b\\"


def test_what_a_terminal_does_not_take() -> None:
    """Proves that too much, a dumb terminal and none at all are errors that name the way out."""
    for text, screen, term, words in [
        ("x" * (MAX_OSC52_BYTES + 1), Terminal(), "xterm", "74,995 bytes are more"),
        ("x", Terminal(), "dumb", "has no clipboard"),
        ("x", io.StringIO(), "xterm", "has no clipboard"),
    ]:
        with pytest.raises(DslocalError, match=words) as caught:
            copy(text, screen, {"TERM": term, "PATH": "/nowhere"})
        assert "/save" in caught.value.hint
        assert screen.getvalue() == ""


CODE = [
    ("a\n\n```python\nx = 1\n```\nb\n```\ny\n\nz\n```", "y\n\nz\n"),
    ("- list\n\n  ```c\n  int x;\n  ```\n", "int x;\n"),
    ("~~~\n```\n~~~", "```\n"),
    ("```\nopen", "open"),
    ("    indented\n", "indented\n"),
    ("`inline` only", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "code"), CODE)
def test_the_last_code(text: str, code: str | None) -> None:
    """Proves that it is the last block's content, without the fence."""
    assert last_code(text) == code


HISTORY = [
    Message("user", "What is \\(x\\)?"),
    Message(
        "assistant",
        "\\[x = \\frac{1}{2}\\]\n\n\\boxed{42}",
        "First </details> <SUMMARY>, \x1b[2Jthen",
    ),
    Message("user", "more"),
    Message("assistant", "", "hm", (ToolCall("f", '{"a": 1}'),)),
    Message("tool", "7"),
    Message("assistant", "half", cut="interrupted"),
]


def test_markdown() -> None:
    """Proves that mathematics stays raw, reasoning stays in its fold, a cut is marked, and nothing
    acts on a terminal.
    """
    text = to_markdown(HISTORY, "na\x1bno", "Be kind.", 0)
    assert "\\[x = \\frac{1}{2}\\]\n\n\\boxed{42}" in text
    assert text.count("</details>") == text.count("<details>") == text.count("<summary>") == 2
    assert "First &lt;/details> &lt;SUMMARY>, [2Jthen" in text
    assert '*(calls f: {"a": 1})*' in text
    assert text.rstrip().endswith("half\n\n*(interrupted)*")
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Conversation with nano",
        "## Instructions",
        *["## Question", "## Answer"] * 2,
        "## Tool",
        "## Answer",
    ]
    assert "\x1b" not in text


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that no file is replaced unasked, also one that appears meanwhile, and that a full
    disk leaves nothing behind.
    """
    path = tmp_path / "a.md"
    write_new(path, "one", may_replace=False)
    with pytest.raises(UsageError, match="exists already"):
        write_new(path, "two", may_replace=False)
    write_new(path, "three", may_replace=True)
    assert path.read_text() == "three"
    monkeypatch.setattr(Path, "exists", lambda self: False)
    with pytest.raises(DslocalError, match="cannot be written: File exists"):
        write_new(path, "four", may_replace=False)
    monkeypatch.undo()

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DslocalError, match="No space left"):
        write_new(path, "five", may_replace=True)
    monkeypatch.undo()
    assert path.read_text() == "three"
    assert [file.name for file in tmp_path.iterdir()] == ["a.md"]
