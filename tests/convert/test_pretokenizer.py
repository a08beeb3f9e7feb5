"""Proves which of llama.cpp's pre-tokenizers a tokenizer.json is recognised as, and that near
misses are refused.

The name decides how llama.cpp cuts text; a wrong one costs quality and says nothing. Regexes are
compared letter for letter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.damage import TINY
from support.checkpoints.tiny_checkpoints import TOKENIZERS, write_checkpoint

from dslocal import catalog
from dslocal.convert import FolderSource, open_checkpoint
from dslocal.convert.checkpoint.pre_tokenizer import PRE_TOKENIZERS
from dslocal.convert.checkpoint.tokenizer import tokenizer_metadata
from dslocal.errors import CheckpointError

FAMILIES = ("deepseek-v3", "deepseek-llm", "deepseek-coder", "qwen2", "llama-bpe")
USER = {"id": 319, "content": "<｜User｜>", "special": False}
STEPS = {name: TOKENIZERS[name]["pre_tokenizer"]["pretokenizers"] for name in FAMILIES}
V3, QWEN = STEPS["deepseek-v3"], STEPS["qwen2"]
LLAMA, LLM = STEPS["llama-bpe"], STEPS["deepseek-llm"]
BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": False,
}
DIGITS = {"type": "Digits", "individual_digits": True}
UNKNOWN_STEP, UNKNOWN_REGEX = (
    "has a pre-tokenizer step that llama.cpp does not know",
    "splits text with regexes that llama.cpp does not know",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("any"), "llama", **TINY)


def recognised(folder: Path, pre_tokenizer: Any, *added: Any) -> str:
    tree = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    changed = {**tree, "pre_tokenizer": pre_tokenizer, "added_tokens": list(added)}
    try:
        (folder / "tokenizer.json").write_text(json.dumps(changed), encoding="utf-8")
        return str(metadata(folder)["tokenizer.ggml.pre"])
    finally:
        (folder / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")


def metadata(folder: Path) -> dict[str, Any]:
    checkpoint = open_checkpoint(FolderSource(folder))
    return dict(tokenizer_metadata(checkpoint.source, checkpoint.config))


def split(pattern: str, **changes: Any) -> dict[str, Any]:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
        **changes,
    }


def sequence(*steps: Any) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def test_every_name_has_a_family() -> None:
    assert set(PRE_TOKENIZERS) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("marked", [False, True])
def test_families(family: str, marked: bool, folder: Path) -> None:
    added = [USER] if marked else []
    expected = "deepseek-r1-qwen" if marked and family == "qwen2" else family
    assert recognised(folder, TOKENIZERS[family]["pre_tokenizer"], *added) == expected


def test_nano_is_of_the_v3_family() -> None:
    assert metadata(catalog.load_registry()["nano"].folder)["tokenizer.ggml.pre"] == "deepseek-v3"


SAME = {
    "trim_offsets": (sequence(*QWEN[:-1], {**BYTE_LEVEL, "trim_offsets": False}), "qwen2"),
    "no invert": (
        sequence({key: value for key, value in LLAMA[0].items() if key != "invert"}, BYTE_LEVEL),
        "llama-bpe",
    ),
    "a longer list of letters": (
        sequence(LLM[0], split(LLM[1]["pattern"]["Regex"] + "x"), *LLM[2:]),
        "deepseek-llm",
    ),
}


@pytest.mark.parametrize(("pre_tokenizer", "name"), SAME.values(), ids=SAME)
def test_what_makes_no_difference(pre_tokenizer: Any, name: str, folder: Path) -> None:
    assert recognised(folder, pre_tokenizer) == name


REFUSED = {
    "nothing": (None, "is not byte-level"),
    "bytes alone": (BYTE_LEVEL, UNKNOWN_REGEX),
    "GPT-2": ({**BYTE_LEVEL, "use_regex": True}, UNKNOWN_STEP),
    "a space in front": (
        sequence(*QWEN[:-1], {**BYTE_LEVEL, "add_prefix_space": True}),
        UNKNOWN_STEP,
    ),
    "GPT-2's regex after V3's": (
        sequence(*V3[:-1], {**BYTE_LEVEL, "use_regex": True}),
        UNKNOWN_STEP,
    ),
    "no word on GPT-2's regex": (
        sequence(*V3[:-1], {"type": "ByteLevel", "add_prefix_space": False}),
        UNKNOWN_STEP,
    ),
    "no bytes": (sequence(*V3[:-1]), "is not byte-level"),
    "bytes twice": (sequence(*V3, BYTE_LEVEL), UNKNOWN_STEP),
    "bytes first": (sequence(BYTE_LEVEL, *V3[:-1]), UNKNOWN_STEP),
    "V3 without its digits": (sequence(*V3[1:]), UNKNOWN_REGEX),
    "V3 in another order": (sequence(V3[1], V3[0], *V3[2:]), UNKNOWN_REGEX),
    "V3 and a step more": (sequence(split("x"), *V3), UNKNOWN_REGEX),
    "V3 with two digits": (sequence(split(r"\p{N}{1,2}"), *V3[1:]), UNKNOWN_REGEX),
    "V3 with a Digits step": (sequence(*V3[:-1], DIGITS, BYTE_LEVEL), UNKNOWN_REGEX),
    "V3 removing what it finds": (
        sequence({**V3[0], "behavior": "Removed"}, *V3[1:]),
        UNKNOWN_STEP,
    ),
    "V3 merging what it finds": (
        sequence({**V3[0], "behavior": "MergedWithPrevious"}, *V3[1:]),
        UNKNOWN_STEP,
    ),
    "a string for a regex": (
        sequence({**V3[0], "pattern": {"String": r"\p{N}{1,3}"}}, *V3[1:]),
        UNKNOWN_STEP,
    ),
    "Llama 3 with a blank": (
        sequence(split(LLAMA[0]["pattern"]["Regex"] + " "), BYTE_LEVEL),
        UNKNOWN_REGEX,
    ),
    "Qwen 3.5": (
        sequence(
            split(QWEN[0]["pattern"]["Regex"].replace(r"\p{L}+", r"[\p{L}\p{M}]+")), BYTE_LEVEL
        ),
        UNKNOWN_REGEX,
    ),
    "GPT-4": (
        sequence(split(LLAMA[0]["pattern"]["Regex"].replace("\\s+(?!\\S)|", "")), BYTE_LEVEL),
        UNKNOWN_REGEX,
    ),
    "digits all at once": (
        sequence(*LLM[:-2], {"type": "Digits", "individual_digits": False}, BYTE_LEVEL),
        UNKNOWN_STEP,
    ),
    "digits before the rest": (sequence(DIGITS, *LLM[:-2], BYTE_LEVEL), UNKNOWN_STEP),
    "no digits": (sequence(*LLM[:-2], BYTE_LEVEL), UNKNOWN_REGEX),
    "other letters": (sequence(LLM[0], split(r"\s?[A-Za-z]+"), *LLM[2:]), UNKNOWN_REGEX),
    "punctuation": (sequence({"type": "Punctuation", "behavior": "Isolated"}, *QWEN), UNKNOWN_STEP),
    "white space": (sequence({"type": "WhitespaceSplit"}, *QWEN), UNKNOWN_STEP),
    "Metaspace": (
        {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"},
        UNKNOWN_STEP,
    ),
    "a sequence in a sequence": (sequence(sequence(*V3)), UNKNOWN_STEP),
}


@pytest.mark.parametrize(("pre_tokenizer", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(pre_tokenizer: Any, words: str, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        recognised(folder, pre_tokenizer)
    assert caught.value.file == "tokenizer.json"
    assert len(str(caught.value)) < 400
