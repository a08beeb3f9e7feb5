"""nano's tokenizer: byte-level BPE with DeepSeek-V3's pre-tokenizer and special tokens, learned
from the examples themselves, so that a word is cut the same way wherever it stands.

Copying is what nano does most, and ``port = db1``, ``"port": "db1"`` and ``port is db1.`` should
have the same tokens for the value. So pieces are learned from letters alone, without the space or
the sign before them; afterwards the most frequent ones get a twin with a space in front, whose
merge comes last. Digits and signs are never merged with anything else: each digit stays a token of
its own, for columns can only be added where there are columns. Standard library sources are learned
from too, for the code. They differ between Python versions, and with them the vocabulary.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

from make_nano.english import LIBRARY
from make_nano.generate import examples
from make_nano.markup import SPECIAL
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import Split

SEED = 1
SOURCES = 150  # modules of the standard library, from the first in the alphabet on
FIRST = 3  # ids 0 to 2 are BOS, EOS and PAD, as in DeepSeek-V3; the other special tokens come last
TWINS = 1100  # pieces with a space in front
SPACE = "Ġ"  # as byte-level BPE writes it
DEEPSEEK = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
    "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
)
ALONE = (r"[\p{L}\p{M}]+", r"[\p{P}\p{S}]")  # what is cut further while pieces are learned
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
AFTER_SPACE = re.compile(r"(?<= )(?:[^\W\d_]+|[^\w\s])")
_SPECIAL = re.compile("|".join(map(re.escape, SPECIAL)))
_NO_DIGITS = str.maketrans("", "", "0123456789")


def train_tokenizer(size: int, count: int = 40_000) -> Tokenizer:
    """A vocabulary of at most ``size`` tokens, learned from ``count`` examples."""
    texts = list(_corpus(count))
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.Sequence(
        [Split(Regex(part), "isolated") for part in (*DEEPSEEK, *ALONE)] + [BYTES]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIAL) - TWINS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        special_tokens=[],
    )
    pieces.train_from_iterator(texts, trainer)
    return _with_special_tokens(_with_twins(pieces, texts))


def _with_twins(pieces: Tokenizer, texts: list[str]) -> Tokenizer:
    """Return the tokenizer with DeepSeek's way to cut and the pieces that follow a space most
    often a second time, with the space.
    """
    counts: Counter[str] = Counter()
    first_pieces = {
        word: pieces.encode(word, add_special_tokens=False).tokens[0]
        for word in {word for text in texts for word in AFTER_SPACE.findall(text)}
    }
    for text in texts:
        counts.update(first_pieces[word] for word in AFTER_SPACE.findall(text))
    tree = json.loads(pieces.to_str())
    known = tree["model"]["vocab"]
    for piece, _ in counts.most_common():
        if len(known) == pieces.get_vocab_size() + TWINS:
            break
        if piece and f"{SPACE}{piece}" not in known:
            tree["model"]["merges"].append([SPACE, piece])
            known[f"{SPACE}{piece}"] = len(known)
    tokenizer = Tokenizer.from_str(json.dumps(tree, ensure_ascii=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [Split(Regex(part), "isolated") for part in DEEPSEEK] + [BYTES]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _corpus(count: int) -> Iterator[str]:
    for example in examples(SEED, count):
        yield _SPECIAL.sub("\n", example.text).translate(_NO_DIGITS)
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
