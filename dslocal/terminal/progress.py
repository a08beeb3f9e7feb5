"""Progress of long work on stderr: bars on a terminal, a line now and then elsewhere, JSON lines
for programs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from dslocal.files import decimal_size

from .sanitise import one_line

if TYPE_CHECKING:
    from dslocal.convert import ConversionProgress
    from dslocal.hub.fetch import Fetched

OFTEN_S, NOW_AND_THEN_S, JSON_S = 0.1, 30.0, 1.0
NAME = 60  # characters


class ProgressDisplay(Protocol):
    """Told how far a download and a conversion are, either or both, from any thread."""

    def on_fetch(self, state: Fetched) -> None: ...

    def on_conversion(self, state: ConversionProgress) -> None: ...

    def log(self, line: str) -> None:
        """Something that the user should know, as a line of its own."""


@contextmanager
def show_progress(
    name: str, *, as_json: bool = False, doing: str = "converting", done: str = "converted"
) -> Iterator[ProgressDisplay]:
    """What is shown of the work on ``name``. Nothing is printed unless it is told of some."""
    words = _Words(one_line(name, NAME), doing, done)
    if as_json:
        yield _JsonLines()
    elif sys.stderr.isatty():
        bars = _Bars(words)
        try:
            yield bars
        finally:
            bars.stop()
        bars.sum_up()
    else:
        lines = _Lines(words)
        yield lines
        lines.sum_up()


@dataclass(frozen=True)
class _Words:
    name: str
    doing: str
    done: str


@dataclass
class _Step:
    """One of the two kinds of work: when it began, and when something was last shown of it."""

    began: float = field(default_factory=time.monotonic)
    shown: float = 0.0
    first: int | None = None  # bytes that were done when it began

    def due(self, every: float, *, at_last: bool) -> bool:
        now = time.monotonic()
        if now - self.shown < every and not at_last:
            return False
        self.shown = now
        return True

    @property
    def elapsed(self) -> float:
        return max(time.monotonic() - self.began, 1e-6)


class _Lines:
    """For logs."""

    def __init__(self, words: _Words) -> None:
        self._words = words
        self._steps: dict[str, _Step] = {}
        self._last: Fetched | None = None

    def on_fetch(self, state: Fetched) -> None:
        self._last = state
        if "fetch" not in self._steps:
            self._steps["fetch"] = _Step(shown=time.monotonic())
            self.log(
                f"fetching {self._words.name}: {decimal_size(state.total - state.done)} of {decimal_size(state.total)} …"
            )
        elif self._steps["fetch"].due(NOW_AND_THEN_S, at_last=False):
            self.log(
                f"fetched {decimal_size(state.done)} of {decimal_size(state.total)}, {one_line(state.file, NAME)} is coming"
            )

    def on_conversion(self, state: ConversionProgress) -> None:
        if "convert" not in self._steps:
            self._steps["convert"] = _Step()
            self.log(f"{self._words.doing} {self._words.name} …")

    def log(self, line: str) -> None:
        print(one_line(line), file=sys.stderr, flush=True)

    def sum_up(self) -> None:
        for line in _sums(self._steps, self._words, self._last):
            self.log(line)


class _Bars:
    """For people."""

    def __init__(self, words: _Words) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        name_column, rate_column = (
            TextColumn(f"{{task.{field}}}", markup=False)
            for field in ("description", "fields[rate]")
        )
        columns = (name_column, BarColumn(24), DownloadColumn(), rate_column, TimeRemainingColumn())
        self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
        self._words = words
        self._steps: dict[str, _Step] = {}
        self._tasks: dict[str, Any] = {}
        self._last: Fetched | None = None

    def on_fetch(self, state: Fetched) -> None:
        self._last = state
        step = self._step("fetch", f"fetching {self._words.name}", state.total)
        if step.due(OFTEN_S, at_last=state.done >= state.total):
            rate = f"{state.new / step.elapsed / 1e6:,.1f} MB/s  {one_line(state.file, 40)}"
            self._bars.update(self._tasks["fetch"], completed=state.done, rate=rate)

    def on_conversion(self, state: ConversionProgress) -> None:
        step = self._step("convert", f"{self._words.doing} {self._words.name}", state.total)
        if step.due(OFTEN_S, at_last=state.done >= state.total):
            rate = f"{state.weights / step.elapsed / 1e6:,.0f} M weights/s  {one_line(state.tensor, 40)}"
            self._bars.update(self._tasks["convert"], completed=state.done, rate=rate)

    def log(self, line: str) -> None:
        from rich.text import Text

        self._bars.console.print(Text(one_line(line)), highlight=False)

    def stop(self) -> None:
        self._bars.stop()

    def sum_up(self) -> None:
        from rich.text import Text

        for line in _sums(self._steps, self._words, self._last):
            self._bars.console.print(Text(line), style="dim", highlight=False)

    def _step(self, key: str, title: str, total: int) -> _Step:
        if key not in self._steps:
            self._steps[key] = _Step()
            self._tasks[key] = self._bars.add_task(title, total=total, rate="")
            self._bars.start()
        return self._steps[key]


class _JsonLines:
    """An object a second: ``{done, total, weights_per_s, eta_s, tensor}`` of a conversion,
    ``{fetched, of, …, file}`` of a download.
    """

    def __init__(self) -> None:
        self._steps: dict[str, _Step] = {}

    def on_fetch(self, state: Fetched) -> None:
        step = self._steps.setdefault("fetch", _Step())
        if step.due(JSON_S, at_last=state.done >= state.total):
            rate = state.new / step.elapsed
            eta = round((state.total - state.done) / rate, 1) if rate else None
            fields = {
                "fetched": state.done,
                "of": state.total,
                "bytes_per_s": round(rate),
                "eta_s": eta,
                "file": state.file,
            }
            print(json.dumps(fields), file=sys.stderr, flush=True)

    def on_conversion(self, state: ConversionProgress) -> None:
        step = self._steps.setdefault("convert", _Step())
        step.first = state.done if step.first is None else step.first
        if step.due(JSON_S, at_last=state.done >= state.total):
            new = state.done - step.first
            eta = round((state.total - state.done) * step.elapsed / new, 1) if new else None
            fields = {
                "done": state.done,
                "total": state.total,
                "weights_per_s": round(state.weights / step.elapsed),
                "eta_s": eta,
            }
            print(json.dumps({**fields, "tensor": state.tensor}), file=sys.stderr, flush=True)

    def log(self, line: str) -> None:
        print(json.dumps({"note": line}), file=sys.stderr, flush=True)


def _sums(steps: dict[str, _Step], words: _Words, last: Fetched | None) -> Iterator[str]:
    """What was done, once it is."""
    if last is not None:
        yield f"fetched {words.name}: {decimal_size(last.new)} in {steps['fetch'].elapsed:.1f} s"
    if "convert" in steps:
        yield f"{words.done} {words.name} in {steps['convert'].elapsed:.1f} s"
