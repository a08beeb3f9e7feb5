"""From settings to a sampler: whose biases are for which tokens, and what the sampler is told of
the prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from dslocal.errors import UsageError
from dslocal.prompts.messages import Vocabulary
from dslocal.prompts.settings import BIAS_HINT, Setting, Settings, parse_bias

if TYPE_CHECKING:
    from dslocal.engine import Sampler


class Sized(Vocabulary, Protocol):
    """A vocabulary of known size."""

    @property
    def n_vocab(self) -> int: ...


def make_sampler(
    settings: Settings,
    seed: int,
    vocabulary: Sized,
    prompt: Sequence[int],
    logprobs: int | None = None,
) -> Sampler:
    """A sampler for the answer to ``prompt``, its ids. Raises UsageError for a bias that is for no
    token.
    """
    from dslocal.engine import Sampler

    return Sampler(
        settings.temperature.value,
        settings.top_p.value,
        seed,
        top_k=settings.top_k.value,
        min_p=settings.min_p.value,
        presence_penalty=settings.presence_penalty.value,
        frequency_penalty=settings.frequency_penalty.value,
        repeat_penalty=settings.repeat_penalty.value,
        logit_bias=resolve_logit_bias(settings.logit_bias, vocabulary),
        prompt=prompt,
        logprobs=logprobs,
    )


def resolve_logit_bias(entries: Setting[tuple[str, ...]], vocabulary: Sized) -> dict[int, float]:
    """Biases by token id of ``TOKEN=VALUE`` entries, the last one counting. Raises UsageError for a
    TOKEN that is not one.

    TOKEN is an id when it is all digits, else text: ``"4042"`` in double quotes, as JSON writes it,
    is text as well. Text is a special token's spelling, or must be exactly one token.
    """
    found: dict[int, float] = {}
    for entry in entries.value:
        token, value = parse_bias(entry)
        found[_id(token, vocabulary, entries.source)] = value
    return found


def _id(token: str, vocabulary: Sized, source: str) -> int:
    if re.fullmatch(r"[0-9]+", token):
        if len(token) > 9 or int(token) >= vocabulary.n_vocab:
            raise UsageError(
                f"{source}: there is no token {token:.20}",
                hint=f"ids are 0 to {vocabulary.n_vocab - 1}",
            )
        return int(token)
    text = _unquoted(token)
    special = vocabulary.special(text)
    if special is not None:
        return special
    ids = vocabulary.encode(text)
    if len(ids) != 1:
        ours = (
            f"its ids are {', '.join(map(str, ids[:8]))}{', …' if len(ids) > 8 else ''}"
            if ids
            else BIAS_HINT
        )
        raise UsageError(f"{source}: {text!r:.40} is {len(ids)} tokens, not one", hint=ours)
    return ids[0]


def _unquoted(token: str) -> str:
    if len(token) > 1 and token[0] == token[-1] == '"':
        try:
            text = json.loads(token)
        except ValueError:
            return token
        return text if isinstance(text, str) else token
    return token
