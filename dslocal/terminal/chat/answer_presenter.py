"""Show one answer of a chat: its events while it is generated, and how it ended.

Handles Ctrl-C while the answer streams: what came is kept, and can be continued. llama.cpp itself
is stopped by ``dslocal.engine.interrupt``.

Does not know conversations on disk or the input line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field

from rich.console import Console

from dslocal import chat, output
from dslocal.errors import Terminated
from dslocal.terminal.sanitise import sanitise

from .answer_view import AnswerView, reasoning_summary
from .keys import ANSWER_NOW_KEY_NAME, KeyReader

HINT = f"{ANSWER_NOW_KEY_NAME} answers now, Ctrl-C stops"
MAX_REPEATED_LINES, MAX_REPEATED = 16, 1500  # of an earlier answer: lines, characters
Events = Generator[chat.Event]
OnPrefill = Callable[[int, int], None]  # tokens of the prompt that are evaluated, and all of them
Notify = Callable[[str], None]


@dataclass
class _Progress:
    """Whether the model is reasoning now, and since when the answer has been coming."""

    is_reasoning: bool = False
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class AnswerPresenter:
    """Shows answers of a session.

    Args:
        session: Whose answers they are.
        console: Where they are shown.
        notify: Shows a line of the chat's own.
    """

    def __init__(self, session: chat.Session, console: Console, notify: Notify) -> None:
        self._session = session
        self._console = console
        self._notify = notify

    def show(
        self, start: Callable[[OnPrefill], Events], keys: KeyReader, *, repeated: str = ""
    ) -> None:
        """Show one answer while it comes; Ctrl-C ends it.

        Args:
            start: Begins the answer, and returns its events.
            keys: Reads the keys that are pressed meanwhile.
            repeated: Text of the answer that is shown once more before it.
        """
        progress = _Progress()
        try:
            with (
                keys,
                AnswerView(self._console, HINT if keys.is_reading else "") as view,
                closing(start(view.show_prefill)) as events,
            ):
                keys.on_resume = view.redraw_below
                if repeated:
                    view.add_answer(sanitise(repeated))
                for event in events:
                    self._show_event(event, view, progress)
        except Terminated:
            raise
        except KeyboardInterrupt:
            self._report_interrupt(progress)
        else:
            self._report_end(progress)

    def _show_event(self, event: chat.Event, view: AnswerView, progress: _Progress) -> None:
        match event:
            case output.Reasoning(part):
                progress.is_reasoning = True
                view.add_reasoning(part)
            case output.Text(part):
                if progress.is_reasoning:
                    progress.is_reasoning = False
                    view.end_reasoning(self._reasoning_tokens(), progress.seconds)
                view.add_answer(part)
            case output.Reclassified():
                view.reclassify()
                progress.is_reasoning = True
            case chat.HistoryTrimmed(turns):
                plural = "s" if turns > 1 else ""
                self._notify(f"the context is full: the oldest {turns} turn{plural} left out")

    def _report_interrupt(self, progress: _Progress) -> None:
        if progress.is_reasoning:
            summary = reasoning_summary(self._reasoning_tokens(), progress.seconds)
            self._notify(f"{summary}; /think shows it")
        self._notify(
            "interrupted" + ("; /continue resumes it" if self._session.is_unfinished else "")
        )

    def _report_end(self, progress: _Progress) -> None:
        """Say what was unusual about the end."""
        turn = self._session.turn
        if progress.is_reasoning and not self._session.is_unfinished:
            self._notify(
                "the model stopped during its reasoning (/think shows it, /retry asks again)"
            )
        if turn and turn.loop:
            self._notify(f"the model repeats itself: {turn.loop} (a higher temperature helps)")
        if turn and turn.is_cut:
            self._notify(
                f"the answer was cut off after {turn.completion_tokens:,} tokens; "
                "/continue resumes it"
            )

    def _reasoning_tokens(self) -> int:
        return self._session.turn.reasoning_tokens if self._session.turn else 0


def shortened(text: str) -> str:
    """Return the end of ``text`` that fits on a screen, from the beginning of a line on."""
    lines = text.rstrip().split("\n")
    if len(lines) <= MAX_REPEATED_LINES and len(text) <= MAX_REPEATED:
        return text
    kept = "\n".join(lines[-MAX_REPEATED_LINES:])[-MAX_REPEATED:]
    is_in_code = text[: len(text.rstrip()) - len(kept)].count("```") % 2
    return ("```\n" if is_in_code else "…\n\n") + kept


def last_paragraph(text: str) -> str:
    """Return the end of ``text`` that what follows belongs to.

    That is its last paragraph, or the whole block of code that is open.
    """
    if text.count("```") % 2:
        fence = text.rfind("```")
        return text[text.rfind("\n", 0, fence) + 1 :]
    if "\n\n" not in text:
        return text
    return text[text.rfind("\n\n") + 1 :].lstrip("\n")
