"""Progress of downloads and conversions on stderr.

On a terminal it is a bar, elsewhere a line now and then, and JSON lines for programs. Shorter work
has one line on a terminal: :mod:`.progress_line`.
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
    from rich.console import Console

    from dslocal.api.progress import Phase

BAR_INTERVAL_S = 0.1
LOG_INTERVAL_S = 30.0
JSON_INTERVAL_S = 1.0
MAX_NAME = 60  # characters
MAX_BAR_NAME = 40  # characters of a file's or a tensor's name beside a bar
BAR_WIDTH = 24  # cells


class DownloadState(Protocol):
    """How far a download is."""

    @property
    def file(self) -> str:
        """The file that is being fetched."""

    @property
    def done(self) -> int:
        """Bytes that are here."""

    @property
    def total(self) -> int:
        """Bytes of all files."""

    @property
    def new(self) -> int:
        """Bytes that were fetched in this run."""


class ConversionState(Protocol):
    """How far a conversion is."""

    @property
    def done(self) -> int:
        """Bytes that are read."""

    @property
    def total(self) -> int:
        """Bytes to read."""

    @property
    def weights(self) -> int:
        """Weights that were converted in this run."""

    @property
    def tensor(self) -> str:
        """The tensor that was finished last."""


class ProgressDisplay(Protocol):
    """Shows how far a download and a conversion are, either or both, from any thread."""

    def on_fetch(self, state: DownloadState) -> None:
        """Show how far the download is."""

    def on_conversion(self, state: ConversionState) -> None:
        """Show how far the conversion is."""

    def on_evaluation(self, done: int, total: int) -> None:
        """Show how many chunks of a text are evaluated."""

    def begin_phase(self, phase: Phase) -> None:
        """Show that a step begins; what follows belongs to it."""

    def log(self, line: str) -> None:
        """Show a line of its own."""


@contextmanager
def show_progress(
    name: str, *, as_json: bool = False, doing: str = "converting", done: str = "converted"
) -> Iterator[ProgressDisplay]:
    """Show the progress of work, and at its end what was done; nothing without any work.

    Args:
        name: What is worked on.
        as_json: Whether a program reads stderr.
        doing: What a conversion is called while it runs.
        done: What it is called at its end.
    """
    labels = _Labels(one_line(name, MAX_NAME), doing, done)
    if as_json:
        yield _JsonLines()
    elif sys.stderr.isatty():
        bars = _Bars(labels)
        try:
            yield bars
        finally:
            bars.stop()
        bars.summarise()
    else:
        lines = _LogLines(labels)
        yield lines
        lines.summarise()


def bar_console() -> Console:
    """Return a console on stderr for bars.

    It does not hide the cursor, which would stay hidden after Ctrl-Z or a SIGKILL.
    """
    from rich.console import Console

    class BarConsole(Console):
        def show_cursor(self, show: bool = True) -> bool:
            return False

    return BarConsole(stderr=True)


@dataclass(frozen=True)
class _Labels:
    name: str
    doing: str
    done: str

    def of_phase(self, phase: Phase) -> _Labels:
        """Return the labels of a step."""
        return _Labels(self.name, f"{phase.number}/{phase.count} {phase.doing}", phase.done)


@dataclass
class _Task:
    """A download or a conversion: when it started, and when it was last shown."""

    started: float = field(default_factory=time.monotonic)
    shown: float = 0.0
    first_done: int = 0  # bytes that were done when it started
    bar_id: Any = None  # of Rich

    def is_due(self, interval_s: float, *, is_last: bool = False) -> bool:
        """Return whether it is to be shown now, and count on that; the last state always is."""
        now = time.monotonic()
        if now - self.shown < interval_s and not is_last:
            return False
        self.shown = now
        return True

    @property
    def elapsed_s(self) -> float:
        return max(time.monotonic() - self.started, 1e-6)


@dataclass
class _Tasks:
    """What is being done."""

    download: _Task | None = None
    conversion: _Task | None = None
    last_download: DownloadState | None = None

    def summary(self, labels: _Labels) -> Iterator[str]:
        """Yield a line for each task that was done."""
        if self.download and self.last_download:
            size = decimal_size(self.last_download.new)
            yield f"fetched {labels.name}: {size} in {self.download.elapsed_s:.1f} s"
        if self.conversion:
            yield f"{labels.done} {labels.name} in {self.conversion.elapsed_s:.1f} s"


class _LogLines:
    """Shows progress in a log."""

    def __init__(self, labels: _Labels) -> None:
        self._labels = labels
        self._tasks = _Tasks()

    def on_fetch(self, state: DownloadState) -> None:
        self._tasks.last_download = state
        total = decimal_size(state.total)
        if self._tasks.download is None:
            self._tasks.download = _Task(shown=time.monotonic())
            missing = decimal_size(state.total - state.done)
            self.log(f"fetching {self._labels.name}: {missing} of {total} …")
        elif self._tasks.download.is_due(LOG_INTERVAL_S):
            file = one_line(state.file, MAX_NAME)
            self.log(f"fetched {decimal_size(state.done)} of {total}, {file} is coming")

    def on_conversion(self, state: ConversionState) -> None:
        if self._tasks.conversion is None:
            self._tasks.conversion = _Task()
            self.log(f"{self._labels.doing} {self._labels.name} …")

    def on_evaluation(self, done: int, total: int) -> None:
        if self._tasks.conversion is None:
            self._tasks.conversion = _Task(shown=time.monotonic())
            self.log(f"{self._labels.doing} {self._labels.name} …")
        elif self._tasks.conversion.is_due(LOG_INTERVAL_S):
            self.log(f"{self._labels.doing} {self._labels.name}: chunk {done} of {total}")

    def begin_phase(self, phase: Phase) -> None:
        if self._tasks.conversion:
            self.summarise()
        self._tasks, self._labels = _Tasks(), self._labels.of_phase(phase)

    def log(self, line: str) -> None:
        print(one_line(line), file=sys.stderr, flush=True)

    def summarise(self) -> None:
        for line in self._tasks.summary(self._labels):
            self.log(line)


class _Bars:
    """Shows progress to people."""

    def __init__(self, labels: _Labels) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class AmountColumn(DownloadColumn):
            """Shows bytes, or the amount that a task gives in words."""

            def render(self, task: Task) -> Text:
                amount = task.fields.get("amount")
                return Text(amount) if amount else super().render(task)

        self._labels = labels
        self._tasks = _Tasks()
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(BAR_WIDTH),
            AmountColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            console=bar_console(),
            transient=True,
        )

    def on_fetch(self, state: DownloadState) -> None:
        self._tasks.last_download = state
        if self._tasks.download is None:
            self._tasks.download = self._add_bar(f"fetching {self._labels.name}", state.total)
        task = self._tasks.download
        if task.is_due(BAR_INTERVAL_S, is_last=state.done >= state.total):
            megabytes_per_s = state.new / task.elapsed_s / 1e6
            file = one_line(state.file, MAX_BAR_NAME)
            self._update(task, state.done, f"{megabytes_per_s:,.1f} MB/s  {file}")

    def on_conversion(self, state: ConversionState) -> None:
        if self._tasks.conversion is None:
            title = f"{self._labels.doing} {self._labels.name}"
            self._tasks.conversion = self._add_bar(title, state.total)
        task = self._tasks.conversion
        if task.is_due(BAR_INTERVAL_S, is_last=state.done >= state.total):
            millions_per_s = state.weights / task.elapsed_s / 1e6
            tensor = one_line(state.tensor, MAX_BAR_NAME)
            self._update(task, state.done, f"{millions_per_s:,.0f} M weights/s  {tensor}")

    def on_evaluation(self, done: int, total: int) -> None:
        if self._tasks.conversion is None:
            title = f"{self._labels.doing} {self._labels.name}"
            self._tasks.conversion = self._add_bar(title, total)
        amount = f"chunk {done} of {total}"
        self._bars.update(self._tasks.conversion.bar_id, completed=done, amount=amount)

    def begin_phase(self, phase: Phase) -> None:
        tasks = (self._tasks.download, self._tasks.conversion)
        if any(tasks):
            self.summarise()
        for task in tasks:
            if task is not None:
                self._bars.remove_task(task.bar_id)
        self._tasks, self._labels = _Tasks(), self._labels.of_phase(phase)

    def log(self, line: str) -> None:
        from rich.text import Text

        self._bars.console.print(Text(one_line(line)), highlight=False)

    def stop(self) -> None:
        self._bars.stop()

    def summarise(self) -> None:
        from rich.text import Text

        for line in self._tasks.summary(self._labels):
            self._bars.console.print(Text(line), style="dim", highlight=False)

    def _add_bar(self, title: str, total: int) -> _Task:
        bar_id = self._bars.add_task(title, total=total, rate="")
        self._bars.start()
        return _Task(bar_id=bar_id)

    def _update(self, task: _Task, done: int, rate: str) -> None:
        self._bars.update(task.bar_id, completed=done, rate=rate)


class _JsonLines:
    """Shows progress to programs: an object a second.

    ``{done, total, weights_per_s, eta_s, tensor}`` for a conversion, ``{fetched, of, bytes_per_s,
    eta_s, file}`` for a download, ``{chunks_done, chunks, eta_s}`` for the evaluation of a text,
    ``{phase, number, count}`` where a step begins, ``{note}`` for a line.
    """

    def __init__(self) -> None:
        self._tasks = _Tasks()

    def on_fetch(self, state: DownloadState) -> None:
        if self._tasks.download is None:
            self._tasks.download = _Task()
        task = self._tasks.download
        if not task.is_due(JSON_INTERVAL_S, is_last=state.done >= state.total):
            return
        bytes_per_s = state.new / task.elapsed_s
        eta_s = round((state.total - state.done) / bytes_per_s, 1) if bytes_per_s else None
        self._print(
            {
                "fetched": state.done,
                "of": state.total,
                "bytes_per_s": round(bytes_per_s),
                "eta_s": eta_s,
                "file": state.file,
            }
        )

    def on_conversion(self, state: ConversionState) -> None:
        if self._tasks.conversion is None:
            self._tasks.conversion = _Task(first_done=state.done)
        task = self._tasks.conversion
        if not task.is_due(JSON_INTERVAL_S, is_last=state.done >= state.total):
            return
        new = state.done - task.first_done
        eta_s = round((state.total - state.done) * task.elapsed_s / new, 1) if new else None
        self._print(
            {
                "done": state.done,
                "total": state.total,
                "weights_per_s": round(state.weights / task.elapsed_s),
                "eta_s": eta_s,
                "tensor": state.tensor,
            }
        )

    def on_evaluation(self, done: int, total: int) -> None:
        if self._tasks.conversion is None:
            self._tasks.conversion = _Task(first_done=done)
        task = self._tasks.conversion
        if not task.is_due(JSON_INTERVAL_S, is_last=done >= total):
            return
        new = done - task.first_done
        eta_s = round((total - done) * task.elapsed_s / new, 1) if new else None
        self._print({"chunks_done": done, "chunks": total, "eta_s": eta_s})

    def begin_phase(self, phase: Phase) -> None:
        self._tasks = _Tasks()
        self._print({"phase": phase.name, "number": phase.number, "count": phase.count})

    def log(self, line: str) -> None:
        self._print({"note": line})

    def _print(self, fields: dict[str, Any]) -> None:
        print(json.dumps(fields), file=sys.stderr, flush=True)
