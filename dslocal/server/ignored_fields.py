"""Report the fields of a request that have no effect, to the client and in the log.

The response names them in a header. The log says each once, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .access import Headers
from .wire.client_fields import IgnoredField

HEADER = b"x-dslocal-ignored"
MAX_LOGGED = 256  # names; clients choose them
MAX_HEADER = 1000  # characters


class IgnoredFieldLog:
    """Logs once for each field that it has no effect."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._logged: set[str] = set()

    def note(self, ignored: Sequence[IgnoredField]) -> None:
        """Log those of ``ignored`` that were not logged yet."""
        for field in ignored:
            if field.name not in self._logged and len(self._logged) < MAX_LOGGED:
                self._logged.add(field.name)
                self._log(f"ignored: {field.name}: {field.reason}")


def ignored_header(ignored: Sequence[IgnoredField]) -> Headers:
    """Return the header that names ``ignored``; none where there is nothing to name."""
    names = dict.fromkeys(field.name.strip() for field in ignored)
    named = [name for name in names if name and name.isascii() and name.isprintable()]
    shown = ", ".join(named)[:MAX_HEADER].strip(" ")  # a header's value has no space at its ends
    return [(HEADER, shown.encode("ascii"))] if shown else []
