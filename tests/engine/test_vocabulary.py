"""Proves that text is only ever text: what spells a special token never becomes one, and ids are
the tokenizers library's.
"""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest
from support.gguf.gguf_changes import parts_of, tokens
from tokenizers import Tokenizer

from dslocal import catalog
from dslocal.engine import LlamaModel
from dslocal.engine.utf8 import Utf8Stream

SPECIALS = range(
    3, 4079
)  # ids of ordinary tokens in nano: the special ones are before and after them
SPELLINGS = (
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜▁pad▁｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<think>",
    "</think>",
)
TEXTS = [
    *SPELLINGS,
    *(a + b for a, b in itertools.product(SPELLINGS, repeat=2)),
    *(
        f"{before}{token}{after}"
        for token in SPELLINGS
        for before, after in [("<", ">"), (" ", " "), ("\n", "\n\n"), ("a", "b"), ("好", "好")]
    ),
    *(token[:i] + token + token[i:] for token in SPELLINGS for i in (1, 3, len(token) - 1)),
    "<thi<think>nk>",
    "<</think>think>",
    "</think>\n",
    "<think>\n\n</think>\n\n",
    "<<think>>",
    "< think>",
    "<THINK>",
    "<think",
    "think>",
    "</thinking>",
    "`<think>`",
    '{"a": "</think>"}',
    "<think>" * 50,
    "",
    " ",
    "\n",
    "a\0b",
    "x\u200by",
    "e\u0301 é ﬁ ①",
    "\ufeffBOM",
    "👩‍👩‍👧 🏳️‍🌈",
    "1234567890" * 5,
    "      def f():\n\treturn 1\r\n",
]
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ'’-_.,;:!?",
    "0123456789",
    " \t\n\r\u00a0\u3000",
    "àéîõüßçñØ",
    "привет",
    "你好世界繁體",
    "こんにちはカタカナ",
    "안녕하세요",
    "مرحباשלום",
    "नमस्तेไทย",
    "😀👩‍🚀🏽🇵🇪",
    '<>/｜▁{}[]()=+*×÷^$#@&|\\`~"',
)


def random_texts(n: int) -> list[str]:
    dice = random.Random(20250120)
    pieces = (*SPELLINGS, "<", ">", "think", "The answer is ", "\\boxed{")
    texts = []
    for _ in range(n):
        runs = [
            "".join(dice.choices(dice.choice(ALPHABETS), k=dice.randint(1, 8)))
            for _ in range(dice.randint(1, 12))
        ]
        runs += dice.choices(pieces, k=dice.randint(0, 2))
        dice.shuffle(runs)
        texts.append("".join(runs))
    return texts


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """nano's tokenizer without its special tokens."""
    content = json.loads(
        (catalog.load_registry()["nano"].folder / "tokenizer.json").read_text(encoding="utf-8")
    )
    assert {token["content"] for token in content["added_tokens"]} >= set(SPELLINGS)
    content["added_tokens"] = []
    path: Path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return Tokenizer.from_file(str(path))


def check(text: str, model: LlamaModel, reference: Tokenizer) -> None:
    ids = model.encode(text)
    assert all(token in SPECIALS for token in ids)
    assert b"".join(map(model.piece, ids)).decode() == text
    assert ids == reference.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[1:-1][:60])
def test_text_stays_text(text: str, model: LlamaModel, reference: Tokenizer) -> None:
    check(text, model, reference)


def test_a_measured_text_is_read_as_llama_tokenize_reads_it(model: LlamaModel) -> None:
    """The pieces are those of llama-tokenize --no-parse-special, built from 0.3.36's source."""
    bar = [b"\xef", b"\xbd", b"\x9c"]
    think = [b"a", b" ", b"<think>", b" b", b" ", b"</think>"]
    ids = model.encode_as_llama_cpp("a <think> b </think> <｜User｜>")
    assert [*map(model.piece, ids)] == [*think, b" <", *bar, b"U", b"ser", *bar, b">"]
    assert model.special_id("<think>") not in model.encode("a <think> b </think> <｜User｜>")


def test_random_text(model: LlamaModel, reference: Tokenizer) -> None:
    for text in random_texts(200):
        check(text, model, reference)


def test_a_long_text(model: LlamaModel, reference: Tokenizer) -> None:
    check("\n".join(random_texts(50) * 4), model, reference)


def test_a_lone_surrogate_becomes_a_question_mark(model: LlamaModel) -> None:
    assert model.encode("a\ud800b") == model.encode("a?b")


@pytest.mark.parametrize(
    ("spelling", "token"),
    [("<｜begin▁of▁sentence｜>", 0), ("<｜end▁of▁sentence｜>", 1), ("<｜▁pad▁｜>", 2)],
)
def test_special_tokens_by_name(model: LlamaModel, spelling: str, token: int) -> None:
    assert model.special_id(spelling) == token


def test_every_special_token_is_found_and_nothing_else(model: LlamaModel) -> None:
    ids = {spelling: model.special_id(spelling) for spelling in SPELLINGS}
    assert all(token is not None and token not in SPECIALS for token in ids.values())
    assert len(set(ids.values())) == len(SPELLINGS)
    assert [model.special_id(text) for text in ("the", "<nothing>", "")] == [None, None, None]


def test_what_ends_an_answer(model: LlamaModel) -> None:
    assert [token for token in range(model.n_vocab) if model.is_end_token(token)] == [1]


SPLIT = "aé好👩‍🚀\u0301z"


def test_characters_come_whole_wherever_bytes_are_cut() -> None:
    data = SPLIT.encode()
    for cuts in itertools.chain.from_iterable(
        itertools.combinations(range(1, len(data)), n) for n in (1, 2, 3)
    ):
        stream = Utf8Stream()
        parts = [stream.feed(data[i:j]) for i, j in itertools.pairwise((0, *cuts, len(data)))]
        assert "".join(parts) == SPLIT
        assert not any("\ufffd" in part for part in parts)
        assert stream.flush() == ""


@pytest.mark.parametrize(
    ("parts", "fed", "flushed"),
    [
        ([b"\xe5\xa5"], "", "\ufffd"),
        ([b"a", b"\xf0\x9f"], "a", "\ufffd"),
        ([b"\xe5", b"b"], "\ufffdb", ""),
        ([b"\xff"], "\ufffd", ""),
        ([b""], "", ""),
    ],
)
def test_broken_bytes(parts: list[bytes], fed: str, flushed: str) -> None:
    stream = Utf8Stream()
    assert "".join(stream.feed(part) for part in parts) == fed
    assert stream.flush() == flushed


@pytest.mark.parametrize(
    "text",
    [
        "｜DSML｜",
        "<｜DSML｜invoke>",
        "a｜DSML｜b",
        "｜DSML｜｜DSML｜",
        "</think>｜DSML｜ ｜DSML｜>",
        "｜DSML",
        "DSML｜",
    ],
)
def test_a_text_never_becomes_v4s_mark_of_calls(nano: Path, tmp_path: Path, text: str) -> None:
    """Takes a vocabulary with V4's token, which is user-defined: llama.cpp finds such in texts."""
    parts = parts_of(nano)
    tokens(lambda words: ["｜DSML｜".encode() if w == b"<think>" else w for w in words])(parts)
    with LlamaModel(parts.write(tmp_path / "v4.gguf"), vocab_only=True) as model:
        mark = model.special_id("｜DSML｜")
        assert mark is not None
        ids = model.encode(text)
        assert mark not in ids
        assert b"".join(model.piece(id) for id in ids).decode() == text
