"""The progress of downloads, conversions and evaluations, as callers of the API receive it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dslocal.convert import ConversionProgress
    from dslocal.hub.fetch import DownloadProgress


@dataclass(frozen=True)
class Phase:
    """One of several steps of a conversion.

    Attributes:
        name: Its name in JSON: ``model``, ``imatrix`` or ``quantize``.
        number: Its number, from 1.
        count: How many steps there are.
        doing: What a display says while it runs, such as "measuring".
        done: What a display says at its end, such as "measured".
    """

    name: str
    number: int
    count: int
    doing: str
    done: str


class WorkProgress(Protocol):
    """Receives the progress of a download, a conversion or both, from any thread."""

    def on_fetch(self, state: DownloadProgress) -> None:
        """Receive how much is downloaded."""

    def on_conversion(self, state: ConversionProgress) -> None:
        """Receive how much of a conversion is written."""

    def on_evaluation(self, done: int, total: int) -> None:
        """Receive how many chunks of a text are evaluated, and how many there are."""

    def begin_phase(self, phase: Phase) -> None:
        """Receive that a step begins; later progress belongs to it."""

    def log(self, line: str) -> None:
        """Receive a line that the user should see."""


class ProgressCallbacks:
    """Passes progress on to functions, any of which may be missing."""

    def __init__(
        self,
        on_fetched: Callable[[DownloadProgress], None] | None,
        on_conversion: Callable[[ConversionProgress], None] | None,
        on_notice: Callable[[str], None],
        on_evaluated: Callable[[int, int], None] | None = None,
    ) -> None:
        """Store the functions to call."""
        self._on_evaluated = on_evaluated
        self._on_fetched = on_fetched
        self._on_conversion = on_conversion
        self._on_notice = on_notice

    def on_fetch(self, state: DownloadProgress) -> None:
        """Pass on how much is downloaded."""
        if self._on_fetched:
            self._on_fetched(state)

    def on_conversion(self, state: ConversionProgress) -> None:
        """Pass on how much of a conversion is written."""
        if self._on_conversion:
            self._on_conversion(state)

    def on_evaluation(self, done: int, total: int) -> None:
        """Pass on how much of a text is evaluated."""
        if self._on_evaluated:
            self._on_evaluated(done, total)

    def begin_phase(self, phase: Phase) -> None:
        """Do nothing: each function receives the progress of one kind of step."""

    def log(self, line: str) -> None:
        """Pass on a line for the user."""
        self._on_notice(line.removeprefix("dslocal: "))
