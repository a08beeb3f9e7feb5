"""Proves that the open end is erased exactly, whatever the window does, and that lines are broken
where they may be.
"""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from dslocal.terminal.live_tail import LiveTail
from dslocal.terminal.wrapping import cells, fold, wrap


def terminal(width: int = 40, height: int = 10) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(
        file=written, force_terminal=True, color_system=None, width=width, height=height
    ), written


def since(written: io.StringIO) -> str:
    text = written.getvalue()
    written.seek(0)
    written.truncate()
    return text


@pytest.mark.parametrize(
    ("environment", "widths", "ups"),
    [
        ({}, (40, 40), 1),
        ({}, (40, 80), 1),  # what has an end of its own is not joined
        ({}, (40, 20), 2),  # 30 cells are two rows of 20, 10 are one
        ({}, (40, 7), 6),
        ({"XTERM_VERSION": "XTerm(390)"}, (40, 20), 1),  # cuts lines off
        ({"STY": "1.screen"}, (40, 20), 1),
        ({"XTERM_VERSION": "XTerm(390)", "TMUX": "/tmp/x"}, (40, 20), 2),
    ],
)
def test_the_tail_is_erased_row_by_row(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], widths: tuple[int, int], ups: int
) -> None:
    for name in ("XTERM_VERSION", "STY", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    console, written = terminal(widths[0])
    with LiveTail(console) as tail:
        tail.show([[("stays", None)]], [[("x" * 30, None)], [("y" * 10, None)]])
        assert since(written) == f"stays\n\x1b[?7l{'x' * 30}\n{'y' * 10}\x1b[?7h"
        console.width = widths[1]
        tail.show([[("more", None)]], [])
        assert since(written) == "\r\x1b[K" + "\x1b[A\x1b[K" * ups + "more\n"


def test_what_others_print_comes_above_the_tail() -> None:
    console, written = terminal()
    with LiveTail(console) as tail:
        tail.show([], [[("open", None)]])
        console.print(Text("said"))
        tail.show([], [[("open end", None)]])
    assert (
        written.getvalue() == "\x1b[?7lopen\x1b[?7h\r\x1b[Ksaid\n\x1b[?7lopen end\x1b[?7h\r\x1b[K"
    )


def test_a_tail_is_never_higher_than_the_window() -> None:
    console, written = terminal(height=5)
    with LiveTail(console) as tail:
        tail.show([], [[(f"row {i}", None)] for i in range(50)])
        assert since(written) == "\x1b[?7lrow 47\nrow 48\nrow 49\x1b[?7h"
        tail.show([], [[("z" * 100, None)]])
        assert (
            since(written)
            == "\r\x1b[K"
            + "\x1b[A\x1b[K" * 2
            + "\x1b[?7l"
            + "\n".join(("z" * 40, "z" * 40, "z" * 20))
            + "\x1b[?7h"
        )


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("one  two", 5, ["one", "two"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("a abcdefghij", 4, ["a", "abcd", "efgh", "ij"]),
        ("中文没有空格", 6, ["中文没", "有空格"]),
        ("中文没，有", 6, ["中文", "没，有"]),  # no comma at the begin of a line
        ("中文「没有」", 6, ["中文", "「没", "有」"]),  # no bracket at the end of one
        ("用Python写代码", 8, ["用Python", "写代码"]),
        ("使用Python写", 8, ["使用", "Python写"]),
        ("👩‍👩‍👧‍👦👍🏽🇵🇪", 4, ["👩‍👩‍👧‍👦👍🏽", "🇵🇪"]),
        ("naïve café", 6, ["naïve", "café"]),
        ("a\nb\n\nc", 9, ["a", "b", "", "c"]),
        ("", 5, [""]),
    ],
)
def test_where_lines_are_broken(text: str, width: int, lines: list[str]) -> None:
    assert ["".join(part for part, _ in line) for line in wrap([(text, None)], width)] == lines
    assert all(cells(line) <= width for line in lines)
    assert "".join(fold(text, width)) == text


def test_a_word_of_several_styles_is_one_word() -> None:
    from dslocal.terminal.markdown.inline import style_of

    bold = style_of("strong")
    assert wrap([("ab ", None), ("cd", bold), ("ef", None)], 5) == [
        [("ab", None)],
        [("cd", bold), ("ef", None)],
    ]
