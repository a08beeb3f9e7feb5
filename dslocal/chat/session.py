"""A conversation with one model: history without earlier reasoning, prompts that leave room for the answer, events as they come."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING

from .answering import Turn, answer, overflow, reserve
from .families import Family
from .messages import Message, Segment, Thinking, Tool, encode
from .reasoning import Part
from .schema import Form
from .settings import Settings

if TYPE_CHECKING:
    from ..engine import Context


PROBES = ("a", "1")  # two questions that have nothing in common


@dataclass(frozen=True, slots=True)
class Dropped:
    """Whole turns that were left out at the front, because the context is full."""

    turns: int


Event = Part | Dropped


@dataclass
class Session:
    """``history`` holds finished turns; :meth:`stream` adds one. ``turn`` is the current or last. ``thinking`` None: the family's way.

    ``top_logprobs`` asks every turn for its tokens' logprobs. ``form`` is what every answer must look like once the thought is over.
    """

    context: Context
    family: Family
    settings: Settings
    system: str = ""
    thinking: Thinking | None = None
    tools: Sequence[Tool] = ()
    history: list[Message] = field(default_factory=list)
    turn: Turn | None = None
    top_logprobs: int | None = None
    form: Form | None = None

    def segments(self, text: str) -> list[Segment]:
        """The prompt that asks ``text`` next."""
        return self._render([*self.history, Message("user", text)])

    def certain(self) -> list[int]:
        """The ids that the next prompt begins with whatever is asked: all up to the question, reasoning left out."""
        if not self.history:
            return []
        one, other = (encode(self.segments(text), self.context.model) for text in PROBES)
        return [have for have, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))]

    def stream(self, text: str, seed: int, *, on_prefill: Callable[[int, int], None] | None = None) -> Generator[Event]:
        """Asks ``text`` and yields what happens. ``on_prefill`` is told tokens of the prompt evaluated and to evaluate.

        Raises ContextOverflowError before anything is evaluated, and KeyboardInterrupt on Ctrl-C; what came until then is
        in ``turn``, and in the history when an answer had begun.
        """
        history, prompt, ids, dropped = self._fitting(text)
        if dropped:
            self.history = history
            yield Dropped(dropped)
        turn = self.turn = Turn(prompt_tokens=0, seed=seed, top_logprobs=self.top_logprobs, form=self.form)
        try:
            yield from answer(turn, self.context, self.family, self.settings, prompt, ids=ids, on_prefill=on_prefill)
        finally:
            if turn.answer or turn.calls:
                self.history += (Message("user", text), turn.message)

    def answer_now(self) -> None:
        """Closes the thought of the answer that is being streamed, which goes on with the answer. From any thread."""
        if self.turn and self.turn.steering:
            self.turn.steering.close()

    def _render(self, messages: Sequence[Message]) -> list[Segment]:
        system = [Message("system", self.system)] if self.system else []
        return self.family.render([*system, *messages], self.thinking, self.tools)

    def _fitting(self, text: str) -> tuple[list[Message], list[Segment], list[int], int]:
        """The history that fits with ``text`` and an answer, the prompt and its ids, and how many turns had to go."""
        n_ctx, history, dropped = self.context.n_ctx, list(self.history), 0
        while True:
            prompt = self._render([*history, Message("user", text)])
            ids = encode(prompt, self.context.model)
            if len(ids) + reserve(self.settings, n_ctx) <= n_ctx:
                return history, prompt, ids, dropped
            if not history:
                raise overflow(self.context, self.settings, len(ids))
            following = next((i for i, m in enumerate(history) if i and m.role == "user"), len(history))
            history, dropped = history[following:], dropped + 1
