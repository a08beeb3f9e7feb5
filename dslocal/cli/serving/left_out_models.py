"""The models that ``serve --all`` leaves out, because they cannot be served here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from dslocal.errors import DslocalError, UsageError

from .messages import print_left_out

T = TypeVar("T")


class LeftOutModels:
    """The models that ``serve --all`` leaves out, since they cannot be served: each is named once.

    A model that is named must be served.
    """

    def __init__(self, *, is_allowed: bool) -> None:
        """Leave models out only if that ``is_allowed``."""
        self._is_allowed = is_allowed
        self._first: DslocalError | None = None

    def attempt(self, name: str, make: Callable[[], T]) -> T | None:
        """Return what ``make`` makes of the model ``name``; None where the model is left out.

        Raises:
            DslocalError: It cannot be served, and must be; or an option is not one for it.
        """
        try:
            return make()
        except DslocalError as e:
            if not self._is_allowed or isinstance(e, UsageError):
                raise
            self._first = self._first or e
            print_left_out(name, e)
            return None

    def require(self, found: Sequence[object]) -> None:
        """Refuse to serve nothing.

        Raises:
            DslocalError: All models were left out; why the first was.
        """
        if not found and self._first is not None:
            raise self._first
