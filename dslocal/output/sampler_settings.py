"""Turn settings into parameters of a sampler, and find the tokens that logit biases are for."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Protocol

from dslocal.errors import UsageError
from dslocal.prompts.messages import Vocabulary
from dslocal.prompts.settings import BIAS_HINT, Setting, Settings, parse_bias

if TYPE_CHECKING:
    from dslocal.engine.interface import SamplingParameters


SEVERAL_BIASES = '["1=-100", "279=-100"]'


class Sized(Vocabulary, Protocol):
    """A vocabulary of known size."""

    @property
    def n_vocab(self) -> int:
        """Return how many tokens it has."""


def sampling_parameters(
    settings: Settings, seed: int, vocabulary: Sized, logprobs: int | None = None
) -> SamplingParameters:
    """Return how the tokens of one answer are drawn.

    Args:
        settings: How tokens are sampled.
        seed: The seed of the random numbers.
        vocabulary: Finds the tokens of logit biases.
        logprobs: How many likeliest tokens to record with each token; None records nothing.

    Raises:
        UsageError: If a bias is for what is not one token.
    """
    from dslocal.engine.interface import SamplingParameters

    return SamplingParameters(
        settings.temperature.value,
        settings.top_p.value,
        seed,
        top_k=settings.top_k.value,
        min_p=settings.min_p.value,
        presence_penalty=settings.presence_penalty.value,
        frequency_penalty=settings.frequency_penalty.value,
        repeat_penalty=settings.repeat_penalty.value,
        logit_bias=resolve_logit_bias(settings.logit_bias, vocabulary),
        logprobs=logprobs,
    )


def resolve_logit_bias(entries: Setting[tuple[str, ...]], vocabulary: Sized) -> dict[int, float]:
    """Return biases by token id, from entries ``TOKEN=VALUE``; the last one for a token counts.

    TOKEN is an id when it is all digits, otherwise text; ``"4042"`` in double quotes, as JSON
    writes it, is text as well. Text is a special token's spelling, or must be exactly one token.

    Raises:
        UsageError: If TOKEN is not one token.
    """
    found: dict[int, float] = {}
    for entry in entries.value:
        token, value = parse_bias(entry)
        found[_token_id(token, vocabulary, entries.source)] = value
    return found


def _token_id(token: str, vocabulary: Sized, source: str) -> int:
    if re.fullmatch(r"[0-9]+", token):
        if len(token) > 9 or int(token) >= vocabulary.n_vocab:
            raise UsageError(
                f"{source}: token {token:.20} does not exist: the vocabulary has "
                f"{vocabulary.n_vocab:,} tokens",
                hint=f"ids are 0 to {vocabulary.n_vocab - 1}",
            )
        return int(token)
    text = _unquoted(token)
    special = vocabulary.special_id(text)
    if special is not None:
        return special
    ids = vocabulary.encode(text)
    if len(ids) != 1:
        hint = BIAS_HINT
        if ids:
            shown = [str(id) for id in ids[:8]] + (["…"] if len(ids) > 8 else [])
            hint = f"its ids are {', '.join(shown)}"
        if "=" in text:
            hint = f"{hint}; several entries are a JSON list: {SEVERAL_BIASES}"
        raise UsageError(f"{source}: {text!r:.40} is {len(ids)} tokens, not one", hint=hint)
    return ids[0]


def _unquoted(token: str) -> str:
    """Return the text of a JSON string, or ``token`` as it is."""
    if len(token) > 1 and token[0] == token[-1] == '"':
        try:
            text = json.loads(token)
        except ValueError:
            return token
        return text if isinstance(text, str) else token
    return token
