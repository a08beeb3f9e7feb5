"""Answers that a grammar allows, drawn at random."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from support.engine.byte_vocabulary import NORMAL, ByteVocabulary

from dslocal.engine.grammar.grammar import Grammar

CLOSING = b'<"}]'  # what brings a value to its end
END_TAG = "</｜DSML｜".encode()
PATIENCE = 300  # tokens, after which an answer is brought to its end
MAX_TOKENS = 20_000


def random_answer(vocabulary: ByteVocabulary, grammar: str, dice: random.Random) -> list[int]:
    """Return the ids of an answer that ``grammar`` allows, without the token that ends it.

    Raises:
        AssertionError: If the grammar allows nothing at some place, or does not come to an end.
    """
    model: Any = vocabulary
    state = Grammar(model, grammar)
    everything = np.arange(vocabulary.n_vocab)
    ids: list[int] = []
    written = b""
    while len(ids) < MAX_TOKENS:
        allowed = set(everything[state.allowed(everything)].tolist())
        assert allowed, written[-200:]
        ends = {token for token in allowed if vocabulary.is_end_token(token)}
        is_late = len(ids) > PATIENCE
        if ends and (ends == allowed or is_late or dice.random() < 0.5):
            return ids
        hurry = 0.8 if is_late else 0.4
        token = _choose(vocabulary, sorted(allowed - ends), written, hurry, dice)
        state.accept(token)
        ids.append(token)
        written += vocabulary.piece(token)
    raise AssertionError(f"no end: {written[-200:]!r}")


def _choose(
    vocabulary: ByteVocabulary,
    allowed: list[int],
    written: bytes,
    hurry: float,
    dice: random.Random,
) -> int:
    """Return a token that continues an end tag, is special, closes a value, or any one."""
    if dice.random() < hurry:
        for length in range(len(END_TAG) - 1, 0, -1):
            if written.endswith(END_TAG[:length]):
                rest = END_TAG[length:]
                mark = vocabulary.special_id("｜DSML｜")
                following = rest[0] if mark is None or rest[0] < 128 else mark
                if following in allowed:
                    return following
        specials = [token for token in allowed if vocabulary.token_types[token] != NORMAL]
        if specials:
            return dice.choice(specials)
        closing = [byte for byte in CLOSING if byte in allowed]
        if closing:
            return dice.choice(closing)
    return dice.choice(allowed)
