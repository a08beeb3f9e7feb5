"""An answer while it is generated, and the conversation that it leaves, whenever and however it
ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dslocal.output.turn import Turn
from dslocal.prompts.messages import Message, Thinking


@dataclass(frozen=True, slots=True)
class PartialAnswer:
    """An answer that was cut: its tokens, the seed that sampled them, and how the answer began."""

    ids: tuple[int, ...]
    seed: int
    thinking: Thinking | None = None


class Outcome(NamedTuple):
    """A conversation with its last answer, and the tokens of that answer if it was cut."""

    history: list[Message]
    partial: PartialAnswer | None


@dataclass(frozen=True)
class RunningAnswer:
    """An answer that is being streamed.

    Attributes:
        turn: Where it is collected.
        history: The messages that stand before it.
        thinking: How it began.
        read: Returns the answer that token ids spell; None where no tokens are known.
        continued: The answer whose text it continues; None where it begins by itself, or with the
            tokens of a partial answer.
    """

    turn: Turn
    history: list[Message]
    thinking: Thinking | None
    read: Callable[[Sequence[int]], Turn] | None = None
    continued: Message | None = None

    def end(self) -> Outcome | None:
        """Complete the turn, whose stream has ended, and return what it leaves.

        Returns:
            None where nothing came.
        """
        if self.continued:
            self.turn.reasoning = self.continued.reasoning + self.turn.reasoning
            self.turn.text = self.continued.content + self.turn.text
        return self._outcome(self.turn)

    def interrupted(self) -> Outcome | None:
        """Return what the answer would leave if it ended now; None where nothing came.

        The tokens are read once more, as if none followed: a part of the text may be held back,
        because the next token decides what it is.
        """
        turn = self.turn
        if self.read is not None:
            now = self.read(turn.ids)
        else:
            now = Turn(prompt_tokens=0)
            now.reasoning = turn.reasoning
            now.text = turn.text
            now.calls = turn.calls
        now.seed = turn.seed
        now.reasoning_s = turn.reasoning_s
        if self.continued:
            now.reasoning = self.continued.reasoning + now.reasoning
            now.text = self.continued.content + now.text
        return self._outcome(now)

    def _outcome(self, turn: Turn) -> Outcome | None:
        if not (turn.text or turn.calls or turn.ids or turn.reasoning):
            return None
        message = turn.message
        partial = None
        if message.cut and self.continued is None:
            partial = PartialAnswer(tuple(turn.ids), turn.seed, self.thinking)
        return Outcome([*self.history, message], partial)
