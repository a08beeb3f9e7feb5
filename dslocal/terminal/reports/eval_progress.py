"""Progress of an evaluation: a bar on a terminal's stderr, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dslocal.terminal.sanitise import one_line

Report = Callable[[int, int, int], None]


@contextmanager
def show_eval_progress(name: str, done: int, right: int, total: int) -> Iterator[Report]:
    """Yields the callback that is told of answers done, of those the right ones, and the tokens of
    the last.

    ``done`` and ``right`` are where it begins.
    """
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    name_column, state_column = (
        TextColumn(f"{{task.{field}}}", markup=False) for field in ("description", "fields[state]")
    )
    columns = (
        name_column,
        BarColumn(24),
        state_column,
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(
            one_line(name, 40), total=total, completed=done, state=_state(done, right, total)
        )

        def report(now: int, good: int, tokens: int) -> None:
            bar.update(
                task,
                completed=now,
                state=f"{_state(now, good, total)}, the last of {tokens:,} tokens",
            )

        yield report


def _state(done: int, right: int, total: int) -> str:
    return f"{done:,} of {total:,} answers" + (f", {right / done:.1%} right" if done else "")
