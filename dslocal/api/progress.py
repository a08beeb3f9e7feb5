"""What long work reports while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dslocal.convert import ConversionProgress
    from dslocal.hub.fetch import DownloadProgress


@dataclass(frozen=True)
class Phase:
    """One of several steps of one piece of work.

    Attributes:
        name: For programs: ``model``, ``imatrix`` or ``quantize``.
        number: Which it is, from 1.
        count: How many there are.
        doing: What it does, for people: "measuring".
        done: What it has done at its end.
    """

    name: str
    number: int
    count: int
    doing: str
    done: str


class WorkProgress(Protocol):
    """Receives how far a download and a conversion are, either or both, from any thread."""

    def on_fetch(self, state: DownloadProgress) -> None:
        """Receive how much of a download is here."""

    def on_conversion(self, state: ConversionProgress) -> None:
        """Receive how much of a conversion is written."""

    def on_evaluation(self, done: int, total: int) -> None:
        """Receive how many chunks of a text are evaluated, and how many there are."""

    def begin_phase(self, phase: Phase) -> None:
        """Receive that a step begins; what follows is of this step."""

    def log(self, line: str) -> None:
        """Receive something that the user should know, as a line of its own."""


class ProgressCallbacks:
    """Passes progress on to functions, each of which may be missing."""

    def __init__(
        self,
        on_fetched: Callable[[DownloadProgress], None] | None,
        on_conversion: Callable[[ConversionProgress], None] | None,
        on_notice: Callable[[str], None],
        on_evaluated: Callable[[int, int], None] | None = None,
    ) -> None:
        """Keep the functions that are called."""
        self._on_evaluated = on_evaluated
        self._on_fetched = on_fetched
        self._on_conversion = on_conversion
        self._on_notice = on_notice

    def on_fetch(self, state: DownloadProgress) -> None:
        """Pass on how much of a download is here."""
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
        """Do nothing: the function that is called says what is going on."""

    def log(self, line: str) -> None:
        """Pass on a line for the user."""
        self._on_notice(line.removeprefix("dslocal: "))
