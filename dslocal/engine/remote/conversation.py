"""One conversation at an engine: what its answers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dslocal.engine.interface import SamplingParameters
from dslocal.engine.model import LlamaModel
from dslocal.errors import UsageError

from .connection import EngineConnection, RemoteAbort

if TYPE_CHECKING:
    from .protocols.protocol import EngineProtocol
    from .served import ServedEngine

BUFFERED = (
    "the answer came all at once: something between here and the engine, such as a proxy, holds "
    "it back (nginx: proxy_buffering off)"
)


class RemoteConversation:
    """One conversation at an engine, and how the engine is reached.

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

    def note_sampling(self, sampling: SamplingParameters) -> None:
        """Tell the user once how the engine differs from dslocal."""
        for line in self.protocol.notes(sampling):
            self._note(line)

    def note_buffering(self, is_buffered: bool) -> None:
        """Tell the user once that something holds the stream back."""
        if is_buffered:
            self._note(f"{self.engine.address.url}: {BUFFERED}")

    def _note(self, line: str) -> None:
        if line not in self._noted:
            self._noted.add(line)
            self._on_note(line)
