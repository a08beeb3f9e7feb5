"""The context of one conversation, in which llama.cpp generates answers in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .evaluating_context import EvaluatingContext
from .generate import Generation
from .interface import AnswerGrammar, GenerationRequest, GrammarSource
from .sampling.sampler import make_sampler

if TYPE_CHECKING:
    from .grammar.grammar import Grammar


class LlamaContext(EvaluatingContext):
    """Generates answers in a llama.cpp context: an :class:`.EngineContext`.

    Close it, or use it as a context manager.
    """

    def __enter__(self) -> LlamaContext:
        return self

    @property
    def title(self) -> str:
        """Return what generates, in a few words."""
        return f"KV cache {self.kv_type.lower()}"

    @property
    def destination(self) -> str:
        """Return the workers that hold a part of the model; nothing where text stays here."""
        return ", ".join(
            dict.fromkeys(part.endpoint for part in self.load_config.split if part.endpoint)
        )

    @property
    def overflow_hint(self) -> str:
        """Return what helps where a prompt is too long."""
        longest = self.model.n_ctx_train
        if self.n_ctx >= longest:
            return "use a shorter prompt; the model has no longer context"
        return f"use a larger --ctx, up to {longest:,}, or a shorter prompt"

    def generate(self, request: GenerationRequest) -> Generation:
        """Return an answer, which iteration starts."""
        sampler = make_sampler(request.sampling, request.prompt)
        sampler.replay(request.partial)
        return Generation(
            self,
            [*request.prompt, *request.partial],
            sampler,
            max_tokens=request.max_tokens,
            stop=request.stop,
            on_prefill=request.on_prefill,
        )

    def grammar(
        self, text: str, source: GrammarSource | None, compiled: Grammar | None = None
    ) -> AnswerGrammar:
        """Return the state of one answer in a grammar: see :class:`.EngineContext`."""
        from .grammar.grammar import Grammar

        return compiled.copy() if compiled else Grammar(self.model, text)
