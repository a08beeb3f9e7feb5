"""The common part of drafters that have a model: a context, which exists while they are in use.

Such a drafter reads the target's hidden states as the target evaluates, which is called listening.
Its context is made when it first listens, since many conversations never draft.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from dslocal.engine.evaluating_context import EvaluatingContext
from dslocal.errors import EngineError

from .draft_context import DraftContext
from .hidden_states import mtp_calls


class ModelDrafter(ABC):
    """Drafts for ``target`` with a context of a model. Its context is made when it is needed."""

    what: ClassVar[str]  # what drafts, in messages

    def __init__(self, target: EvaluatingContext) -> None:
        """Draft for ``target``.

        Raises:
            EngineError: if this build of llama.cpp lacks the calls.
        """
        self._target = target
        self._calls = mtp_calls()
        self._context: DraftContext | None = None
        self._is_listening = False

    @property
    def handle(self) -> Any:
        """llama.cpp's context that drafts; None before it is needed, and when closed."""
        return self._context.handle if self._context else None

    @property
    def is_listening(self) -> bool:
        """Whether the target hands over its hidden states."""
        return self._is_listening

    def set_listening(self, on: bool) -> None:
        """Have the target hand over its hidden states, from its next evaluation on, or stop it.

        Raises:
            EngineError: if the context does not fit in memory, or the model cannot draft.
        """
        if on:
            self._context = self._context or self._open()
            self._restart(len(self._target.ids))  # what was evaluated meanwhile is lost
        self._hand_over(on)
        self._is_listening = on

    def close(self) -> None:
        """Release the context; must come before the target is closed."""
        if self._context:
            if self._is_listening:
                self._hand_over(False)
            self._context.close()
        self._context = None
        self._is_listening = False

    def _opened(self) -> DraftContext:
        """Return the context, which listening made."""
        if self._context is None:
            raise EngineError(f"the {self.what} does not listen")
        return self._context

    @abstractmethod
    def _open(self) -> DraftContext:
        """Return a new context that drafts."""

    @abstractmethod
    def _hand_over(self, on: bool) -> None:
        """Have the target hand over the hidden states that are read, or stop it."""

    @abstractmethod
    def _restart(self, position: int) -> None:
        """Empty the cache; it begins at ``position``."""
