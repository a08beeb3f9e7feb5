"""Proves that a tokenizer which llama.cpp could not run, or would run differently, is refused in
one line that names its file.

Vocabulary, added tokens, merges, pipeline, special tokens. Some of these would abort the process
when llama.cpp loads the GGUF.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.damage import (
    Case,
    Damage,
    Json,
    config,
    content,
    convert_to,
    each,
    in_json,
    put,
    removed,
    several,
)
from support.gguf.reading import contents, metadata_changes

from dslocal.gguf.header import read_header

FILE, SETTINGS = "tokenizer.json", "tokenizer_config.json"
Row = partial(Case, file=FILE)


def rows() -> Iterator[Case]:
    yield from _files()
    yield from _vocabulary()
    yield from _added()
    yield from _merges()
    yield from _pipeline()
    yield from _specials()


def _files() -> Iterator[Case]:
    for name, text in {
        "empty": b"",
        "cut": b'{"model":',
        "not UTF-8": b'"\xff"',
        "deep": b"[" * 100_000,
        "NUL": bytes(10),
    }.items():
        yield Row(name, content(FILE, text), "is not valid JSON")
    yield Row("a list", content(FILE, b"[]"), "is not a JSON object")
    for value in each(
        ...,
        None,
        [],
        "BPE",
        {},
        {"type": "bpe"},
        {"type": "Unigram"},
        {"type": "WordPiece"},
        {"type": ["BPE"]},
        {"vocab": {}},
    ):
        yield Row(f"model {value!r}", at("model", value), "is not a BPE tokenizer")
    for key, value in [
        ("continuing_subword_prefix", "##"),
        ("end_of_word_suffix", "</w>"),
        ("byte_fallback", True),
        ("dropout", 0.1),
    ]:
        yield Row(key, at("model", key, value), f"has a BPE with {key}")


def _vocabulary() -> Iterator[Case]:
    for value in each(
        ..., None, [], "x", {"a": "0"}, {"a": None}, {"a": 0.0}, {"a": True}, {"a": [0]}
    ):
        yield Row(f"vocab {value!r}", at("model", "vocab", value), "has no vocabulary")
    yield Row("an empty vocabulary", at("model", "vocab", {}), "has an invalid merge")
    yield Row(
        "two tokens of one id", at("model", "vocab", "zz", 70), "gives the id 70 to two tokens"
    )
    for i in (320, 1 << 31, 1 << 63, 10**4000):
        yield Row(
            f"id {str(i)[:12]}", at("model", "vocab", "zz", i), "config.json's vocab_size is 320"
        )
    for i in (-1, -(10**4000)):
        yield Row(
            f"id {str(i)[:12]}", at("model", "vocab", "zz", i), "config.json's vocab_size is 320"
        )
    yield Row(
        "what stands for a hole",
        at("model", "vocab", "[PAD300]", 310),
        "gives tokens 300 and 310 the same text: '[PAD300]'",
    )
    yield Row("NUL", several_tokens("A\0x"), "the same text")
    yield Row("half a surrogate pair", at("model", "vocab", "\ud800", 310), "is not valid JSON")


def _added() -> Iterator[Case]:
    for value in each(None, {}, "x", 1, [1], [None], ["<x>"], [[]], [{}]):
        yield Row(
            f"added_tokens {value!r}",
            at("added_tokens", value),
            "has an invalid added token",
        )
    good = {"id": 310, "content": "<x>", "special": False}
    for key, values in {
        "id": (..., None, "310", 310.0, []),
        "content": (..., None, "", 1, ["x"]),
        "special": (..., None, "yes", 1),
    }.items():
        for value in values:
            token = {k: v for k, v in {**good, key: value}.items() if v is not ...}
            yield Row(
                f"added token's {key} {value!r}",
                at("added_tokens", [token]),
                "has an invalid added token",
            )
    yield Row(
        "the same id twice",
        at("added_tokens", [good, {**good, "content": "<y>"}]),
        "has an invalid added token",
    )
    for i in (320, 1 << 63, -1):
        yield Row(
            f"added id {i}",
            at("added_tokens", [{**good, "id": i}]),
            "config.json's vocab_size is 320",
        )
    yield Row(
        "one text, two ids",
        at("added_tokens", [good, {**good, "id": 311}]),
        "gives tokens 310 and 311 the same text: '<x>'",
    )
    yield Row(
        "a text that is in the vocabulary",
        at("added_tokens", [{**good, "content": "A"}]),
        "the same text",
    )


def _merges() -> Iterator[Case]:
    for value in each(..., None, [], {}, "a b", 1):
        yield Row(f"merges {value!r}", at("model", "merges", value), "has no merges")
    words = "has an invalid merge"
    for merge in each(
        "",
        " ",
        "he",
        "h e x",
        " he",
        "he ",
        "h  e",
        "h zz",
        "zz e",
        "h x",
        1,
        None,
        True,
        [],
        {},
        ["h"],
        ["h", 1],
        ["h", "e", "x"],
    ):
        yield Row(f"merge {merge!r}", at("model", "merges", ["h e", merge]), words)
    for pair in each(
        ["", "he"], ["h", ""], [["h"], "e"], ["h", "zz"], {"h": "e"}, "x" * 10_000, [[]] * 10_000
    ):
        yield Row(f"merge {str(pair)[:20]}", at("model", "merges", [pair]), words, base="qwen2")


def _pipeline() -> Iterator[Case]:
    words = "has a pre-tokenizer step that llama.cpp does not know"
    for value in each(
        [],
        "x",
        1,
        {},
        {"type": "Whitespace"},
        {"type": "Sequence"},
        {"type": "Sequence", "pretokenizers": {}},
    ):
        yield Row(f"pre_tokenizer {value!r}", at("pre_tokenizer", value), words)
    for value in each(..., None, {"type": "Sequence", "pretokenizers": []}):
        yield Row(f"pre_tokenizer {value!r}", at("pre_tokenizer", value), "is not byte-level")
    for value in each(
        {"type": "Lowercase"},
        {"type": "NFKC"},
        {"type": "NFD"},
        "NFC",
        [],
        1,
        {},
        {"type": "Sequence", "normalizers": [1]},
    ):
        yield Row(
            f"normalizer {value!r}",
            at("normalizer", value),
            "has a normalizer that llama.cpp does not know",
        )
    steps = {
        "type": "Sequence",
        "normalizers": [{"type": "NFC"}, {"type": "Prepend", "prepend": "▁"}],
    }
    yield Row(
        "a normalizer that prepends",
        at("normalizer", steps),
        "has a normalizer that llama.cpp does not know",
    )


def _specials() -> Iterator[Case]:
    for role in ("bos", "eos", "pad", "unk"):
        key = f"{role}_token_id"
        for value in each(True, 1.5, "x", {}, [{}], [[1]], "1" * 5000):
            damage = several(config(**{key: value}), in_json(SETTINGS, put(f"{role}_token", ...)))
            yield Case(f"{key} {value!r}", damage, f"{key} is ", file="config.json")


def at(*path: Any) -> Damage:
    """``path`` in tokenizer.json is keys and a value to put there; ``...`` takes it out."""
    return in_json(FILE, put(*path))


def several_tokens(text: str) -> Damage:
    """Two tokens that are the same to whoever stops at a NUL byte."""
    return several(at("model", "vocab", text, 310), at("model", "vocab", text + "y", 311))


@pytest.mark.parametrize("case", list(rows()), ids=lambda case: case.id)
def test_refused(case: Case, refused: Callable[[Case], None]) -> None:
    refused(case)


def strange_settings(settings: Json) -> None:
    settings.update(
        bos_token=[],
        eos_token={"content": ["x"]},
        unk_token=1,
        chat_template=[{"name": "default"}],
        add_bos_token="yes",
    )


TOKENS, KINDS = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
NORMAL, UNUSED = 1, 5  # llama.cpp's types of tokens
ADDED = range(276, 289)  # the special tokens, besides the first three of the vocabulary itself
WITHOUT_ADDED = {
    TOKENS: {place: f"[PAD{place}]" for place in ADDED},
    KINDS: dict.fromkeys(range(3), NORMAL) | dict.fromkeys(ADDED, UNUSED),
}
# what is done, and what the GGUF's metadata says otherwise than without it
FINE: dict[str, tuple[Damage, dict[str, Any]]] = {
    "no added tokens": (at("added_tokens", []), WITHOUT_ADDED),
    "no list of added tokens": (at("added_tokens", ...), WITHOUT_ADDED),
    "a token of no letters": (
        at("model", "vocab", "", 310),
        {TOKENS: {310: ""}, KINDS: {310: NORMAL}},
    ),
    "settings of strange types": (
        in_json(SETTINGS, strange_settings),
        {"tokenizer.chat_template": None},
    ),
    "no settings": (removed(SETTINGS), {"tokenizer.chat_template": None}),
    "a post-processor of strange type": (
        at("post_processor", {"type": "Sequence", "processors": 1}),
        {"tokenizer.ggml.add_bos_token": True},
    ),
    "a post-processor of strange steps": (
        at(
            "post_processor",
            {"type": "Sequence", "processors": [1, {"type": "TemplateProcessing"}]},
        ),
        {"tokenizer.ggml.add_bos_token": True},
    ),
    "NFC": (at("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFC"}]}), {}),
}


@pytest.mark.parametrize(("damage", "changes"), FINE.values(), ids=FINE)
def test_what_is_only_unusual_is_converted(
    damage: Damage, changes: dict[str, Any], copy: Callable[[str], Path], tmp_path: Path
) -> None:
    """Proves that the weights are as without it, and what the vocabulary says."""
    folder = copy("v3")
    convert_to(folder, tmp_path / "plain.gguf")
    damage(folder)
    convert_to(folder, tmp_path / "x.gguf")
    header, tensors = contents(tmp_path / "x.gguf")
    plain, weights = contents(tmp_path / "plain.gguf")
    assert tensors == weights
    assert metadata_changes(plain, header) == changes


def test_holes_are_filled(copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy("v3")
    at("model", "vocab", "A", ...)(folder)
    convert_to(folder, tmp_path / "x.gguf")
    found = read_header(tmp_path / "x.gguf")
    names, kinds = found.tokens(), found.metadata["tokenizer.ggml.token_type"]
    assert isinstance(kinds, list)
    assert len(names) == len(set(names)) == len(kinds) == 320
    holes = [i for i, kind in enumerate(kinds) if kind == 5]
    assert holes == [3 + 32, *range(289, 320)]
    assert [names[i] for i in holes] == [f"[PAD{i}]" for i in holes]
