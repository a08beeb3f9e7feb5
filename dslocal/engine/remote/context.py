"""The context of one conversation at an engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dslocal.engine.interface import (
    AnswerGrammar,
    GenerationRequest,
    GrammarSource,
    SamplingParameters,
)
from dslocal.engine.model import LlamaModel
from dslocal.errors import UsageError

from .connection import EngineConnection, RemoteAbort
from .generate import BUFFERED, RemoteGeneration
from .grammar import ServerGrammar

if TYPE_CHECKING:
    from dslocal.engine.grammar.grammar import Grammar

    from .protocols.protocol import EngineProtocol
    from .served import ServedEngine


class RemoteContext:
    """One conversation's place at an engine: an :class:`.EngineContext`.

    Attributes:
        engine: The engine, and the model that it serves.
        protocol: How it is spoken to.
        connection: Speaks with it.
        model: The model's vocabulary.
        n_ctx: The tokens that prompt and answer may have together.
        ids: The tokens of the last prompt and answer, which the engine may have cached.
        abort: Ends a generation from another thread.
    """

    def __init__(
        self,
        engine: ServedEngine,
        connection: EngineConnection,
        model: LlamaModel,
        n_ctx: int,
        on_note: Callable[[str], None],
    ) -> None:
        """Generate at ``engine``, over ``connection``, with the vocabulary of ``model``.

        Args:
            engine: The engine.
            connection: Speaks with it; it is closed by whoever opened it.
            model: The vocabulary, which must outlive the context.
            n_ctx: The tokens that prompt and answer may have together.
            on_note: Receives what a user should know, each line once.
        """
        if engine.protocol is None:
            raise UsageError(f"{engine.address.url}: does not accept token ids")
        self.engine = engine
        self.protocol: EngineProtocol = engine.protocol
        self.connection = connection
        self.model = model
        self.n_ctx = n_ctx
        self.ids: list[int] = []
        self.abort = RemoteAbort()
        self._on_note = on_note
        self._noted: set[str] = set()

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
        """Return what holds one answer to a grammar: see :class:`.EngineContext`.

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

    def note_sampling(self, sampling: SamplingParameters) -> None:
        """Say what the engine does otherwise than dslocal, once."""
        for line in self.protocol.notes(sampling):
            self._note(line)

    def note_buffering(self, is_buffered: bool) -> None:
        """Say that something holds the stream back, once."""
        if is_buffered:
            self._note(f"{self.engine.address.url}: {BUFFERED}")

    def _note(self, line: str) -> None:
        if line not in self._noted:
            self._noted.add(line)
            self._on_note(line)
