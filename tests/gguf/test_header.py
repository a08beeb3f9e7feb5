"""Proves that a GGUF header is read as the reference reader reads it, and that no damaged or
hostile file gets past, or costs much.
"""

from __future__ import annotations

import io
import math
import random
import struct
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader
from support.timing import at_most

from dslocal.errors import GgufError
from dslocal.gguf.header import GgufHeader, parse_header, read_header
from dslocal.gguf.tensor_names import tensor_class
from dslocal.gguf.tensor_types import GgmlType

U8 = 0
U32 = 4
F32 = 6
STRING = 8
ARRAY = 9
U64 = 10
NAME = "hostile.gguf"
MEMORY = 1 << 20  # bytes that refusing a small file may take


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key.encode()) + struct.pack("<I", kind) + value


def array(kind: int, count: int, items: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + items


def tensor(
    name: str = "a.weight",
    shape: Sequence[int] = (32, 2),
    kind: int = GgmlType.Q8_0,
    offset: int = 0,
    dims: int = -1,
) -> bytes:
    n_dims = dims if dims >= 0 else len(shape)
    return text(name.encode()) + struct.pack(f"<I{len(shape)}QIQ", n_dims, *shape, kind, offset)


def gguf(
    entries: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    *,
    data: int = 1024,
    magic: bytes = b"GGUF",
    version: int = 3,
    n_tensors: int = -1,
    n_kv: int = -1,
) -> bytes:
    counts = (n_tensors if n_tensors >= 0 else len(tensors), n_kv if n_kv >= 0 else len(entries))
    head = magic + struct.pack("<IQQ", version, *counts) + b"".join((*entries, *tensors))
    return head + bytes(-len(head) % 32) + bytes(data) if data else head


def alignment(kind: int, value: bytes) -> list[bytes]:
    return [entry("general.alignment", kind, value)]


GOOD_ENTRIES = [
    entry("general.architecture", STRING, text(b"llama")),
    entry("n", U32, struct.pack("<I", 7)),
]
GOOD = {
    "nothing in it": gguf(data=0),
    "a vocabulary alone": gguf(GOOD_ENTRIES, data=0),
    "one tensor": gguf(GOOD_ENTRIES, [tensor()], data=68),
    "version 2": gguf(GOOD_ENTRIES, [tensor()], version=2),
    "alignment of 64": gguf(
        alignment(U32, struct.pack("<I", 64)), [tensor(), tensor("b", offset=128)]
    ),
    "tensors in any order": gguf((), [tensor("a", offset=96), tensor("b")]),
    "arrays four deep": gguf(
        [entry("k", ARRAY, array(ARRAY, 1, array(ARRAY, 1, array(ARRAY, 1, array(U8, 2, b"ab")))))]
    ),
}
BOMB = array(ARRAY, 1) * 5000 + array(U8, 0)
HOSTILE = {
    "empty": b"",
    "three bytes": b"GGU",
    "another format": b"PK\3\4" + bytes(100),
    "little magic": gguf(magic=b"gguf"),
    "version 0": gguf(version=0),
    "version 1": gguf(version=1),
    "version 99": gguf(version=99),
    "big endian": gguf(version=3 << 24),
    "2^62 entries": gguf(n_kv=1 << 62),
    "2^62 tensors": gguf(n_tensors=1 << 62),
    "one entry too many": gguf(GOOD_ENTRIES, n_kv=3, data=0),
    "one tensor too many": gguf((), [tensor()], n_tensors=2, data=0),
    "key of 2^63 bytes": gguf([struct.pack("<QI", 1 << 63, STRING)]),
    "string of 2^63 bytes": gguf([entry("k", STRING, struct.pack("<Q", 1 << 63))]),
    "string one byte past the end": gguf([entry("k", STRING, struct.pack("<Q", 10_000))]),
    "array of 2^60 numbers": gguf([entry("k", ARRAY, array(U64, 1 << 60))]),
    "array of 2^60 strings": gguf([entry("k", ARRAY, array(STRING, 1 << 60))]),
    "array of 2^64 - 1 arrays": gguf([entry("k", ARRAY, array(ARRAY, (1 << 64) - 1))]),
    "arrays five deep": gguf([entry("k", ARRAY, array(ARRAY, 1) * 4 + array(U8, 0))]),
    "arrays 5000 deep": gguf([entry("k", ARRAY, BOMB)]),
    "array of an unknown type": gguf([entry("k", ARRAY, array(77, 1))]),
    "unknown value type": gguf([entry("k", 13, bytes(8))]),
    "key twice": gguf([entry("k", U8, b"\1"), entry("k", U8, b"\2")]),
    "tensor twice": gguf((), [tensor(), tensor(offset=96)]),
    "tensors overlap": gguf((), [tensor("a"), tensor("b", offset=64)]),
    "tensors at one place": gguf((), [tensor("a", offset=32), tensor("b", offset=32)]),
    "offset not aligned": gguf((), [tensor(offset=16)]),
    "offset not aligned to 64": gguf(alignment(U32, struct.pack("<I", 64)), [tensor(offset=96)]),
    "offset of 2^63": gguf((), [tensor(offset=1 << 63)]),
    "offset of 2^64 - 32": gguf((), [tensor(offset=(1 << 64) - 32)]),
    "unknown tensor type": gguf((), [tensor(kind=1000)]),
    "tensor type that ggml removed": gguf((), [tensor(kind=4)]),
    "no dimensions": gguf((), [tensor(shape=())]),
    "dimension of zero": gguf((), [tensor(shape=(32, 0))]),
    "dimension of 2^60": gguf((), [tensor(shape=(1 << 60,))]),
    "dimensions that overflow": gguf((), [tensor(shape=(1 << 22, 1 << 22, 1 << 22))]),
    "5 dimensions": gguf((), [tensor(shape=(32, 1, 1, 1, 1))]),
    "7 dimensions": gguf((), [tensor(shape=(32,) * 7)]),
    "2^32 - 1 dimensions": gguf((), [tensor(dims=(1 << 32) - 1)]),
    "row that fits no block": gguf((), [tensor(shape=(33, 2))]),
    "alignment of 0": gguf(alignment(U32, struct.pack("<I", 0)), [tensor()]),
    "alignment of 3": gguf(alignment(U32, struct.pack("<I", 3)), [tensor()]),
    "alignment of -32": gguf(alignment(5, struct.pack("<i", -32)), [tensor()]),
    "alignment of 2^62": gguf(alignment(U64, struct.pack("<Q", 1 << 62)), [tensor()]),
    "alignment as a float": gguf(alignment(F32, struct.pack("<f", 32)), [tensor()]),
    "alignment as text": gguf(alignment(STRING, text(b"32")), [tensor()]),
    "data cut off": gguf(GOOD_ENTRIES, [tensor()], data=67),
    "data absent": gguf((), [tensor(shape=(1 << 40,), kind=GgmlType.F32)]),
}


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(GgufError) as caught:
            read_header(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    return str(caught.value)


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD)
def test_good_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "good.gguf"
    path.write_bytes(content)
    header = read_header(path)
    assert not header.tensors or header.file_size <= len(content)


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files(tmp_path: Path, content: bytes) -> None:
    assert NAME in refused(tmp_path / NAME, content)


@pytest.mark.timed
def test_hostile_files_are_refused_at_once(tmp_path: Path) -> None:
    for content in HOSTILE.values():
        with at_most(5):
            refused(tmp_path / NAME, content)


def test_cut_anywhere(tmp_path: Path, nano: Path) -> None:
    with nano.open("rb") as file:
        start = file.read(8192)
    for length in range(0, len(start), 97):
        assert NAME in refused(tmp_path / NAME, start[:length])


def test_one_byte_short(tmp_path: Path, nano: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(nano.read_bytes()[:-40])
    with pytest.raises(
        GgufError, match=rf"{NAME}: cut off: its header promises [\d,]+ bytes, the file has [\d,]+"
    ) as caught:
        read_header(path)
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_not_a_file(tmp_path: Path, kind: str) -> None:
    with pytest.raises(GgufError, match="cannot be read"):
        read_header(tmp_path / NAME if kind == "missing" else tmp_path)


def test_flipped_bytes_are_read_or_refused(nano: Path) -> None:
    """Whatever one byte of the header says, the outcome is a header or a GgufError."""
    dice = random.Random(1)
    with nano.open("rb") as file:
        start = file.read(read_header(nano).data_start)
    outcomes = {GgufHeader: 0, GgufError: 0}
    for place in [
        *range(24),
        *(dice.randrange(len(start)) for _ in range(40)),
        *(len(start) - dice.randrange(9000) - 1 for _ in range(60)),
    ]:
        damaged = bytearray(start)
        damaged[place] ^= 1 << dice.randrange(8)
        try:
            parse_header(io.BytesIO(damaged), len(damaged), name=NAME)
            outcomes[GgufHeader] += 1
        except GgufError:
            outcomes[GgufError] += 1
    assert all(n > 10 for n in outcomes.values())


def test_a_part_of_a_file_is_enough(nano: Path) -> None:
    whole = read_header(nano)
    with nano.open("rb") as file:
        assert vars(parse_header(file, whole.data_start, name="part")) == vars(whole)
    with nano.open("rb") as file, pytest.raises(GgufError, match="part"):
        parse_header(file, whole.data_start // 2, name="part")


def reference_metadata(reader: GGUFReader) -> Iterator[tuple[str, Any]]:
    yield from (
        (name, field.contents())
        for name, field in reader.fields.items()
        if not name.startswith("GGUF.")
    )


def test_nano_as_the_reference_reader_reads_it(nano: Path) -> None:
    header, reference = read_header(nano), GGUFReader(nano)
    assert header.metadata == dict(reference_metadata(reference))
    assert list(header.metadata) == [name for name, _ in reference_metadata(reference)]
    ours = [
        (t.name, t.shape, int(t.type), header.data_start + t.offset, t.nbytes, t.elements)
        for t in header.tensors
    ]
    theirs = [
        (t.name, tuple(t.shape), int(t.tensor_type), t.data_offset, t.n_bytes, t.n_elements)
        for t in reference.tensors
    ]
    assert ours == theirs
    assert header.data_start == reference.data_offset
    assert header.file_size <= nano.stat().st_size < header.file_size + 32
    assert len(header.tokens()) == 4096
    assert (header.architecture, header.of_arch("context_length"), header.of_arch("absent", 3)) == (
        "deepseek2",
        4096,
        3,
    )


CLASSES = {
    "token_embd.weight": "embeddings",
    "output.weight": "output",
    "output_norm.weight": "norms",
    "blk.0.attn_norm.weight": "norms",
    "blk.0.attn_kv_a_mqa.weight": "attention",
    "blk.0.ffn_up.weight": "dense feed-forward",
    "blk.3.ffn_gate_inp.weight": "router",
    "blk.3.exp_probs_b.bias": "router",
    "blk.3.ffn_down_exps.weight": "routed experts",
    "blk.3.ffn_up_shexp.weight": "shared experts",
    "blk.4.nextn.eh_proj.weight": "mtp",
    "rope_freqs.weight": "other",
}


@pytest.mark.parametrize(("name", "expected"), CLASSES.items())
def test_tensor_classes(name: str, expected: str) -> None:
    assert tensor_class(name) == expected


def test_every_tensor_of_nano_has_a_class(nano: Path) -> None:
    header = read_header(nano)
    assert "other" not in {tensor_class(t.name) for t in header.tensors}
    assert math.isclose(sum(t.elements for t in header.tensors), 21.1e6, rel_tol=0.01)
