"""Draw the next token from logits: exact, over the whole vocabulary, replayable from a seed.

What happens to float32 logits, in this order, each step only if it is asked for:

1. Biases, then penalties, change the raw logits, as OpenAI and DeepSeek define them
   (:mod:`.penalties`).
2. A constraint makes tokens impossible.
3. Temperature is applied; then top-k, top-p and min-p cut, each what the one before left
   (:mod:`.nucleus`). So top-p keeps a share of what the constraint allows.
4. One token is drawn in proportion, by one number of the random stream. Temperature 0 takes the
   likeliest token and uses no number.

llama.cpp draws first and asks the grammar about that token alone: there, a refused token's mass
still counts in top-p (common/sampling.cpp, ``common_sampler_sample``).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dslocal.engine.interface import SamplingParameters
from dslocal.errors import EngineError
from dslocal.types import TokenLogprobs

from .candidates import Unseen, cut_candidates
from .logprobs import token_logprobs
from .nucleus import Nucleus
from .penalties import Penalties
from .top_n import Floats, Ids


class Constraint(Protocol):
    """Decides which tokens may come next. It may be attached and detached between two draws."""

    def mask(self, logits: Floats) -> None:
        """Set the logits of tokens that may not come next to -inf.

        Args:
            logits: The sampler's own copy: float32 ``[n_vocab]``.
        """

    def accept(self, token: int) -> None:
        """Continue after ``token``, which was drawn."""


@runtime_checkable
class SelectiveConstraint(Protocol):
    """A constraint that can also answer for a few tokens at a time.

    Then most positions need no mask over the vocabulary: only the few likely tokens are asked
    about, and the mask is made where they do not decide. What is drawn from is the same set in the
    same proportions, since what the other tokens can weigh is bounded.
    """

    def allowed(self, ids: Ids) -> NDArray[np.bool_]:
        """Return which of ``ids`` may come next: bool ``[ids]``."""


class Sampler:
    """Draws token ids. The same seed and the same logits give the same ids.

    Attributes:
        temperature: 0 takes the likeliest token, the lowest id among equals.
        top_p: The share of the mass that is kept.
        seed: Of the random stream.
        logprobs: One entry for each draw, if the sampler was asked for them.
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
        """Set up the sampler of one answer.

        Args:
            temperature: See :class:`.Filters`; 0 takes the likeliest token.
            top_p: See :class:`.Filters`; 1 keeps all.
            seed: Of the random stream.
            top_k: See :class:`.Filters`; 0 keeps all.
            min_p: See :class:`.Filters`; 0 keeps all.
            presence_penalty: See :class:`.Penalties`; 0 for none.
            frequency_penalty: See :class:`.Penalties`; 0 for none.
            repeat_penalty: See :class:`.Penalties`; 1 for none.
            logit_bias: Is added to logits, by token id.
            prompt: The tokens that the repeat penalty counts besides the answer's.
            logprobs: How many alternatives an entry of :attr:`logprobs` lists; None makes none.
        """
        self.temperature = temperature
        self.top_p = top_p
        self.seed = seed
        self.logprobs: list[TokenLogprobs] = []
        self._n_logprobs = logprobs
        self._constraint: Constraint | None = None
        self._selective: SelectiveConstraint | None = None
        self._penalties = Penalties(
            presence_penalty, frequency_penalty, repeat_penalty, logit_bias or {}, prompt
        )
        self._nucleus = Nucleus(temperature, top_k, top_p, min_p)
        # whether nothing is computed but the maximum, which needs no care for overflows
        self._is_greedy = temperature <= 0 and logprobs is None and not self._penalties.active
        self._copy = np.zeros(0, np.float32)
        self._random = random.Random(seed)  # noqa: S311 - replayable on purpose

    @property
    def constraint(self) -> Constraint | None:
        """What decides which tokens may come next; may be set at any time."""
        return self._constraint

    @constraint.setter
    def constraint(self, constraint: Constraint | None) -> None:
        if constraint is self._constraint:
            return
        self._constraint = constraint
        # checked here, not for each draw: a protocol's check takes microseconds
        self._selective = constraint if isinstance(constraint, SelectiveConstraint) else None

    def sample(self, logits: Floats) -> int:
        """Draw one id.

        The draw is final: counts, constraint and random stream move on by this one token, so that
        drafted positions can be sampled one by one.

        Args:
            logits: float32 ``[n_vocab]``; they stay as they are.

        Raises:
            EngineError: if logits are not numbers, or the constraint allows nothing.
        """
        if self._is_greedy:
            token = self._draw(logits)
        else:
            with np.errstate(over="ignore"):  # the exponent of what is far below the likeliest
                token = self._draw(logits)
                if self._n_logprobs is not None:
                    self.logprobs.append(token_logprobs(logits, token, self._n_logprobs))
        self._penalties.accept(token)
        if self._constraint is not None:
            self._constraint.accept(token)
        return token

    def replay(self, ids: Iterable[int]) -> None:
        """Continue after ``ids``, which a sampler of the same seed drew.

        Counts and random stream are then as they were after them.
        """
        for token in ids:
            if self.temperature > 0:
                self._random.random()
            self._penalties.accept(token)

    def candidates(self, logits: Floats) -> Ids:
        """Return the ids that :meth:`sample` would draw from; draws nothing."""
        with np.errstate(over="ignore"):
            logits, best = self._possible(logits)
            if self.temperature <= 0:
                return np.array([best])
            return self._nucleus.kept_ids(logits, float(logits[best]))

    def _draw(self, logits: Floats) -> int:
        share = self._random.random() if self.temperature > 0 else 0.0
        if self._selective is not None:
            token = self._draw_selectively(self._adjusted(logits), self._selective, share)
            if token is not None:
                return token
        logits, best = self._possible(logits)
        top = logits.item(best)
        if self.temperature <= 0 or self._nucleus.keeps_one(logits, top):
            return best
        return self._nucleus.draw(logits, top, share)

    def _adjusted(self, logits: Floats) -> Floats:
        """Return the logits with biases and penalties: themselves, or the copy."""
        if not self._penalties.active:
            return logits
        copy = self._copy_of(logits)
        self._penalties.apply(copy)
        return copy

    def _possible(self, logits: Floats) -> tuple[Floats, int]:
        """Return the logits to draw from, and the likeliest id.

        Raises:
            EngineError: if there is nothing to draw from.
        """
        logits = self._adjusted(logits)
        if self._constraint is not None:
            logits = logits if self._penalties.active else self._copy_of(logits)
            self._constraint.mask(logits)
        best = int(logits.argmax())
        top = logits.item(best)
        if not math.isfinite(top):
            if self._constraint is not None and top < 0:
                raise EngineError("the constraint allows no token")
            raise EngineError(
                f"the model's logits are not numbers (their maximum is {top})",
                hint="the file may be damaged",
            )
        return logits, best

    def _draw_selectively(
        self, logits: Floats, constraint: SelectiveConstraint, share: float
    ) -> int | None:
        """Draw among the likely tokens that are allowed; None if unlikely ones could matter."""
        best = np.array([logits.argmax()])
        top = float(logits[best[0]])
        if not math.isfinite(top):
            return None
        if self.temperature <= 0:
            return int(best[0]) if constraint.allowed(best)[0] else None
        if self._nucleus.keeps_one(logits, top) and constraint.allowed(best)[0]:
            return int(best[0])
        window = self._nucleus.window(logits, top)
        if window is None:
            return None
        filters = self._nucleus.filters
        ids, likely = window.ids, logits[window.ids]
        unconstrained = cut_candidates(filters, ids, likely, window.unseen)
        keeps_one = unconstrained is not None and len(unconstrained.kept_logits) == 1
        if keeps_one and constraint.allowed(best)[0]:  # then it keeps it with the constraint too
            return int(best[0])
        allowed = np.flatnonzero(constraint.allowed(ids))
        if not len(allowed):
            return None
        ids, likely = ids[allowed], likely[allowed]
        # weights are in terms of the likeliest token that is allowed
        scale = math.exp((top - float(likely.max())) / filters.temperature)
        unseen = Unseen(window.unseen.tokens, window.unseen.weight * scale)
        cut = cut_candidates(filters, ids, likely, unseen)
        return None if cut is None else cut.draw(share)

    def _copy_of(self, logits: Floats) -> Floats:
        """Return the sampler's own copy of ``logits``, whose memory is reused."""
        if len(self._copy) != len(logits):
            self._copy = np.empty_like(logits)
        np.copyto(self._copy, logits)
        return self._copy


def make_sampler(parameters: SamplingParameters, prompt: Sequence[int]) -> Sampler:
    """Return the sampler of one answer to ``prompt``, whose tokens the repeat penalty counts."""
    return Sampler(
        parameters.temperature,
        parameters.top_p,
        parameters.seed,
        top_k=parameters.top_k,
        min_p=parameters.min_p,
        presence_penalty=parameters.presence_penalty,
        frequency_penalty=parameters.frequency_penalty,
        repeat_penalty=parameters.repeat_penalty,
        logit_bias=parameters.logit_bias,
        prompt=prompt,
        logprobs=parameters.logprobs,
    )
