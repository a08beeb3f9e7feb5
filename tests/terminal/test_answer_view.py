"""Proves that streamed Markdown is shown as the whole of it would be, however it is cut.

It is shown once, in order and within the window.
"""

from __future__ import annotations

import io
import random
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console

from dslocal.terminal.chat.answer_view import AnswerView
from dslocal.terminal.markdown.layout import MarkdownLayout
from dslocal.terminal.markdown.pieces import BlockPiece, PieceKind
from dslocal.terminal.markdown.stream import MarkdownStream
from dslocal.terminal.wrapping import Line, cells

DOCUMENTS = {
    name: text
    for name, _, text in (
        part.partition("\n")
        for part in (Path(__file__).parent / "documents.txt").read_text("utf-8").split("%% ")[1:]
    )
}
# Where dslocal.terminal.markdown.stream decides otherwise than CommonMark, and says so: mathematics
# is neither a list nor a heading.
OTHERWISE = {"display mathematics with signs at line starts"}


def cut(text: str, dice: random.Random, longest: int) -> Iterator[str]:
    """Yield ``text`` in parts of random lengths, at most ``longest`` characters."""
    while text:
        n = dice.randint(1, longest)
        yield text[:n]
        text = text[n:]


def lines_of(parts: Iterator[str] | list[str], width: int = 80) -> list[str]:
    """Return what is committed, line by line, without styles."""
    stream, layout = MarkdownStream(), MarkdownLayout(width)
    lines: list[Line] = []
    for part in parts:
        lines += layout.lay_out(stream.feed(part))
    lines += layout.lay_out(stream.finish())
    return texts_of(lines)


def texts_of(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_committed_is_the_whole_however_it_is_cut(name: str) -> None:
    document = DOCUMENTS[name]
    for width in (80, 23):
        whole = lines_of([document], width)
        dice = random.Random(name)
        assert lines_of(list(document), width) == whole
        for longest in (4, 30, 300):
            assert lines_of(cut(document, dice, longest), width) == whole


@pytest.mark.parametrize("name", DOCUMENTS)
def test_drawing_the_open_end_changes_nothing(name: str) -> None:
    stream, layout = MarkdownStream(), MarkdownLayout(60)
    lines: list[Line] = []
    for part in cut(DOCUMENTS[name], random.Random(name), 20):
        lines += layout.lay_out(stream.feed(part))
        layout.fork().lay_out(stream.preview(), max_rows=10)
    lines += layout.lay_out(stream.finish())
    assert texts_of(lines) == lines_of([DOCUMENTS[name]], 60)


def emitted(document: str) -> list[tuple[tuple[str, ...], str, str]]:
    """Return the leaves that our parser emits from feeds of one character.

    Each has the markers of the containers around it, its kind and its words.
    """
    blocks = MarkdownStream()
    leaves: list[tuple[tuple[str, ...], str, str]] = []
    before: BlockPiece | None = None
    for piece in [*(piece for c in document for piece in blocks.feed(c)), *blocks.finish()]:
        path = tuple(container.marker for container in piece.path)
        text = " ".join([piece.text, *(cell for row in piece.rows for cell in row)]).strip()
        if before and (
            not piece.begins
            or (
                piece.kind in (PieceKind.CODE, PieceKind.HTML)
                and before.kind in (PieceKind.CODE, PieceKind.HTML, PieceKind.FENCE)
            )
        ):
            leaves[-1] = (*leaves[-1][:2], f"{leaves[-1][2]} {text}".strip())
        elif piece.kind not in (PieceKind.EMPTY, PieceKind.FENCE_END):
            leaves.append(
                (
                    path,
                    "CODE" if piece.kind is PieceKind.FENCE else piece.kind.name,
                    "" if piece.kind is PieceKind.FENCE else text,
                )
            )
        before = piece
    return [(path, kind, " ".join(text.split())) for path, kind, text in leaves]


def _enter_or_leave(token: Token, path: list[str], lists: list[tuple[str, int]]) -> None:
    """Update the containers that are open.

    Args:
        token: What opens or closes one.
        path: The markers of those that are open.
        lists: The style and the next number of the lists that are open; -1 for bullets.
    """
    if token.type.endswith("list_open"):
        lists.append(
            (token.markup, int(token.attrs.get("start", 1)) if token.type[0] == "o" else -1)
        )
    elif token.type.endswith("list_close"):
        lists.pop()
    elif token.type == "blockquote_open":
        path.append("")
    elif token.type == "list_item_open":
        style, number = lists[-1]
        if number < 0:
            path.append(style)
        else:
            path.append(f"{number}{style}")
            lists[-1] = (style, number + 1)
    elif token.type in ("list_item_close", "blockquote_close"):
        path.pop()


def parsed(document: str) -> list[tuple[tuple[str, ...], str, str]]:
    """Return the same leaves from markdown-it, given the whole document."""
    kinds = {"fence": "CODE", "code_block": "CODE", "html_block": "HTML", "hr": "RULE"}
    leaves: list[tuple[tuple[str, ...], str, str]] = []
    path: list[str] = []
    lists: list[tuple[str, int]] = []
    tokens = MarkdownIt("commonmark").enable("table").disable("reference").parse(document)
    cells_: list[str] | None = None
    for before, token in pairwise([tokens[0], *tokens]):
        _enter_or_leave(token, path, lists)
        if token.type == "table_open":
            cells_ = []
        elif token.type == "table_close":
            leaves.append((tuple(path), "TABLE", " ".join(cells_ or [])))
            cells_ = None
        elif token.type == "inline" and cells_ is not None:
            cells_.append(token.content)
        elif token.type == "inline":
            leaves.append(
                (
                    tuple(path),
                    "HEADING" if before.type == "heading_open" else "PARAGRAPH",
                    token.content,
                )
            )
        elif token.type == "html_block" and leaves and leaves[-1][:2] == (tuple(path), "HTML"):
            leaves[-1] = (*leaves[-1][:2], f"{leaves[-1][2]} {token.content}")
        elif token.type in kinds:
            leaves.append((tuple(path), kinds[token.type], token.content))
    return [(path, kind, " ".join(text.split())) for path, kind, text in leaves]


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name not in OTHERWISE])
def test_blocks_are_those_of_markdown_it_given_the_whole(name: str) -> None:
    assert emitted(DOCUMENTS[name]) == parsed(DOCUMENTS[name])


FRAGMENTS = (Path(__file__).parent / "fragments.txt").read_text("utf-8").split("%")


def test_blocks_are_those_of_markdown_it_for_any_text() -> None:
    for seed in range(400):
        dice = random.Random(seed)
        document = "x\n\n" + "".join(dice.choice(FRAGMENTS) for _ in range(dice.randint(1, 14)))
        assert emitted(document) == parsed(document), document


@pytest.mark.parametrize(
    ("opened", "unit"),
    [
        ("", "word **bold** and `code` "),
        ("", "没有空格的很长的一段话，"),
        ("", "x" * 37 + "*"),
        ("```python\n", "x = [1, 2, 3]  # a comment\n"),
        ("```\n", "y" * 61),
        ("", "- item with *text*\n"),
        ("", "1. item\n\n   and more\n\n"),
        ("- ```\n", "  code\n"),
        ("> ", "words in a quote "),
        ("| a | b |\n|---|---|\n", "| 1 | some words |\n"),
        ("\\[\n", "x + y = z \\\\\n"),
        ("<div>\n", "html\n"),
        ("    code\n", "\n"),
    ],
)
def test_an_open_block_is_held_in_part_only(opened: str, unit: str) -> None:
    """Proves that what a frame looks at stops growing, whatever the block that is open."""
    blocks = MarkdownStream()
    blocks.feed("before\n\n" + opened)
    for _ in range(-(-60_000 // len(unit))):
        blocks.feed(unit)
    if unit != "\n":
        assert (
            sum(
                len(piece.text) + sum(map(len, (cell for row in piece.rows for cell in row)))
                for piece in blocks.preview()
            )
            < 9_000
        )


def shown(parts: list[tuple[str, str]], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    with AnswerView(console) as view:
        for kind, text in parts:
            if kind == "reasoning":
                view.add_reasoning(text)
            elif kind == "end of reasoning":
                view.end_reasoning(12, 3.4)
            else:
                view.add_answer(text)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_an_answer_is_shown_once_and_in_order() -> None:
    words = [f"word{i}" for i in range(300)]
    document = "\n\n".join(" ".join(words[i : i + 10]) for i in range(0, 300, 10))
    text = shown([("answer", part) for part in cut(document, random.Random(6), 30)])
    assert text.split() == words


def test_reasoning_leaves_one_line() -> None:
    text = shown(
        [("reasoning", "SECRET " * 50), ("end of reasoning", ""), ("answer", "The answer.")]
    )
    assert "SECRET" not in text
    assert text.split("\n")[:1] == ["reasoned for 3.4 s, 12 tokens"]
    assert text.rstrip().endswith("The answer.")


def test_what_came_before_an_interruption_stays() -> None:
    console = Console(file=io.StringIO(), width=80)
    with suppress(KeyboardInterrupt), AnswerView(console) as view:
        view.add_answer("first\n\nsec")
        raise KeyboardInterrupt
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().split() == ["first", "sec"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_narrow_window_and_an_old_encoding(name: str) -> None:
    """Proves that 20 cells and ASCII are enough, except for code and HTML.

    The terminal breaks those.
    """
    raw = io.BytesIO()
    console = Console(
        file=io.TextIOWrapper(raw, "ascii", errors="strict"), width=20, highlight=False
    )
    with AnswerView(console) as view:
        view.add_answer(DOCUMENTS[name])
    console.file.flush()
    text = raw.getvalue().decode("ascii")
    verbatim = {" ".join(line.split()) for line in re.findall(r"(?m)^.{10,}$", DOCUMENTS[name])}
    for line in text.splitlines():
        words = " ".join(line.split()).lstrip("*|o+- ")
        assert cells(line) <= 20 or any(words in row for row in verbatim), line


def test_a_dumb_terminal_gets_plain_text_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    console = Console(file=io.StringIO(), force_terminal=True, width=40)
    with AnswerView(console) as view:
        for part in cut("# T\n\nsome **bold** words\n\n- a\n- b\n", random.Random(1), 3):
            view.add_reasoning("hm")
            view.add_answer(part)
            time.sleep(0.01)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "T\n\nsome bold words\n\n• a\n• b\n"
