"""Show earlier turns of a conversation again: when it is resumed, and for /history.

They look as they did at first: the question behind its mark, the reasoning as one dim line, the
answer as Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from dslocal.prompts import Message
from dslocal.terminal.live_tail import LiveTail
from dslocal.terminal.markdown.inline import style_of
from dslocal.terminal.markdown.layout import MarkdownLayout
from dslocal.terminal.markdown.stream import MarkdownStream
from dslocal.terminal.sanitise import encodable, one_line, sanitise
from dslocal.terminal.wrapping import Line, wrap

from .answer_presenter import shortened
from .input_line import MARK

OTHER_ROWS = 9  # of a screen: what stands above the turns, the next line and the toolbar
MIN_ROWS = 8  # for turns, however small the screen is
MAX_QUESTION = 400  # characters of a question that is shown on resuming
MAX_CALL = 60  # characters of a tool call's name


@dataclass(frozen=True, slots=True)
class EarlierTurn:
    """A question with what came of it; the first turn may have no question."""

    question: Message | None
    answers: tuple[Message, ...]


def turns_of(history: Sequence[Message]) -> list[EarlierTurn]:
    """Return the turns of a conversation that have an answer."""
    turns: list[EarlierTurn] = []
    question: Message | None = None
    for message in history:
        if message.role == "user":
            question = message
        elif message.role == "assistant":
            if turns and question is turns[-1].question:
                turns[-1] = EarlierTurn(question, (*turns[-1].answers, message))
            else:
                turns.append(EarlierTurn(question, (message,)))
    return turns


def show_turns(console: Console, turns: Sequence[EarlierTurn]) -> None:
    """Show turns whole."""
    for turn in turns:
        _print(console, _lines(console, turn))


def show_last_turns(
    console: Console, turns: Sequence[EarlierTurn], notify: Callable[[str], None]
) -> None:
    """Show the last turns, as many as a screen has room for: one at least, cut if need be.

    Args:
        console: Where they are shown.
        turns: The turns.
        notify: Shows how many there are before them.
    """
    room = max(console.height - OTHER_ROWS, MIN_ROWS)
    shown: list[list[Line]] = []
    for turn in reversed(turns):
        lines = _lines(console, turn, is_brief=True)
        if not shown and len(lines) > room:
            lines = _lines(console, turn, is_brief=True, is_cut=True)
        elif len(lines) > room:
            break
        room -= len(lines)
        shown.append(lines)
    if earlier := len(turns) - len(shown):
        notify(f"{earlier} earlier question{'' if earlier == 1 else 's'}: /history shows all")
    for lines in reversed(shown):
        _print(console, lines)


def _print(console: Console, lines: Sequence[Line]) -> None:
    with LiveTail(console) as tail:
        tail.show(lines, [])


def _lines(
    console: Console, turn: EarlierTurn, *, is_brief: bool = False, is_cut: bool = False
) -> list[Line]:
    """Return a turn as lines of the console's width.

    Args:
        console: Where it will be shown.
        turn: The turn.
        is_brief: Whether the question takes one paragraph.
        is_cut: Whether only the end of each answer is shown.
    """
    lines: list[Line] = []
    if turn.question is not None:
        lines += _question_lines(console, turn.question, is_brief=is_brief)
    for answer in turn.answers:
        if answer.reasoning:
            lines.append([(_reasoning_summary(answer), style_of("dim", "em"))])
        text = shortened(answer.content) if is_cut else answer.content
        lines += _markdown_lines(console, sanitise(text))
        for call in answer.calls:
            lines.append([(f"(calls {one_line(call.name, MAX_CALL)})", style_of("dim"))])
    return lines


def _question_lines(console: Console, question: Message, *, is_brief: bool) -> list[Line]:
    asked = question.typed or question.content
    text = one_line(asked, MAX_QUESTION) if is_brief else sanitise(asked)
    return wrap([(encodable(f"{MARK}{text}", console.encoding), None)], max(console.width - 1, 1))


def _reasoning_summary(answer: Message) -> str:
    """Return the one line that stands for the reasoning; how many tokens it had is not kept."""
    return f"reasoned for {answer.reasoning_s:.1f} s" if answer.reasoning_s else "reasoned"


def _markdown_lines(console: Console, text: str) -> list[Line]:
    stream, encoding = MarkdownStream(), console.encoding
    layout = MarkdownLayout(console.width, lambda part: encodable(part, encoding))
    lines = layout.lay_out(stream.feed(text))
    return [*lines, *layout.lay_out(stream.finish())]
