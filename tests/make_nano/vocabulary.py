"""nano's tokenizer: byte-level BPE with DeepSeek-V3's pre-tokenizer and special tokens, learned
from the examples themselves.

Digits are cut out of what it learns from, so each stays a token of its own: columns can only be
added where there are columns. Standard library sources are learned from too, for the code. They
differ between Python versions, and with them the vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from make_nano.english import LIBRARY
from make_nano.generate import examples
from make_nano.markup import SPECIAL
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SEED = 1
SOURCES = 150  # modules of the standard library, from the first in the alphabet on
FIRST = 3  # ids 0 to 2 are BOS, EOS and PAD, as in DeepSeek-V3; the other special tokens come last
WORDS = (
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
    "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)
_SPECIAL = re.compile("|".join(map(re.escape, SPECIAL)))
_NO_DIGITS = str.maketrans("", "", "0123456789")


def train_tokenizer(size: int, count: int = 60_000) -> Tokenizer:
    """A vocabulary of at most ``size`` tokens, learned from ``count`` examples."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"),
            pre_tokenizers.Split(Regex("[一-龥\u3040-ゟ゠-ヿ]+"), "isolated"),
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        special_tokens=[],
    )
    tokenizer.train_from_iterator(_corpus(count), trainer)
    return _with_special_tokens(tokenizer)


def _corpus(count: int) -> Iterator[str]:
    for example in examples(SEED, count):
        yield _SPECIAL.sub("\n", example).translate(_NO_DIGITS)
    for path in sorted(LIBRARY.glob("*.py"))[:SOURCES]:
        yield path.read_text(encoding="utf-8", errors="ignore").translate(_NO_DIGITS)


def _with_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    tree = json.loads(tokenizer.to_str())
    learned: dict[str, int] = tree["model"]["vocab"]
    vocabulary = {token: i for i, token in enumerate(SPECIAL[:FIRST])} | {
        token: i + FIRST for token, i in learned.items()
    }
    tree["model"]["vocab"] = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tree["added_tokens"] = [
        {
            "id": i if i < FIRST else len(vocabulary) + i - FIRST,
            "content": token,
            **flags,
            "special": i < FIRST,
        }
        for i, token in enumerate(SPECIAL)
    ]
    return Tokenizer.from_str(json.dumps(tree, ensure_ascii=False))
