"""tokenizer.json files to compare with: made up, or taken out of a real GGUF; and the same as a
GGUF of ours.

A real vocabulary was trained by its family's own rules and hardly holds a token that crosses one of
their cuts, so a missing cut would not show. :func:`of_pairs` makes one in which any two bytes may
become a token. The reference is the tokenizers library, without the added tokens that are markup,
which dslocal's ``encode`` never makes.
"""

from __future__ import annotations

import io
import itertools
import json
import random
import re
from pathlib import Path
from typing import Any

from support.checkpoints.damage import convert_to
from support.checkpoints.tiny_checkpoints import TOKENIZERS, write_checkpoint
from tokenizers import Tokenizer

from dslocal.engine import LlamaModel
from dslocal.gguf.header import parse_header

Json = dict[str, Any]
FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
MARKUP = re.compile(r"<\S+>")
SHOWN = (
    *range(33, 127),
    *range(161, 173),
    *range(174, 256),
)  # GPT-2's: printable bytes as they are, the rest from U+0100 on
BYTES = {b: chr(b) for b in SHOWN} | {
    b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in SHOWN)
}
NOWHERE = "\U000ffffe"  # in no text
NORMAL, CONTROL = 1, 3  # token types
DIGITS_ALONE = (
    "deepseek-llm",
)  # llama.cpp has \p{N}+ for the Digits step, which is the same where no token has two digits


def of_pairs(family: str) -> Json:
    """Return a tokenizer.json of ``family`` that merges any two bytes that meet in UTF-8, in random
    order, so that every cut shows in the ids.
    """
    digits = set(range(48, 58)) if family in DIGITS_ALONE else set()
    met = [
        (a, b)
        for a, b in itertools.product(BYTES, repeat=2)
        if not digits & {a, b} and (a < 192 or 128 <= b < 192)
    ]
    random.Random(family).shuffle(met)
    pairs = [(BYTES[a], BYTES[b]) for a, b in met]
    vocab = {text: i for i, text in enumerate([*BYTES.values(), *map("".join, pairs)])}
    merges = [
        list(pair) if TOKENIZERS[family]["merges_as_pairs"] else " ".join(pair) for pair in pairs
    ]
    specials = [*TOKENIZERS[family]["first_tokens"], *TOKENIZERS[family]["last_tokens"]]
    added = {len(vocab) + i: (text, text.startswith("<｜")) for i, text in enumerate(specials)}
    return _content(family, vocab, merges, added)


def of_gguf(path: Path, family: str) -> Json:
    """Return the tokenizer.json that a GGUF's vocabulary came from, with the pre-tokenizer and
    normalizer of ``family``.
    """
    data = path.read_bytes()
    keys = parse_header(io.BytesIO(data), len(data), name=path.name).metadata
    tokens, kinds, merges = (
        keys[f"tokenizer.ggml.{key}"] for key in ("tokens", "token_type", "merges")
    )
    assert isinstance(tokens, list)
    assert isinstance(kinds, list)
    assert isinstance(merges, list)
    numbered = [
        (i, str(text), kind == NORMAL, kind == CONTROL)
        for i, (text, kind) in enumerate(zip(tokens, kinds, strict=True))
    ]
    vocab = {text: i for i, text, normal, _ in numbered if normal}
    added = {i: (text, special) for i, text, normal, special in numbered if not normal}
    return _content(family, vocab, [str(merge) for merge in merges], added)


def _content(
    family: str, vocab: dict[str, int], merges: list[Any], added: dict[int, tuple[str, bool]]
) -> Json:
    known = TOKENIZERS[family]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "normalizer": known["normalizer"],
        "added_tokens": [
            {"id": i, "content": text, **FLAGS, "special": special}
            for i, (text, special) in added.items()
        ],
        "pre_tokenizer": known["pre_tokenizer"],
        "post_processor": None,
        "decoder": None,
        "model": {**known["model"], "vocab": vocab, "merges": merges},
    }


def reference(content: Json) -> Tokenizer:
    """Load ``content`` with the tokenizers library. Markup keeps its ids, which the library counts,
    under names that are in no text.
    """
    added = [
        {**token, "content": NOWHERE + str(token["id"])}
        if MARKUP.fullmatch(token["content"])
        else token
        for token in content["added_tokens"]
    ]
    return Tokenizer.from_str(json.dumps({**content, "added_tokens": added}))


def ours(content: Json, folder: Path) -> LlamaModel:
    """Convert and open the smallest checkpoint that has ``content`` as its tokenizer."""
    size = 1 + max(
        *content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"])
    )
    small: Json = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
    }
    checkpoint = write_checkpoint(
        folder / "checkpoint", "llama", **small, vocab_size=size, bos_token_id=0, eos_token_id=1
    )
    (checkpoint / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    convert_to(checkpoint, folder / "x.gguf")
    return LlamaModel(folder / "x.gguf", vocab_only=True)
