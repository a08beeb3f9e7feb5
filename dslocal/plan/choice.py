"""Choose the quantization of a model for a machine, by one rule for all commands.

The rule takes the best quantization that answers fast enough. If none does, it takes the fastest
one that runs from memory and keeps at least the quality of Q4_K_M. Below Q4_K_M, small models lose
more quality than the speed is worth. So a lower one is taken for its speed only if the model is
very large, and otherwise only if the memory holds no better one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .assessment import Assessment

# Tokens a second that are fast enough: a little faster than most people read. A model that reasons
# before it answers should not be much slower.
MIN_TOKENS_PER_S = 8.0
FROM_MEMORY = (
    "gpu",
    "offload",
    "cpu",
    "workers",
)  # verdicts of a plan that reads nothing from the SSD
# Weights from which on two and three bits are worth their speed: the more weights a model has, the
# less it loses with each bit.
MANY_WEIGHTS = 60 * 10**9
_AT_LEAST_Q4_K = re.compile(r"Q4_K|[^0-9](5|6|8|16|32)(_|$)")


def choose_quant(found: Iterable[Assessment], fast_enough: float = MIN_TOKENS_PER_S) -> Assessment:
    """Return the quantization of one model to take.

    Args:
        found: its quantizations on one machine, best first, one or more. What comes after the
            first that is fast enough is not looked at.
        fast_enough: tokens a second that are.
    """
    seen: list[Assessment] = []
    for one in found:
        if is_fast_enough(one, fast_enough) and _keeps_enough(one):
            return one
        seen.append(one)
    from_memory = [one for one in seen if one.plan.verdict in FROM_MEMORY]
    good = [one for one in from_memory if is_q4_k_m_or_better(one.model.quant)]
    if good:
        return max(good, key=lambda one: one.speed.middle)
    if from_memory:
        return from_memory[0]
    from_ssd = [one for one in seen if one.plan.verdict == "ssd"]
    if from_ssd:
        return max(from_ssd, key=lambda one: one.speed.middle)
    return min(seen, key=lambda one: one.plan.lacking)


def is_fast_enough(found: Assessment, fast_enough: float = MIN_TOKENS_PER_S) -> bool:
    """Return whether a model runs from memory and answers fast enough."""
    return found.plan.verdict in FROM_MEMORY and found.speed.middle >= fast_enough


def is_q4_k_m_or_better(quant: str) -> bool:
    """Return whether a quantization keeps as much as Q4_K_M, by its name.

    Such are UD-Q4_K_XL, Q5_0, Q6_K, Q8_0 and BF16; Q4_0, IQ4_XS and MXFP4 have fewer bits.
    """
    return _AT_LEAST_Q4_K.search(quant.upper()) is not None


def _keeps_enough(found: Assessment) -> bool:
    """Return whether a quantization may be taken because it is fast."""
    if is_q4_k_m_or_better(found.model.quant):
        return True
    return sum(tensor.elements for tensor in found.model.header.tensors) >= MANY_WEIGHTS
