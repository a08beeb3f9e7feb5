"""Proves that a GGUF file which is damaged, absurd or unknown ends as one line and exit code 1, and
never as a signal.

Every row is nano with one thing wrong. Most would make llama.cpp abort the process; what it refuses
in its own words is here as well.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli.forked import Forked
from support.cli.running import Run
from support.gguf.gguf_changes import (
    NAN,
    Change,
    Parts,
    filled,
    parts_of,
    put,
    reshaped,
    retyped,
    tokens,
    without,
)

from dslocal.api.file_faults import faults_of
from dslocal.gguf.header import read_header
from dslocal.gguf.tensor_types import GgmlType

ARCH = "deepseek2"
NO_SENSE = "metadata of deepseek2 makes no sense: "
NO_NUMBER = "metadata of deepseek2: no number of "
REFUSED = "llama.cpp does not load it: "
U32_4 = struct.pack("<II", 4, 4)  # a U32 and its value
UP = "blk.1.ffn_up_exps.weight"

NUMBERS: list[tuple[str, float | str | list[int] | None, str]] = [
    ("block_count", 0, NO_NUMBER + "layers"),
    ("block_count", 600, NO_SENSE + "600 layers, of 512 at the most"),
    (
        "block_count",
        7,
        REFUSED
        + "llama_model_load: error loading model: check_tensor_dims: "
        + "tensor 'blk.5.attn_norm.weight' not found",
    ),
    ("context_length", 0, NO_SENSE + "a context of 0"),
    ("context_length", -1, NO_SENSE + "a context of -1"),
    ("embedding_length", 512, "has wrong shape"),
    ("embedding_length", (1 << 32) - 1, NO_NUMBER + "width"),
    ("attention.head_count", 0, NO_NUMBER + "heads"),
    ("attention.head_count", -4, NO_NUMBER + "heads"),
    ("attention.head_count", 1 << 20, "heads of 128, where 512 numbers come together"),
    ("attention.head_count", [4, 4], NO_NUMBER + "attention head count"),
    ("attention.head_count_kv", 3, "4 heads on 3 of keys and values"),
    ("attention.head_count_kv", None, "4 heads of compressed keys"),
    ("attention.key_length", 0, "0 numbers are kept for each token, and 512 and 64 are computed"),
    ("attention.key_length_mla", 3, "64 rotated dimensions of 3"),
    ("attention.layer_norm_rms_epsilon", NAN, "attention.layer_norm_rms_epsilon nan"),
    ("rope.dimension_count", 63, "an odd number of rotated dimensions, 63"),
    ("rope.dimension_count", 1000, "1,000 rotated dimensions of 192"),
    ("rope.scaling.type", "sideways", "rope scaling 'sideways'"),
    ("rope.freq_base", NAN, "the model's logits are not numbers"),
    ("expert_count", 7, "7 experts in 4 groups"),
    ("expert_used_count", 0, "0 of 16 experts are used"),
    ("expert_used_count", 17, NO_NUMBER + "experts used"),
    ("expert_used_count", 1.5, NO_NUMBER + "expert used count"),
    ("expert_group_count", 3, "16 experts in 3 groups"),
    ("expert_group_count", 1000, "16 experts in 1,000 groups"),
    ("expert_group_used_count", 0, "0 of 4 groups of experts are used"),
    ("expert_group_used_count", 7, "7 of 4 groups of experts are used"),
    ("expert_gating_func", 7, "gating function 7"),
    ("expert_feed_forward_length", 512, "has wrong shape"),
    ("leading_dense_block_count", 4, "not found"),
]
OTHERS: list[tuple[str, Change, str]] = [
    ("a missing tensor", without(UP), "tensor 'blk.1.ffn_up_exps.weight' not found"),
    ("a transposed tensor", reshaped("blk.0.ffn_up.weight", 1024, 256), "has wrong shape"),
    ("a tensor with fewer experts", reshaped(UP, 256, 256, 8), "has wrong shape"),
    (
        "a tensor of I32",
        retyped(UP, GgmlType.I32),
        "blk.1.ffn_up_exps.weight: llama.cpp does not compute with I32 there",
    ),
    (
        "a norm in Q8_0",
        retyped("blk.1.attn_norm.weight", GgmlType.Q8_0),
        "blk.1.attn_norm.weight: llama.cpp does not compute with Q8_0 there",
    ),
    (
        "scales that are not numbers",
        filled(struct.pack("<e", NAN), UP),
        "the model's logits are not numbers (their maximum is nan)",
    ),
    ("a vocabulary that is short", tokens(lambda words: words[:2000]), "has wrong shape"),
    (
        "the same token twice",
        tokens(lambda words: [*words[:100], words[7], *words[101:]]),
        "its vocabulary holds",
    ),
    (
        "a token with a zero byte",
        tokens(lambda words: [*words[:100], b"a\0b", *words[101:]]),
        "a token with a zero byte in it",
    ),
    (
        "another tokenizer",
        put("tokenizer.ggml.model", "llama"),
        "its vocabulary lacks that tokenizer's bytes",
    ),
    ("no tokenizer", put("tokenizer.ggml.model", "no_vocab"), "its tokenizer is 'no_vocab'"),
    (
        "fewer kinds of tokens",
        put("tokenizer.ggml.token_type", [1] * 10, 5),
        "its vocabulary has no special token",
    ),
]
ROWS = [
    *((f"{key} = {value}", put(f"{ARCH}.{key}", value), words) for key, value, words in NUMBERS),
    *OTHERS,
]


@pytest.fixture(scope="module")
def whole(nano: Path) -> Parts:
    return parts_of(nano)


@pytest.mark.parametrize(
    ("change", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_one_line_and_no_signal(
    whole: Parts, forked: Forked, tmp_path: Path, change: Change, words: str
) -> None:
    damaged = copy.deepcopy(whole)
    change(damaged)
    file = damaged.write(tmp_path / "bad.gguf")
    options = ("--max-tokens", "3", "--seed", "1")
    status, written = forked("ask", "-m", file, "What is 2 + 2?", *options)
    *warnings, error = written.splitlines()
    assert (status, written.count("\n")) == (1, len(warnings) + 1), written
    assert error.startswith("dslocal: ")
    assert words in error
    # before it is loaded, what is odd about the file is said, each in a line
    odd = faults_of(read_header(file)) if warnings else []
    assert warnings == [f"dslocal: {file.name}: {fault}" for fault in odd]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[: len(data) * 2 // 3], "cut off: its header promises"),
        (
            lambda data: data.replace(
                b"deepseek2.expert_group_count" + U32_4,
                b"deepseek2.expert_group_count" + U32_4[:4] + b"\xff\xff\0\0",
            ),
            NO_SENSE,
        ),
        (lambda data: data.replace(b"deepseek2", b"mamba-zwo"), "'mamba-zwo'"),
    ],
    ids=["cut off in its weights", "absurd metadata", "an unknown architecture"],
)
def test_through_the_real_binary(
    run: Run, nano: Path, tmp_path: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    whole = nano.read_bytes()
    damaged = damage(whole)
    assert damaged != whole
    (tmp_path / "bad.gguf").write_bytes(damaged)
    done = run("ask", "-m", tmp_path / "bad.gguf", "What is 2 + 2?")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert words in done.stderr.decode()
