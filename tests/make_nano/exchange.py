"""One question with its answer, and how several of them become an example.

A skill draws an :class:`Exchange`; what it is followed by, in which conversation it stands and
whether the model reasons before it answers is decided here, for all skills alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from make_nano.markup import ASSISTANT, BOS, EOS, RESULTS_END, THINK, THOUGHT, USER


class Part(NamedTuple):
    """A stretch of an example, and whether loss is taken on it."""

    text: str
    counts: bool


class Example(NamedTuple):
    """A whole conversation, or a gap in code, in parts that end where special tokens do."""

    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)


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
            them. Loss is taken on that answer, and ``answer`` is history.
        bypassed: Whether the empty block of reasoning is written by who asks, not by the model, so
            that no loss is taken on it.
    """

    question: str
    thinking: str | None
    answer: str
    bare: str = ""
    system: str = ""
    follow: Callable[[random.Random], Exchange] | None = None
    recall: Callable[[random.Random], Exchange] | None = None
    continued: str = ""
    bypassed: bool = False

    @property
    def asked(self) -> str:
        return self.bare or self.question


def render(exchanges: Sequence[Exchange], system: str = "", *, learned: int = 1) -> Example:
    """Return a whole example, of which the last exchanges are to be learned and those before them
    are history.

    R1's template leaves the reasoning of earlier answers out, and writes a system prompt in front
    of the first question. Where several are ``learned``, they keep their reasoning: a file is read
    once then, and asked about more than once.
    """
    declared = next((each.system for each in exchanges if each.system), "")
    preamble = "\n\n".join(part for part in (system, declared) if part)
    before = f"{BOS}{USER}{preamble}\n\n" if preamble else f"{BOS}{USER}"
    parts: list[Part] = []
    for number, each in enumerate(exchanges):
        before += f"{each.question}{ASSISTANT}"
        if number < len(exchanges) - learned:
            before += f"{each.answer}{EOS}{each.continued}{USER}"
            continue
        given, answer = _answered(each)
        parts += [Part(before + given, counts=False), Part(answer, counts=True)]
        before = USER
    return Example(tuple(parts))


def _answered(exchange: Exchange) -> tuple[str, str]:
    """Return what is given of an answer, and what of it is to be learned."""
    if exchange.continued:
        results, _, answer = exchange.continued.rpartition(RESULTS_END)
        return f"{exchange.answer}{EOS}{results}{RESULTS_END}", answer
    block = f"{THINK}\n{exchange.thinking or ''}\n{THOUGHT}\n\n"
    answer = f"{exchange.answer}{EOS}"
    return (block, answer) if exchange.bypassed else ("", block + answer)


def sometimes_without(r: random.Random, thinking: str, share: float = 0.15) -> str | None:
    """Return ``thinking``, or None in a ``share`` of all cases."""
    return None if r.random() < share else thinking
