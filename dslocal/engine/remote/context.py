"""The context of one conversation at an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dslocal.engine.interface import AnswerGrammar, GenerationRequest, GrammarSource

from .conversation import RemoteConversation
from .generate import RemoteGeneration
from .grammar import ServerGrammar

if TYPE_CHECKING:
    from dslocal.engine.grammar.grammar import Grammar


class RemoteContext(RemoteConversation):
    """Generates the answers of one conversation at an engine: an :class:`.EngineContext`."""

    @property
    def title(self) -> str:
        """Return what generates, in a few words."""
        return f"{self.protocol.name} at {self.engine.address.url}"

    @property
    def destination(self) -> str:
        """Return where text goes, for people."""
        return self.engine.address.destination

    @property
    def overflow_hint(self) -> str:
        """Return what helps where a prompt is too long."""
        return "use a shorter prompt, or start the engine with a longer context"

    def another(self) -> RemoteContext:
        """Return a context for another conversation at the same engine."""
        other = RemoteContext(self.engine, self.connection, self.model, self.n_ctx, self._on_note)
        other._noted = self._noted
        return other

    def generate(self, request: GenerationRequest) -> RemoteGeneration:
        """Return an answer, which iteration starts."""
        return RemoteGeneration(self, request)

    def grammar(
        self, text: str, source: GrammarSource | None, compiled: Grammar | None = None
    ) -> AnswerGrammar:
        """Return the state of one answer in a grammar: see :class:`.EngineContext`.

        The engine does, if it knows what the grammar was made from. Otherwise it is held here, by
        :class:`.RemoteGeneration`.
        """
        from dslocal.engine.grammar.grammar import Grammar

        name = self.protocol.name
        if source is not None and source.kind == "json_schema":
            return ServerGrammar(source, None, name)
        grammar = compiled.copy() if compiled else Grammar(self.model, text)
        if source is None or source.kind not in self.protocol.grammar_kinds:
            return grammar  # the answer is held to it here
        return ServerGrammar(source, grammar, name)

    def clear(self) -> None:
        """Forget what is evaluated here; an engine's cache is its own affair."""
        self.ids = []
