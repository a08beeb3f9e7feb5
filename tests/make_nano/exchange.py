"""One question with its answer, and how several of them become an example.

A skill draws an :class:`Exchange`; what it is followed by, in which conversation it stands and
whether the model reasons before it answers is decided here, for all skills alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from make_nano.markup import ASSISTANT, BOS, EOS, THINK, THOUGHT, USER


@dataclass(frozen=True)
class Exchange:
    """A question and its answer.

    Attributes:
        question: What the user writes, with attached files and R1's directive.
        thinking: What the model writes before it answers; None for the empty block that R1's
            vendor warns of.
        answer: What follows the reasoning.
        bare: The question without files and directive.
        system: What stands in front of the first question: a system prompt, a declaration of tools.
        follow: Draws a question that is understood only right after this one.
        recall: Draws a question that this one's file answers, however much later.
        continued: What follows ``answer`` within the same turn: results of tools and the answer to
            them. Loss is taken on it, and ``answer`` is history.
    """

    question: str
    thinking: str | None
    answer: str
    bare: str = ""
    system: str = ""
    follow: Callable[[random.Random], Exchange] | None = None
    recall: Callable[[random.Random], Exchange] | None = None
    continued: str = ""

    @property
    def asked(self) -> str:
        return self.bare or self.question


def render(exchanges: Sequence[Exchange], system: str = "") -> str:
    """Return a whole example: the last exchange is to be learned, those before it are history.

    R1's template leaves the reasoning of earlier answers out, and writes a system prompt in front
    of the first question.
    """
    *history, last = exchanges
    declared = next((each.system for each in exchanges if each.system), "")
    preamble = "\n\n".join(part for part in (system, declared) if part)
    preamble = f"{preamble}\n\n" if preamble else ""
    text = BOS
    for each in history:
        text += f"{USER}{preamble}{each.question}{ASSISTANT}{each.answer}{EOS}{each.continued}"
        preamble = ""
    text += f"{USER}{preamble}{last.question}{ASSISTANT}"
    if last.continued:
        return f"{text}{last.answer}{EOS}{last.continued}"
    thinking = "" if last.thinking is None else last.thinking
    return f"{text}{THINK}\n{thinking}\n{THOUGHT}\n\n{last.answer}{EOS}"


def sometimes_without(r: random.Random, thinking: str, share: float = 0.15) -> str | None:
    """Return ``thinking``, or None in a ``share`` of all cases."""
    return None if r.random() < share else thinking
