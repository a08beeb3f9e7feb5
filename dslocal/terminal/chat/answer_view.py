"""An answer while it streams: reasoning in a small dim window, then the answer as Markdown.

When the reasoning ends, its window collapses to one line. The answer goes into the terminal's own
scrollback, without a full-screen mode. Lines that nothing can change any more are printed once
(:mod:`dslocal.terminal.markdown.stream` says which), and only the open end is drawn again, so a
frame costs the same however long the answer or its last block is. All text passes through
:func:`dslocal.terminal.sanitise.sanitise`.

Does not know sessions or models.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.text import Text

from dslocal.terminal.live_tail import LiveTail
from dslocal.terminal.markdown.inline import style_of
from dslocal.terminal.markdown.layout import MarkdownLayout
from dslocal.terminal.markdown.stream import MarkdownStream
from dslocal.terminal.sanitise import encodable, sanitise
from dslocal.terminal.wrapping import Line, wrap

FRAME_S = 0.05  # seconds from one frame to the next, at least
MAX_FRAME_SHARE = 0.04  # of the time that is spent on drawing
SLOW_PREFILL_S = 0.5  # before that the prompt's progress is not shown
WINDOW_LINES = 8  # of reasoning
MAX_WINDOW_CHARACTERS = 8192  # of reasoning, which the window is cut from


def reasoning_summary(tokens: int, seconds: float) -> str:
    """Return the one line that stays of the reasoning."""
    return f"reasoned for {max(seconds, 0.1):.1f} s, {tokens:,} tokens"


class AnswerView:
    """Shows one answer on a console.

    Use it as a context manager; when it exits, the terminal holds the whole answer.

    Args:
        console: Where the answer is drawn.
        hint: A line that stands below the window of reasoning, on the keys that work.
    """

    def __init__(self, console: Console, hint: str = "") -> None:
        self._hint = hint
        self._console = console
        encoding = console.encoding
        self._encodable: Callable[[str], str] = lambda text: encodable(text, encoding)
        self._tail = LiveTail(console)
        self._stream = MarkdownStream()
        self._layout = MarkdownLayout(console.width, self._encodable)
        self._reasoning = ""
        self._started = self._next_frame = time.monotonic()
        self._has_printed = False

    def __enter__(self) -> AnswerView:
        self._tail.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._tail.show(self._lay_out_rest(), [])
        finally:
            self._tail.__exit__()

    def redraw_below(self) -> None:
        """Draw the next frame where the cursor is: after Ctrl-Z the shell has written there."""
        self._tail.forget()

    def show_prefill(self, done: int, total: int) -> None:
        """Show how many tokens of the prompt are evaluated, once that takes long."""
        if time.monotonic() - self._started > SLOW_PREFILL_S:
            line = (f"reading {done:,} of {total:,} tokens", style_of("dim"))
            self._draw_if_due(lambda: [[line]])

    def add_reasoning(self, text: str) -> None:
        """Show more of the reasoning in its window."""
        self._reasoning = (self._reasoning + sanitise(text))[-MAX_WINDOW_CHARACTERS:]
        self._draw_if_due(self._reasoning_window)

    def end_reasoning(self, tokens: int, seconds: float) -> None:
        """Replace the window of reasoning by one line."""
        self._console.print(Text(reasoning_summary(tokens, seconds), style="dim italic"))

    def add_answer(self, text: str) -> None:
        """Show more of the answer."""
        final_lines = self._lay_out(text)
        now = time.monotonic()
        if not self._tail.is_shown:
            self._tail.show(final_lines, [])
        elif final_lines or now >= self._next_frame:
            self._draw(final_lines, self._open_end)

    def reclassify(self) -> None:
        """Take all of the answer so far as reasoning, whose opening tag was missing.

        What is printed stays, with a line that says what it was.
        """
        self._tail.show([], [])
        self._stream.finish()
        if self._has_printed:
            self._console.print(
                Text("(all of this was reasoning: its opening tag was missing)", style="dim italic")
            )
        self._layout = MarkdownLayout(self._console.width, self._encodable)
        self._has_printed = False

    def _lay_out(self, text: str) -> list[Line]:
        """Return the lines that ``text`` made final, for the terminal's width of this moment."""
        self._layout.width = self._console.width
        final_lines = self._layout.lay_out(self._stream.feed(sanitise(text)))
        self._has_printed = self._has_printed or bool(final_lines)
        return final_lines

    def _lay_out_rest(self) -> list[Line]:
        """Return the lines of what is open, now that nothing more comes."""
        self._layout.width = self._console.width
        final_lines = self._layout.lay_out(self._stream.finish())
        self._has_printed = self._has_printed or bool(final_lines)
        return final_lines

    def _open_end(self) -> list[Line]:
        """Return the lines of what is open, as they would be if nothing more came."""
        return self._layout.fork().lay_out(self._stream.preview(), max_rows=self._tail.max_rows)

    def _reasoning_window(self) -> list[Line]:
        width = max(self._console.width - 1, 1)
        recent = self._encodable(self._reasoning[-(width * WINDOW_LINES) :])
        lines = wrap([(recent, style_of("dim"))], width)[-WINDOW_LINES:]
        if self._hint:
            lines.append([(self._hint[:width], style_of("dim"))])
        return lines

    def _draw_if_due(self, tail: Callable[[], list[Line]]) -> None:
        if self._tail.is_shown and time.monotonic() >= self._next_frame:
            self._draw([], tail)

    def _draw(self, final_lines: list[Line], tail: Callable[[], list[Line]]) -> None:
        """Draw one frame, and set the time of the next by what this one cost."""
        started = time.monotonic()
        self._tail.show(final_lines, tail())
        took = time.monotonic() - started
        self._next_frame = started + max(FRAME_S, took / MAX_FRAME_SHARE)
