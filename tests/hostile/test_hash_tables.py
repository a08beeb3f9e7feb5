"""Proves that a V4 file whose table of experts by token id is damaged is refused in one line that
names the file, also by a program that loads it itself, and never as a signal.
"""

from __future__ import annotations

import copy
import re
import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
from support.chat.v4_chat import write_chat_v4
from support.cli.forked import Forked
from support.engine.expert_models import write_moe
from support.gguf.gguf_changes import Parts, Tensor, parts_of

from dslocal.engine import LlamaModel
from dslocal.errors import EngineError, GgufError
from dslocal.gguf.tensor_types import GgmlType

TABLE = "blk.0.ffn_gate_tid2eid.weight"
N_EXPERTS = 6


def expert(number: int) -> Callable[[Tensor], None]:
    """Put another expert in a table's last place."""

    def do(table: Tensor) -> None:
        table.data = table.data[:-4] + struct.pack("<i", number)

    return do


def floats(table: Tensor) -> None:
    table.type = GgmlType.F32


def longs(table: Tensor) -> None:
    table.type, table.data = GgmlType.I64, table.data * 2


def fewer_tokens(table: Tensor) -> None:
    used, tokens = table.shape
    table.shape, table.data = (used, tokens - 1), table.data[: -4 * used]


def more_experts(table: Tensor) -> None:
    used, tokens = table.shape
    table.shape, table.data = (used + 1, tokens), table.data + bytes(4 * tokens)


CASES: list[tuple[Callable[[Tensor], None], str]] = [
    (expert(N_EXPERTS), f"{TABLE}: has expert 6, of 6"),
    (expert(-1), f"{TABLE}: has expert -1, of 6"),
    (expert(1 << 30), f"{TABLE}: has expert 1,073,741,824, of 6"),
    (floats, f"{TABLE}: llama.cpp does not compute with F32 there"),
    (longs, f"{TABLE}: llama.cpp does not compute with I64 there"),
    (fewer_tokens, f"tensor '{TABLE}' has wrong shape"),
    (more_experts, f"tensor '{TABLE}' has wrong shape"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return parts_of(write_chat_v4(tmp_path_factory.mktemp("v4") / "v4.gguf"))


@pytest.mark.parametrize("stream", ["on", "off"])
@pytest.mark.parametrize(("damage", "said"), CASES, ids=[said for _, said in CASES])
def test_one_line_that_names_the_file_and_the_tensor(
    whole: Parts,
    forked: Forked,
    tmp_path: Path,
    damage: Callable[[Tensor], None],
    said: str,
    stream: str,
) -> None:
    damaged = copy.deepcopy(whole)
    damage(damaged.tensors[TABLE])
    file = damaged.write(tmp_path / "bad.gguf")
    status, written = forked("ask", "-m", file, "--stream-experts", stream, "hi")
    assert status == 1, written
    assert written.startswith("dslocal: bad.gguf: "), written
    assert said in written
    assert written.count("\n") == 1
    with pytest.raises((GgufError, EngineError), match=re.escape(said)):
        LlamaModel(file)


@pytest.mark.parametrize("split", ["one file", "experts apart"])
def test_the_part_that_holds_the_table_is_named(tmp_path: Path, split: str) -> None:
    path = write_moe(tmp_path, "deepseek-v4", split, num_hash_layers=3)
    damaged = []
    for part in sorted(tmp_path.glob("*.gguf")):
        reader = gguf.GGUFReader(part, "r+")
        for table in (tensor for tensor in reader.tensors if "blk.2.ffn_gate_tid" in tensor.name):
            table.data[0, 0] = N_EXPERTS
            reader.data.flush()
            damaged.append(part.name)
    assert len(damaged) == 1
    with pytest.raises(GgufError, match=rf"{damaged[0]}: blk\.2\..*: has expert 6, of 6"):
        LlamaModel(path)
