"""An answer as it comes: reasoning dim in a small window that collapses to one line, the answer as
Markdown.

Native scrollback, no full screen. Lines that nothing can change any more are printed once and for
good (``blocks`` says which); only the open end is drawn again, so a frame costs the same however
long the answer, or the block, is. All text passes through ``sanitise``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.text import Text

from dslocal.terminal.markdown.blocks import MarkdownStream
from dslocal.terminal.markdown.inline import style_of
from dslocal.terminal.markdown.layout import MarkdownLayout
from dslocal.terminal.sanitise import encodable, sanitise
from dslocal.terminal.wrapping import Line, wrap

from .live import LiveTail

FRAME_S = 0.05
SHARE = 0.04  # of the time is spent on frames at most
WINDOW = 8  # lines of reasoning in sight
KEPT = 8192  # characters of reasoning that the window may be of


class AnswerView:
    """Shows one answer. Use as a context manager; afterwards the terminal holds the whole of it.
    ``hint`` stands below the reasoning.
    """

    def __init__(self, console: Console, hint: str = "") -> None:
        self._hint = hint
        self._console = console
        encoding = console.encoding
        self._spell: Callable[[str], str] = lambda text: encodable(text, encoding)
        self._tail = LiveTail(console)
        self._blocks = MarkdownStream()
        self._layout = MarkdownLayout(console.width, self._spell)
        self._thought = ""
        self._began = self._next_frame = time.monotonic()
        self._printed = False

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
            self._commit_rest()
        finally:
            self._tail.__exit__()

    def reading(self, done: int, total: int) -> None:
        """The prompt is being evaluated."""
        if time.monotonic() - self._began > 0.5:
            self._draw(lambda: [[(f"reading {done:,} of {total:,} tokens", style_of("dim"))]])

    def reasoning(self, text: str) -> None:
        self._thought = (self._thought + sanitise(text))[-KEPT:]
        self._draw(self._window)

    def thought(self, tokens: int, seconds: float) -> None:
        """The thought is over: one line stays of it."""
        self._console.print(
            Text(f"thought for {seconds:.1f} s, {tokens:,} tokens", style="dim italic")
        )

    def answer(self, text: str) -> None:
        stay = self._lay(text)
        now = time.monotonic()
        if not self._tail.shown:
            self._tail.show(stay, [])
        elif stay or now >= self._next_frame:
            self._frame(stay, self._open_end)

    def reclassified(self) -> None:
        """All that came as an answer was reasoning. What is printed of it stays, and is said to be
        so.
        """
        self._tail.show([], [])
        self._blocks.rest()
        if self._printed:
            self._console.print(
                Text("(all of that was thought: its opening tag was missing)", style="dim italic")
            )
        self._layout, self._printed = MarkdownLayout(self._console.width, self._spell), False

    def _lay(self, text: str) -> list[Line]:
        """The lines that ``text`` made final, for the terminal as wide as it is now."""
        self._layout.width = self._console.width
        stay = self._layout.lay(self._blocks.feed(sanitise(text)))
        self._printed = self._printed or bool(stay)
        return stay

    def _commit_rest(self) -> None:
        self._layout.width = self._console.width
        stay = self._layout.lay(self._blocks.rest())
        self._printed = self._printed or bool(stay)
        self._tail.show(stay, [])

    def _open_end(self) -> list[Line]:
        """What is open, as it would look if nothing more came."""
        return self._layout.twin().lay(self._blocks.preview(), last=self._tail.rows)

    def _window(self) -> list[Line]:
        width = max(self._console.width - 1, 1)
        recent = self._spell(self._thought[-(width * WINDOW) :])
        hint: list[Line] = [[(self._hint[:width], style_of("dim"))]] if self._hint else []
        return [*wrap([(recent, style_of("dim"))], width)[-WINDOW:], *hint]

    def _draw(self, tail: Callable[[], list[Line]]) -> None:
        if self._tail.shown and time.monotonic() >= self._next_frame:
            self._frame([], tail)

    def _frame(self, stay: list[Line], tail: Callable[[], list[Line]]) -> None:
        began = time.monotonic()
        self._tail.show(stay, tail())
        ended = time.monotonic()
        self._next_frame = began + max(FRAME_S, (ended - began) / SHARE)
