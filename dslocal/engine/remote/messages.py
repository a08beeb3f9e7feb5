"""DeepSeek's own API, which takes messages instead of token ids.

The API renders the prompt and samples by its own rules, which are the vendor's. This module has the
requests and their events; :mod:`dslocal.chat` decides what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from dslocal.engine.interface import GenerationRequest, GrammarSource
from dslocal.errors import UsageError

from .address import EngineAddress
from .connection import EngineConnection, RemoteAbort
from .failures import cut_error
from .retry import with_retries

if TYPE_CHECKING:
    from dslocal.engine.grammar.grammar import Grammar
    from dslocal.engine.model import LlamaModel

CHAT_PATH = "/chat/completions"
CONTINUE_PATH = "/beta/chat/completions"  # where an answer may begin with a text
N_CTX = 1_000_000  # source: api-docs.deepseek.com, "Models & Pricing"
ENOUGH = "DeepSeek's own API takes messages, not tokens"


class MessageContext:
    """A conversation's place at DeepSeek's own API: an :class:`.EngineContext` without tokens.

    Attributes:
        connection: Speaks with the API.
        model_name: What the API calls the model.
        n_ctx: The tokens that prompt and answer may have together.
        ids: Empty: the API shows no tokens.
        abort: Ends an answer from another thread.
        on_note: Receives what a user should know.
    """

    def __init__(
        self, connection: EngineConnection, model_name: str, on_note: Callable[[str], None]
    ) -> None:
        """Ask ``model_name`` over ``connection``, which is closed by whoever opened it."""
        self.connection = connection
        self.model_name = model_name
        self.n_ctx = N_CTX
        self.ids: list[int] = []
        self.abort = RemoteAbort()
        self.on_note = on_note

    @property
    def address(self) -> EngineAddress:
        """Return where the API is."""
        return self.connection.address

    @property
    def model(self) -> LlamaModel:
        """Raise UsageError: there is no vocabulary here."""
        self._refuse("this takes the model's tokens")

    @property
    def title(self) -> str:
        """Return what generates, in a few words."""
        return f"DeepSeek's API at {self.address.url}"

    @property
    def destination(self) -> str:
        """Return where text goes, for people."""
        return f"{self.address.destination} (DeepSeek's own servers)"

    @property
    def overflow_hint(self) -> str:
        """Return what helps where a prompt is too long."""
        return "a shorter prompt"

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events of one answer; the request is tried again while nothing came.

        Raises:
            KeyboardInterrupt: It was aborted.
            DslocalError: The API refuses, fails, is lost, or sends what makes no sense.
        """
        count = 0

        def send() -> Iterator[dict[str, Any]]:
            nonlocal count
            with self.connection.events(path, body, self.abort) as events:
                for event in events:
                    count += _brings_text(event)
                    yield event
                if not events.is_complete:
                    raise cut_error(self.address, count, "pieces")

        return with_retries(
            send, _brings_text, lambda: cut_error(self.address, count, "pieces"), self.abort
        )

    def generate(self, request: GenerationRequest) -> NoReturn:
        """Raise UsageError: tokens cannot be asked for."""
        self._refuse("this takes the model's tokens")

    def grammar(
        self, text: str, source: GrammarSource | None, compiled: Grammar | None = None
    ) -> NoReturn:
        """Raise UsageError: an answer cannot be held to a grammar."""
        self._refuse("a schema or a grammar cannot be enforced")

    def clear(self) -> None:
        """Do nothing: what the API has cached is its own affair."""

    def _refuse(self, why: str) -> NoReturn:
        raise UsageError(f"{ENOUGH}: {why}", hint="vLLM, SGLang and llama-server can enforce it")


def _brings_text(event: dict[str, Any]) -> bool:
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, dict) else None
    names = ("content", "reasoning_content", "tool_calls")
    return isinstance(delta, dict) and any(delta.get(name) for name in names)
