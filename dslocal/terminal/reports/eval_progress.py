"""Progress of an evaluation: a bar on a terminal's stderr, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dslocal.terminal.progress import bar_console
from dslocal.terminal.sanitise import one_line

MAX_NAME = 40  # characters
BAR_WIDTH = 24  # cells
ReportAnswer = Callable[[int, int, int], None]  # answers, right ones, tokens of the last one


@contextmanager
def show_eval_progress(name: str, done: int, right: int, total: int) -> Iterator[ReportAnswer]:
    """Show how far an evaluation is.

    Args:
        name: What is evaluated.
        done: Answers that are there already.
        right: The right ones among them.
        total: All questions.

    Yields:
        What is to be called after each answer, with all answers, the right ones and the tokens of
        the last one.
    """
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(BAR_WIDTH),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=bar_console(),
        transient=True,
    ) as bars:
        title = one_line(name, MAX_NAME)
        state = _state(done, right, total)
        bar = bars.add_task(title, total=total, completed=done, state=state)

        def report(done: int, right: int, tokens: int) -> None:
            state = f"{_state(done, right, total)}, the last one with {tokens:,} tokens"
            bars.update(bar, completed=done, state=state)

        yield report


def _state(done: int, right: int, total: int) -> str:
    share = f", {right / done:.1%} right" if done else ""
    return f"{done:,} of {total:,} answers{share}"
