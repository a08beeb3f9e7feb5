"""What may come next in one answer: the thought free, closed when it is told to or its budget is
spent, then the answer's grammar.

A constraint for the sampler, so that everything happens in one pass over one KV cache. A thought is
closed by leaving the sampler no choice: the family's closing tag with its makers' line breaks
around it, token by token, counted like any other. It follows the drawn tokens itself and needs
nobody to tell it where the answer is, so drafted positions may be drawn ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dslocal.prompts.families import Family
from dslocal.prompts.messages import PlainText, Vocabulary, encode

from .reasoning import ReasoningParser

if TYPE_CHECKING:
    from dslocal.engine.grammar.grammar import Grammar


@dataclass(frozen=True)
class ReasoningTags:
    """Ids of a thought's tags, and of the text that its makers put ``before`` and ``after`` the
    closing one.
    """

    opening: int
    closing: int
    before: tuple[int, ...]
    after: tuple[int, ...]


def reasoning_tags(family: Family, vocabulary: Vocabulary) -> ReasoningTags | None:
    """None for a family that knows no thinking."""
    if family.format.think is None:
        return None
    opening, closing = family.format.think
    ids = [vocabulary.special(tag.token) for tag in (opening, closing)]
    if ids[0] is None or ids[1] is None:
        return None
    segments = list(
        getattr(family.format, "closed", ())
    )  # what stands between a thought and its answer
    at = segments.index(closing) if closing in segments else len(segments)
    before, after = (
        encode([s for s in part if isinstance(s, PlainText)], vocabulary)
        for part in (segments[:at], segments[at + 1 :])
    )
    return ReasoningTags(ids[0], ids[1], tuple(before), tuple(after))


@dataclass
class Steering:
    """``thinking`` says that a thought is open, ``undecided`` that the answer may yet begin with
    one. ``budget`` is tokens of thought at most; ``grammar`` holds the answer. ``ends`` are the
    tokens that end an answer. ``closed`` says whether a thought was closed here.
    """

    tags: ReasoningTags | None
    thinking: bool
    undecided: bool
    budget: int | None = None
    grammar: Grammar | None = None
    ends: Collection[int] = ()
    closed: bool = False
    _thought: int = 0
    _told: bool = False
    _forced: deque[int] = field(default_factory=deque)

    def close(self) -> None:
        """Closes the thought as soon as the next token is drawn, or the one that is yet to come.
        From any thread.
        """
        self._told = True

    @property
    def needed(self) -> bool:
        """Whether there is anything to steer; while there is not, the sampler does without, and
        :meth:`follow` keeps up.
        """
        return self.grammar is not None or (
            self.tags is not None and (self._told or self.budget is not None)
        )

    def follow(self, parser: ReasoningParser) -> None:
        """Takes from ``parser``, which has read all that was drawn, where the answer is."""
        self.thinking, self.undecided = (
            bool(self.tags and parser.thinking),
            bool(self.tags and parser.unsure),
        )

    def mask(self, logits: Any) -> None:
        """Sets what may not come next to -inf, in place: float32 ``[n_vocab]``.

        Where a grammar waits, an end in the midst of the thought is one of the thought: the closing
        tag gets its share.
        """
        import numpy as np

        if self._next() is not None:
            logits[:] = -np.inf
            logits[self._next()] = 0
        elif self.thinking and self.grammar and self.tags:
            ends = list(self.ends)
            logits[self.tags.closing] = np.logaddexp.reduce(
                [logits[self.tags.closing], *logits[ends]]
            )
            logits[ends] = -np.inf
        elif self.grammar and not self.thinking:
            opening = logits[self.tags.opening] if self.tags and self.undecided else None
            self.grammar.mask(logits)
            if self.tags and opening is not None:
                logits[self.tags.opening] = opening

    def allowed(self, ids: Any) -> Any:
        """Which of ``ids`` may come next; none of them where the whole vocabulary has to be
        asked.
        """
        import numpy as np

        if self._next() is not None:
            return ids == self._next()
        if self.thinking and self.grammar:
            return np.full(len(ids), not np.isin(ids, list(self.ends)).any())
        if self.grammar is None or self.thinking:
            return np.ones(len(ids), np.bool_)
        opening = (
            (ids == self.tags.opening)
            if self.tags and self.undecided
            else np.zeros(len(ids), np.bool_)
        )
        return self.grammar.allowed(ids) | opening

    def accept(self, token: int) -> None:
        """Goes on past ``token``, which was drawn."""
        tags = self.tags
        if self._forced:
            self._forced.popleft()
            if tags and token == tags.closing:
                self.thinking = False
        elif tags and self.thinking:
            self._thought += 1
            if token == tags.closing:
                self.thinking = False
                self._forced.extend(tags.after if self.grammar else ())
        elif tags and self.undecided and token == tags.opening:
            self.thinking, self.undecided = True, False
        else:
            self.undecided = False
            if self.grammar:
                self.grammar.accept(token)

    def _next(self) -> int | None:
        """The only token that may come, where there is no choice."""
        spent = self._told or (self.budget is not None and self._thought >= self.budget)
        if not self._forced and self.thinking and spent and self.tags:
            self._forced.extend((*self.tags.before, self.tags.closing, *self.tags.after))
            self.closed = True
        return self._forced[0] if self._forced else None


def make_steering(
    family: Family,
    parser: ReasoningParser,
    vocabulary: Vocabulary,
    budget: int | None,
    grammar: Grammar | None,
    stops: Collection[int],
) -> Steering:
    """The steering of the answer that ``parser`` is about to read. ``stops`` are the family's own
    tokens that end one.
    """
    ends = {*stops, *(grammar.ends if grammar else ())}
    steering = Steering(
        reasoning_tags(family, vocabulary), False, False, budget, grammar, sorted(ends)
    )
    steering.follow(parser)
    return steering
