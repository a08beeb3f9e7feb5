"""What long work reports while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dslocal.convert import ConversionProgress
    from dslocal.hub.fetch import DownloadProgress


class WorkProgress(Protocol):
    """Receives how far a download and a conversion are, either or both, from any thread."""

    def on_fetch(self, state: DownloadProgress) -> None:
        """Receive how much of a download is here."""

    def on_conversion(self, state: ConversionProgress) -> None:
        """Receive how much of a conversion is written."""

    def log(self, line: str) -> None:
        """Receive something that the user should know, as a line of its own."""


class ProgressCallbacks:
    """Passes progress on to functions, each of which may be missing."""

    def __init__(
        self,
        on_fetched: Callable[[DownloadProgress], None] | None,
        on_conversion: Callable[[ConversionProgress], None] | None,
        on_notice: Callable[[str], None],
    ) -> None:
        """Keep the functions that are called."""
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

    def log(self, line: str) -> None:
        """Pass on a line for the user."""
        self._on_notice(line.removeprefix("dslocal: "))
