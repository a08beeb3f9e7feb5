"""Ask one question again and again, each time from the same state of the context.

The values that a prompt leaves in the cache depend, in their last bits, on which tokens are
evaluated together. So the prompt is evaluated from its first token on, whatever the context held,
and kept for all answers. Then no answer depends on what came before, and all share one prefill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dslocal.output.turn import Turn
from dslocal.prompts.families import Family
from dslocal.prompts.messages import Thinking, encode
from dslocal.prompts.settings import Settings

from .message_session import open_session
from .session import Session

if TYPE_CHECKING:
    from dslocal.engine import EngineContext


@dataclass(frozen=True)
class RepeatedQuestion:
    """One question, asked in conversations of its own.

    Attributes:
        context: The model's context.
        family: Says how prompts are written and answers are parsed.
        settings: How tokens are sampled.
        thinking: How answers begin.
        text: The question as it is sent.
    """

    context: EngineContext
    family: Family
    settings: Settings
    thinking: Thinking
    text: str

    def prepare(self) -> None:
        """Evaluate the prompt from its first token on. Call it before the first question.

        Another engine does so by itself, in its own time.

        Raises:
            KeyboardInterrupt: On Ctrl-C.
        """
        from dslocal.engine import Generation, LlamaContext, Sampler

        context = self.context
        if not isinstance(context, LlamaContext):
            return
        ids = encode(self._session().prompt(self.text), context.model)
        if len(ids) >= context.n_ctx:
            return
        for prompt in (ids[:1], ids):
            for _ in Generation(context, prompt, Sampler(0, 1, 0), max_tokens=1):
                pass

    def ask(self, seed: int) -> Turn:
        """Return the answer that is sampled with ``seed``.

        Raises:
            ContextOverflowError: If the prompt leaves no room for an answer.
            KeyboardInterrupt: On Ctrl-C.
        """
        session = self._session()
        for _ in session.stream(self.text, seed):
            pass
        if session.turn is None:
            raise RuntimeError("an answer ended without a turn")
        return session.turn

    def _session(self) -> Session:
        return open_session(self.context, self.family, self.settings, thinking=self.thinking)
