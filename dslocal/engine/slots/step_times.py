"""How long evaluation takes, measured as it goes, and how much of a prompt fits beside others."""

from __future__ import annotations

# Seconds that a piece of a prompt may hold up other conversations' tokens, unless evaluating one
# token takes longer.
MAX_STALL_S = 0.25
# Seconds that a piece of a prompt takes, unless the smallest efficient piece takes longer: so long
# does a short prompt wait that comes meanwhile.
MAX_PIECE_S = 0.07
MIN_PROMPT_TOKENS = 16  # of prompts that are evaluated in any case
# Tokens that flash attention on a CPU computes together (GGML_FA_TILE_Q in ggml-cpu/common.h). A
# piece of 96 takes almost as long as one of 128: of nano after 256 tokens 59 ms, where 64 take
# 33 ms and 32 take 17 ms.
PRODUCT_TOKENS = 64
# Share of the difference by which an average moves with each measurement.
DECODE_WEIGHT = 0.1
PROMPT_WEIGHT = 0.3


class StepTimes:
    """Running averages of the seconds that steps take; a step is one call of ``llama_decode``.

    Attributes:
        decode_s: Of a step that evaluates one token for each slot; 0 until one was measured.
        prompt_token_s: Of one token in a step that evaluates prompts; 0 until one was measured.
    """

    def __init__(self) -> None:
        self.decode_s = 0.0
        self.prompt_token_s = 0.0

    def record(self, seconds: float, tokens: int, slots: int) -> None:
        """Take in that a step took ``seconds`` for ``tokens`` of so many slots."""
        if tokens == slots:
            self.decode_s = _moved(self.decode_s, seconds, DECODE_WEIGHT)
        elif tokens >= MIN_PROMPT_TOKENS:
            self.prompt_token_s = _moved(self.prompt_token_s, seconds / tokens, PROMPT_WEIGHT)

    @property
    def piece_s(self) -> float:
        """Return how long a piece of a prompt is likely to take; 0 where that is not known."""
        return max(MAX_PIECE_S, PRODUCT_TOKENS * self.prompt_token_s) if self.prompt_token_s else 0

    def prompt_room(self, room: int) -> int:
        """Return how many tokens of prompts a step may evaluate beside the tokens of answers.

        Args:
            room: How many the batch has room for.
        """
        affordable = PRODUCT_TOKENS
        if self.prompt_token_s:
            affordable = int(max(MAX_STALL_S, self.decode_s) / self.prompt_token_s)
            piece = int(max(MAX_PIECE_S, self.decode_s) / self.prompt_token_s)
            affordable = min(affordable, max(piece, PRODUCT_TOKENS))
        tokens = whole_products(max(MIN_PROMPT_TOKENS, min(room, affordable)))
        return min(room, tokens)


def whole_products(tokens: int) -> int:
    """Return how many of the tokens of a prompt to evaluate, so that no product is partly full.

    A piece that is less than a product is as efficient.
    """
    return tokens // PRODUCT_TOKENS * PRODUCT_TOKENS or tokens


def _moved(average: float, value: float, weight: float) -> float:
    """Return a running average after another value; the first value as it is."""
    return average + (value - average) * weight if average else value
