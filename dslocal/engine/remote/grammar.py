"""A grammar that the engine enforces, and that is checked here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dslocal.engine.interface import GrammarSource
from dslocal.errors import EngineError, RemoteEngineError

if TYPE_CHECKING:
    from dslocal.engine.grammar.grammar import Grammar


class ServerGrammar:
    """The grammar that an engine gets, and the check of its answers.

    An old engine ignores fields that it does not know. So where the grammar is the same here and
    there, each token is checked. A JSON Schema is not: engines differ in the white space that they
    allow, and the finished answer is validated anyway.

    Attributes:
        source: The grammar that is sent to the engine.
    """

    def __init__(self, source: GrammarSource, checked: Grammar | None, engine: str) -> None:
        """Hold an answer to ``source``, and check it with ``checked``, if that is given."""
        self.source = source
        self._checked = checked
        self._engine = engine

    @property
    def end_tokens(self) -> Sequence[int]:
        """Return nothing: the engine knows which tokens end an answer."""
        return ()

    def mask(self, logits: Any) -> None:
        """Do nothing: there are no logits here."""

    def allowed(self, ids: Any) -> Any:
        """Return that all of ``ids`` may come: the engine decides."""
        import numpy as np

        return np.ones(len(ids), np.bool_)

    def accept(self, token: int) -> None:
        """Continue after ``token``.

        Raises:
            RemoteEngineError: It may not come: the engine does not hold the answer to the grammar.
        """
        if self._checked is None:
            return
        try:
            self._checked.accept(token)
        except EngineError:
            raise RemoteEngineError(
                f"{self._engine}: does not follow the grammar",
                hint="a newer version of the engine may support it",
            ) from None
