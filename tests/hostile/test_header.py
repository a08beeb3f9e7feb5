"""Proves that a shard whose header lies is refused in one line that names the shard, and the tensor
where there is one.

Lengths, JSON, names, dtypes, shapes and offsets. Nothing of a claimed size is ever made:
tests/support/checkpoints/damage.py limits memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.damage import (
    SINGLE,
    Case,
    content,
    convert_to,
    each,
    entry,
    header,
    header_bytes,
    join_shard,
    packed,
    put,
    split_shard,
)

Row = partial(Case, file=SINGLE, base="llama")

Q, K = (
    "model.layers.0.self_attn.q_proj.weight",
    "model.layers.0.self_attn.k_proj.weight",
)  # BF16 [32, 32], side by side
Q_AT, K_AT = [20608, 22656], [22656, 24704]
FIRST, LAST = "model.embed_tokens.weight", "lm_head.weight"
Q_ENTRY = f'"{Q}": {{"dtype": "BF16", "shape": [32, 32], "data_offsets": {Q_AT}}}'
HUGE = "9" * 5000
DEEP = 100_000


def rows() -> Iterator[Case]:
    yield from _files()
    yield from _lengths()
    yield from _texts()
    yield from _entries()
    yield from _offsets()


def _files() -> Iterator[Case]:
    yield Row("empty", content(SINGLE, b""), "is cut off or empty (0 bytes)")
    yield Row("7 bytes", content(SINGLE, b"\x10\0\0\0\0\0\0"), "is cut off or empty (7 bytes)")
    yield Row(
        "8 bytes",
        content(SINGLE, b"\x10\0\0\0\0\0\0\0"),
        "claims a header of 16 bytes in a file of 8",
    )
    yield Row("zeros", content(SINGLE, bytes(4096)), "zeros at its beginning")
    yield Row("an empty header", header_bytes(SINGLE, b""), "its header is not valid JSON")
    yield Row(
        "no tensors",
        content(SINGLE, packed({})),
        "is missing from the checkpoint",
        tensor=FIRST,
        file="",
    )
    yield Row(
        "a pickle",
        content(SINGLE, lambda old: b"\x80\x02}q\0(X\x05\0\0\0" + old),
        "is not a safetensors file, but a pickle",
    )
    yield Row("cut in its header", content(SINGLE, lambda old: old[:500]), "claims a header of")
    yield Row(
        "cut in its data",
        content(SINGLE, lambda old: old[:-1]),
        "ends at byte 84,552, the file has 84,551",
        tensor=LAST,
    )
    yield Row(
        "cut before its data",
        content(SINGLE, lambda old: old[: -len(split_shard(old)[1])]),
        "the file has",
        tensor=FIRST,
    )
    yield Row(
        "a byte too many",
        content(SINGLE, lambda old: old + b"\0"),
        "has 1 bytes that belong to no tensor",
    )


def _lengths() -> Iterator[Case]:
    for name, length in [
        ("2^63", 1 << 63),
        ("2^64 - 1", (1 << 64) - 1),
        ("over 100 MB", 100_000_001),
    ]:
        yield Row(
            f"header of {name}",
            header_bytes(SINGLE, b"{}", length=length),
            "safetensors allows 100,000,000",
        )
    yield Row(
        "header of 100 MB",
        header_bytes(SINGLE, b"{}", length=100_000_000),
        "claims a header of 100,000,000 bytes in a file of",
    )
    yield Row(
        "header of the whole file",
        content(SINGLE, lambda old: (len(old) - 8).to_bytes(8, "little") + old[8:]),
        "is not valid JSON",
    )
    yield Row(
        "header a byte over the file",
        content(SINGLE, lambda old: (len(old) - 7).to_bytes(8, "little") + old[8:]),
        "in a file of",
    )


def _texts() -> Iterator[Case]:
    texts = {
        "not JSON": b"{'a': 1}",
        "JSON and more": b"{} {}",
        "cut JSON": b'{"a": {"dtype": "BF16"',
        "not UTF-8": b'{"\xff": 1}',
        "UTF-16": json.dumps({}).encode("utf-16"),
        "a byte order mark": b"\xef\xbb\xbf{}",
        "deep lists": b"[" * DEEP + b"]" * DEEP,
        "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        "a number of 5000 digits": (
            f'{{"{Q}": {{"dtype": "BF16", "shape": [{HUGE}], "data_offsets": [0, {HUGE}]}}}}'
        ).encode(),
        "the same tensor twice": f"{{{Q_ENTRY}, {Q_ENTRY}}}".encode(),
        "the same key twice": (
            f'{{"{Q}": {{"dtype": "BF16", "shape": [1], "shape": [2], "data_offsets": [0, 2]}}}}'
        ).encode(),
    }
    for name, text in texts.items():
        yield Row(name, header_bytes(SINGLE, text), "its header is not valid JSON")
    for name, text in {
        "a list": b"[]",
        "a string": b'"x"',
        "null": b"null",
        "a number": b"1",
    }.items():
        yield Row(
            f"{name} for a header", header_bytes(SINGLE, text), "its header is not a JSON object"
        )


def _entries() -> Iterator[Case]:
    for value in each("x", 1, None, [], True):
        yield Row(
            f"entry {value!r}",
            header(SINGLE, put(Q, value)),
            "its entry is not an object",
            tensor=Q,
        )
    for dtype in each(
        "BF17", "", "bf16", 1, None, ["BF16"], {}, ..., "F8_E4M3\x1b[2J", "x" * 10_000
    ):
        yield Row(f"dtype {dtype!r:.20}", entry(SINGLE, Q, dtype=dtype), "unknown dtype", tensor=Q)
    shapes: list[Any] = [
        -1,
        "32",
        None,
        {},
        ...,
        [32, -32],
        [32.0, 32],
        [True, 1024],
        [[32, 32]],
        ["32", 32],
        [None],
        [1 << 63, 1],
    ]
    for shape in (*shapes, [1] * 9, [10**4000], [1] * 100_000, _nested(900)):
        yield Row(
            f"shape {str(shape)[:20]}", entry(SINGLE, Q, shape=shape), "impossible shape", tensor=Q
        )
    for shape in (
        [32],
        [32, 32, 2],
        [],
        [0, 32],
        [1 << 60],
        [1 << 60] * 8,
        [1 << 60, 0, 1 << 60],
        [31, 33],
    ):
        yield Row(
            f"shape {shape}", entry(SINGLE, Q, shape=shape), "its offsets span 2,048", tensor=Q
        )
    yield Row(
        "F32 for BF16's bytes",
        entry(SINGLE, Q, dtype="F32"),
        "F32 [32, 32] takes 4,096 bytes",
        tensor=Q,
    )
    yield Row(
        "F32 of half the columns",
        entry(SINGLE, Q, dtype="F32", shape=[32, 16]),
        "is [32, 16]; config.json makes it [32, 32]",
        tensor=Q,
    )
    yield Row("I16 for BF16", entry(SINGLE, Q, dtype="I16"), "is I16; weights in", tensor=Q)
    yield Row(
        "FP8 without a scale",
        entry(SINGLE, Q, dtype="F8_E4M3", shape=[32, 64]),
        "config.json makes it",
        tensor=Q,
    )
    yield Row(
        "rows for columns",
        entry(SINGLE, FIRST, shape=[32, 320]),
        "is [32, 320]; config.json makes it [320, 32]",
        tensor=FIRST,
    )
    for name in ("a\x1b[2J", "a\nb", "\ud800", "a\x7f", "\u202eb", "x" * 513):
        yield Row(f"named {name!r:.10}", header(SINGLE, partial(_rename, name)), "unusable name")


def _offsets() -> Iterator[Case]:
    at: list[Any] = [
        None,
        7,
        "0,2048",
        {},
        ...,
        [],
        [20608],
        [*Q_AT, 0],
        [-1, 2047],
        [20608.0, 22656],
        [True, 2049],
        ["20608", 22656],
    ]
    for offsets in (*at, Q_AT[::-1], [1 << 63, (1 << 63) + 2048], [0, 10**4000], _nested(900)):
        yield Row(
            f"offsets {str(offsets)[:24]}",
            entry(SINGLE, Q, data_offsets=offsets),
            "impossible data_offsets",
            tensor=Q,
        )
    yield Row(
        "offsets of no length",
        entry(SINGLE, Q, data_offsets=[20608, 20608]),
        "its offsets span 0",
        tensor=Q,
    )
    yield Row(
        "offsets a byte too long",
        entry(SINGLE, Q, data_offsets=[20608, 22657]),
        "its offsets span 2,049",
        tensor=Q,
    )
    yield Row(
        "the same bytes twice", entry(SINGLE, K, data_offsets=Q_AT), f"overlaps {Q}", tensor=K
    )
    yield Row(
        "a byte of overlap",
        entry(SINGLE, K, data_offsets=[n - 1 for n in K_AT]),
        f"overlaps {Q}",
        tensor=K,
    )
    yield Row(
        "a gap",
        entry(SINGLE, Q, data_offsets=[n + 2 for n in Q_AT]),
        "leaves a gap of 2 bytes before it",
        tensor=Q,
    )
    yield Row(
        "a gap at the beginning",
        header(SINGLE, put(FIRST, ...)),
        "leaves a gap of 20,480 bytes before it",
        tensor=NEXT,
    )
    yield Row(
        "a gap at the end",
        header(SINGLE, put(LAST, ...)),
        "has 20,480 bytes that belong to no tensor",
    )
    for name, far in [("past the end", 1 << 20), ("at 2^62", 1 << 62)]:
        yield Row(
            name, entry(SINGLE, LAST, data_offsets=[far, far + 20480]), "leaves a gap", tensor=LAST
        )


def _rename(name: str, value: Any) -> None:
    value[name] = value.pop(Q)


NEXT = "model.layers.0.input_layernorm.weight"


def _nested(depth: int) -> Any:
    """Lists in lists, as deep as the parser still takes: then even printing them is too much for
    it.
    """
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def odd_and_fine(folder: Path) -> None:
    """What safetensors allows and nobody writes: another order, spaces, a tensor of no elements
    nowhere near the rest.
    """
    value, data = split_shard((folder / SINGLE).read_bytes())
    value = dict(sorted(value.items(), reverse=True))
    value["model.layers.0.self_attn.rotary_emb.inv_freq"] = {
        "dtype": "F32",
        "shape": [0, 1 << 60],
        "data_offsets": [20480, 20480],
    }
    (folder / SINGLE).write_bytes(
        join_shard(b"  \n" + json.dumps(value, indent=3).encode() + b"   ", data)
    )


@pytest.mark.parametrize("case", list(rows()), ids=lambda case: case.id)
def test_refused(case: Case, refused: Callable[[Case], None]) -> None:
    refused(case)


def test_what_is_only_unusual_is_converted(copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy("llama")
    convert_to(folder, tmp_path / "usual.gguf")
    odd_and_fine(folder)
    convert_to(folder, tmp_path / "unusual.gguf")
    assert (tmp_path / "usual.gguf").read_bytes() == (tmp_path / "unusual.gguf").read_bytes()
