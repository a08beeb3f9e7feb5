"""Proves that a V4 file whose metadata are absurd is refused in one line that names the file and
the key, by ``ask`` and by ``fit``, and never as a signal.
"""

from __future__ import annotations

import copy
import struct
from pathlib import Path

import pytest
from support.chat.v4_chat import write_chat_v4
from support.cli.forked import Forked
from support.gguf.gguf_changes import ARRAY, NAN, STRING, Change, Parts, parts_of, put, text

RATIOS = "attention.compress_ratios"
NO_RATIOS = "no compress_ratios for 5 layers"
NO_NUMBER = "no number of "


def strings(key: str) -> Change:
    """Put an array of texts in a key's place."""
    value = struct.pack("<IQ", STRING, 5) + text("4") * 5

    def do(parts: Parts) -> None:
        parts.metadata[key] = (ARRAY, value)

    return do


# key, its value, what is said by ask and by fit
REFUSED: list[tuple[str, float | str | list[int] | None, str]] = [
    (RATIOS, None, NO_RATIOS),
    (RATIOS, 4, NO_RATIOS),
    (RATIOS, -4, NO_RATIOS),
    (RATIOS, NAN, NO_RATIOS),
    (RATIOS, "4", NO_RATIOS),
    (RATIOS, [], NO_RATIOS),
    (RATIOS, [0, 0, 4], NO_RATIOS),
    (RATIOS, [0, 0, 4, 128, 5, 0], "a compress_ratio of 5"),
    (RATIOS, [0, 0, (1 << 32) - 1, 128, 4, 0], "a compress_ratio of 4294967295"),
    ("block_count", None, NO_NUMBER + "layers"),
    ("block_count", -1, NO_NUMBER + "layers"),
    ("block_count", "five", NO_NUMBER + "block count"),
    ("context_length", -1, "a context of -1"),
    ("embedding_length", 0, NO_NUMBER + "width"),
    ("attention.head_count", 0, NO_NUMBER + "heads"),
    ("attention.head_count_kv", None, "attention.head_count_kv of 4"),
    ("attention.sliding_window", -1, NO_NUMBER + "window"),
    ("attention.sliding_window", NAN, NO_NUMBER + "attention sliding window"),
    ("attention.output_group_count", None, "attention.output_group_count of 0"),
    ("attention.output_group_count", 0, "attention.output_group_count of 0"),
    ("attention.output_lora_rank", "x", NO_NUMBER + "attention output lora rank"),
    ("attention.indexer.head_count", [8], NO_NUMBER + "attention indexer head count"),
    ("attention.indexer.top_k", -1, NO_NUMBER + "indexer top k"),
    ("expert_count", (1 << 32) - 1, NO_NUMBER + "experts"),
    ("expert_used_count", 0, "0 of 6 experts are used"),
    ("hyper_connection.count", 0, NO_NUMBER + "hyper-connections"),
    ("hyper_connection.sinkhorn_iterations", 0, "hyper_connection.sinkhorn_iterations of 0"),
    ("hyper_connection.sinkhorn_iterations", 1 << 31, "hyper_connection.sinkhorn_iterations of"),
    ("hash_layer_count", NAN, NO_NUMBER + "hash layer count"),
]
CHANGES: list[tuple[str, Change, str]] = [
    *((f"{key} = {value}", put(f"deepseek4.{key}", value), said) for key, value, said in REFUSED),
    (f"{RATIOS} = texts", strings(f"deepseek4.{RATIOS}"), "a compress_ratio of 4"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return parts_of(write_chat_v4(tmp_path_factory.mktemp("v4") / "v4.gguf"))


@pytest.mark.parametrize(
    ("change", "said"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES]
)
def test_one_line_that_names_the_file_and_the_key(
    whole: Parts, forked: Forked, tmp_path: Path, change: Change, said: str
) -> None:
    damaged = copy.deepcopy(whole)
    change(damaged)
    file = damaged.write(tmp_path / "bad.gguf")
    for command in (("ask", "-m", file, "hi"), ("fit", file)):
        status, written = forked(*command)
        assert status == 1, (command, written)
        assert written.startswith("dslocal: bad.gguf: metadata of deepseek4"), written
        assert said in written
        assert written.count("\n") == 1
