"""Drawing the next token from logits: exact, over the whole vocabulary, replayable from a seed.

What happens to float32 logits, in this order, each step only when asked for:

1. biases, then penalties (:mod:`.penalties`), on the raw logits, as OpenAI and DeepSeek define
them;
2. a constraint makes tokens impossible;
3. temperature, then top-k, top-p, min-p (:mod:`.nucleus`), each on what the one before left, so
that top-p's share is one of
   what the constraint allows;
4. one draw in proportion, by one number of the random stream; temperature 0 takes the likeliest and
draws none.

llama.cpp draws first and asks the grammar only when it refuses the token: there, a refused token's
mass still counts in top-p.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dslocal.errors import EngineError
from dslocal.types import TokenLogprobs

from .logprobs import logprobs
from .nucleus import Few, Floats, Ids, Nucleus
from .penalties import Penalties


class Constraint(Protocol):
    """Says which tokens may come next. It may be attached and detached between any two draws."""

    def mask(self, logits: Floats) -> None:
        """Sets the logits of tokens that may not come next to -inf, in place: float32
        ``[n_vocab]``, the sampler's own copy.
        """

    def accept(self, token: int) -> None:
        """Goes on past ``token``, which was drawn."""


@runtime_checkable
class Selective(Protocol):
    """A constraint that can also answer for a few tokens at a time.

    Then most positions need no mask over the vocabulary: the few likely tokens are asked for, and
    the mask comes only where they do not decide. What is drawn from is the same set in the same
    proportions, since what the others can weigh is bounded.
    """

    def allowed(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of ``ids`` may come next."""


class Sampler:
    """Draws token ids. The same seed and the same logits give the same ids.

    ``temperature`` 0 takes the likeliest token, the lowest id among equals. ``top_p`` keeps the
    smallest set of likeliest tokens that reaches that probability. The others are off as they are
    by default: see :class:`.Nucleus` and :class:`.Penalties`. ``prompt`` is what the repeat penalty
    counts besides the answer. With ``logprobs``, a number of alternatives, every draw appends to
    :attr:`logprobs`. ``constraint`` may be set at any time.
    """

    def __init__(
        self,
        temperature: float,
        top_p: float,
        seed: int,
        *,
        top_k: int = 0,
        min_p: float = 0.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        logit_bias: Mapping[int, float] | None = None,
        prompt: Iterable[int] = (),
        logprobs: int | None = None,
    ) -> None:
        self.temperature, self.top_p, self.seed = temperature, top_p, seed
        self.constraint: Constraint | None = None
        self.logprobs: list[TokenLogprobs] = []
        self._n_logprobs = logprobs
        self._penalties = Penalties(
            presence_penalty, frequency_penalty, repeat_penalty, logit_bias or {}, prompt
        )
        self._nucleus = Nucleus(temperature, top_k, top_p, min_p)
        self._copy = np.zeros(0, np.float32)
        self._random = random.Random(seed)  # noqa: S311 - replayable on purpose

    def sample(self, logits: Floats) -> int:
        """One id from float32 ``[n_vocab]``, which stays as it is.

        It is final: counts, constraint and random stream go on by this one token, so that drafted
        positions can be sampled one by one. Raises EngineError for logits that are no numbers, and
        when the constraint allows nothing.
        """
        with np.errstate(over="ignore"):  # the exponent of what is far below the likeliest
            token = self._draw(logits)
            if self._n_logprobs is not None:
                self.logprobs.append(logprobs(logits, token, self._n_logprobs))
        self._penalties.accept(token)
        if self.constraint is not None:
            self.constraint.accept(token)
        return token

    def replay(self, ids: Iterable[int]) -> None:
        """Goes on past ``ids``, which a sampler of the same seed drew: counts and random stream are
        as they were after them.
        """
        for token in ids:
            if self.temperature > 0:
                self._random.random()
            self._penalties.accept(token)

    def candidates(self, logits: Floats) -> Ids:
        """The ids that :meth:`sample` would draw from; draws nothing."""
        with np.errstate(over="ignore"):
            logits, best = self._possible(logits)
            return (
                np.array([best])
                if self.temperature <= 0
                else self._nucleus.cut(logits, float(logits[best])).kept()
            )

    def _draw(self, logits: Floats) -> int:
        share = self._random.random() if self.temperature > 0 else 0.0
        if isinstance(self.constraint, Selective):
            few = self._selected(self._adjusted(logits), self.constraint)
            if few is not None:
                return few.pick(share)
        logits, best = self._possible(logits)
        return (
            best
            if self.temperature <= 0
            else self._nucleus.cut(logits, float(logits[best])).pick(share)
        )

    def _adjusted(self, logits: Floats) -> Floats:
        """The logits with biases and penalties: themselves, or the copy."""
        if not self._penalties.active:
            return logits
        copy = self._own(logits)
        self._penalties.apply(copy)
        return copy

    def _possible(self, logits: Floats) -> tuple[Floats, int]:
        """What may be drawn from, and the likeliest of it."""
        logits = self._adjusted(logits)
        if self.constraint is not None:
            logits = logits if self._penalties.active else self._own(logits)
            self.constraint.mask(logits)
        best = int(logits.argmax())
        if not math.isfinite(logits[best]):
            if self.constraint is not None and logits[best] < 0:
                raise EngineError("the constraint allows no token")
            raise EngineError(
                f"the model's logits are no numbers (their maximum is {logits[best]})",
                hint="the file may be damaged",
            )
        return logits, best

    def _selected(self, logits: Floats, constraint: Selective) -> Few | None:
        """What is kept of the likely tokens that ``constraint`` allows; None where others could
        matter.
        """
        best = np.array([logits.argmax()])
        top = float(logits[best[0]])
        if not math.isfinite(top):
            return None
        if self.temperature <= 0:
            alone = Few(best, logits[best], logits[best], np.ones(1))
            return alone if constraint.allowed(best)[0] else None
        ids, each = self._nucleus.window(logits, top)
        if ids is None:
            return None
        theirs, others = logits[ids], len(logits) - len(ids)
        free = self._nucleus.few(ids, theirs, each, others)
        if free and len(free.values) == 1 and constraint.allowed(best)[0]:
            return free  # enough without the constraint, so all the more with it
        allowed = np.flatnonzero(constraint.allowed(ids))
        if not len(allowed):
            return None
        ids, theirs = ids[allowed], theirs[allowed]
        each *= math.exp((top - float(theirs.max())) / self.temperature)
        return self._nucleus.few(ids, theirs, each, others)

    def _own(self, logits: Floats) -> Floats:
        if len(self._copy) != len(logits):
            self._copy = np.empty_like(logits)
        np.copyto(self._copy, logits)
        return self._copy
