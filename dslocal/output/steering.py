"""Steer what may come next in one answer: free reasoning, its forced end, the answer's grammar.

The steering is a constraint of the sampler, so that everything happens in one pass over one KV
cache. It closes the reasoning by leaving the sampler no choice: the family's closing tag, with the
line breaks of the vendor's template around it, comes token by token and counts like any other. It
follows the sampled tokens and finds by itself where the text begins, so drafted positions may be
sampled ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dslocal.prompts.families import Family
from dslocal.prompts.messages import PlainText, Segment, Vocabulary, encode

from .reasoning import ReasoningParser

if TYPE_CHECKING:
    from dslocal.engine.interface import AnswerGrammar


@dataclass(frozen=True)
class ReasoningTags:
    """Token ids of the tags around the reasoning, and of the text around the closing tag."""

    opening: int
    closing: int
    before: tuple[int, ...]
    after: tuple[int, ...]


def reasoning_tags(family: Family, vocabulary: Vocabulary) -> ReasoningTags | None:
    """Return the tags of ``family``; None where it or the vocabulary has none."""
    if family.format.think is None:
        return None
    opening, closing = family.format.think
    opening_id = vocabulary.special_id(opening.token)
    closing_id = vocabulary.special_id(closing.token)
    if opening_id is None or closing_id is None:
        return None
    # what the template puts between the reasoning and the text
    between: list[Segment] = list(getattr(family.format, "closed", ()))
    at = between.index(closing) if closing in between else len(between)
    return ReasoningTags(
        opening_id,
        closing_id,
        before=_text_ids(between[:at], vocabulary),
        after=_text_ids(between[at + 1 :], vocabulary),
    )


def _text_ids(segments: Sequence[Segment], vocabulary: Vocabulary) -> tuple[int, ...]:
    texts = [segment for segment in segments if isinstance(segment, PlainText)]
    return tuple(encode(texts, vocabulary))


@dataclass
class Steering:
    """Hold one answer to its reasoning budget and its grammar.

    Attributes:
        tags: The family's tags; None where it has no reasoning.
        is_reasoning: Whether the reasoning is open.
        is_undecided: Whether the answer may still begin with reasoning.
        budget: Tokens of reasoning at most; None for no limit.
        grammar: What the text must follow.
        ends: Token ids that end an answer.
        was_closed: Whether the reasoning was closed here, and not by the model.
    """

    tags: ReasoningTags | None
    is_reasoning: bool
    is_undecided: bool
    budget: int | None = None
    grammar: AnswerGrammar | None = None
    ends: Collection[int] = ()
    was_closed: bool = False
    _reasoning_tokens: int = 0
    _asked_to_close: bool = False
    _forced: deque[int] = field(default_factory=deque)

    def close_reasoning(self) -> None:
        """Close the reasoning with the next token, or as soon as it opens. From any thread."""
        self._asked_to_close = True

    @property
    def needed(self) -> bool:
        """Return whether there is anything to steer.

        While there is not, the sampler does without, and :meth:`follow` keeps up.
        """
        if self.grammar is not None:
            return True
        return self.tags is not None and (self._asked_to_close or self.budget is not None)

    def follow(self, parser: ReasoningParser) -> None:
        """Take over from ``parser``, which has read every sampled token, where the answer is."""
        self.is_reasoning = self.tags is not None and parser.is_reasoning
        self.is_undecided = self.tags is not None and parser.is_uncertain

    def mask(self, logits: Any) -> None:
        """Set the logits of what may not come next to -inf, in place.

        Where a grammar waits, an end of the answer within the reasoning is only an end of the
        reasoning: the closing tag gets its probability.

        Args:
            logits: float32 ``[n_vocab]``.
        """
        import numpy as np

        forced = self.next_forced()
        if forced is not None:
            logits[:] = -np.inf
            logits[forced] = 0
        elif self.is_reasoning and self.grammar and self.tags:
            ends = list(self.ends)
            closing = [logits[self.tags.closing], *logits[ends]]
            logits[self.tags.closing] = np.logaddexp.reduce(closing)
            logits[ends] = -np.inf
        elif self.grammar and not self.is_reasoning:
            opening = logits[self.tags.opening] if self.tags and self.is_undecided else None
            self.grammar.mask(logits)
            if self.tags and opening is not None:
                logits[self.tags.opening] = opening

    def allowed(self, ids: Any) -> Any:
        """Return which of ``ids`` may come next, bool ``[n]``.

        None of them may where only :meth:`mask`, with the whole vocabulary, can tell.

        Args:
            ids: Token ids, int ``[n]``.
        """
        import numpy as np

        forced = self.next_forced()
        if forced is not None:
            return ids == forced
        if self.is_reasoning and self.grammar:
            has_end = np.isin(ids, list(self.ends)).any()
            return np.full(len(ids), not has_end)
        if self.grammar is None or self.is_reasoning:
            return np.ones(len(ids), np.bool_)
        allowed = self.grammar.allowed(ids)
        if self.tags and self.is_undecided:
            return allowed | (ids == self.tags.opening)
        return allowed

    def accept(self, token: int) -> None:
        """Move past ``token``, which was sampled."""
        tags = self.tags
        if self._forced:
            self._forced.popleft()
            if tags and token == tags.closing:
                self.is_reasoning = False
        elif tags and self.is_reasoning:
            self._reasoning_tokens += 1
            if token == tags.closing:
                self.is_reasoning = False
                self._forced.extend(tags.after if self.grammar else ())
        elif tags and self.is_undecided and token == tags.opening:
            self.is_reasoning = True
            self.is_undecided = False
        else:
            self.is_undecided = False
            if self.grammar:
                self.grammar.accept(token)

    def opens_reasoning(self, token: int) -> bool:
        """Return whether ``token`` opens the reasoning at the start of an answer."""
        return self.is_undecided and self.tags is not None and token == self.tags.opening

    def begin_text(self) -> None:
        """Decide that the answer begins without reasoning."""
        self.is_undecided = False

    def next_forced(self) -> int | None:
        """Return the only token that may come; None where the sampler has a choice."""
        spent = self.budget is not None and self._reasoning_tokens >= self.budget
        must_close = self._asked_to_close or spent
        if self.tags and self.is_reasoning and must_close and not self._forced:
            self._forced.extend((*self.tags.before, self.tags.closing, *self.tags.after))
            self.was_closed = True
        return self._forced[0] if self._forced else None


def make_steering(
    family: Family,
    parser: ReasoningParser,
    vocabulary: Vocabulary,
    budget: int | None,
    grammar: AnswerGrammar | None,
    stops: Collection[int],
) -> Steering:
    """Return the steering of the answer that ``parser`` is about to read.

    Args:
        family: Has the tags and the text around them.
        parser: Knows where the prompt ends.
        vocabulary: Has the ids of the tags.
        budget: Tokens of reasoning at most.
        grammar: What the text must follow.
        stops: The family's own token ids that end an answer.
    """
    ends = {*stops, *(grammar.end_tokens if grammar else ())}
    steering = Steering(
        reasoning_tags(family, vocabulary),
        is_reasoning=False,
        is_undecided=False,
        budget=budget,
        grammar=grammar,
        ends=sorted(ends),
    )
    steering.follow(parser)
    return steering
