"""Ways to damage a checkpoint, and the proof that a damaged one is refused cleanly.

A :data:`Damage` changes a checkpoint in a folder; most are made by the small functions here, so
that a test is one row of a table. :func:`refusal` converts the folder and returns the one error
that came out, after it has checked that nothing else did: no other exception, no file left, no
large allocation, no hang, no message that is long or would upset a terminal.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint

import dslocal.convert as converter
from dslocal.errors import CheckpointError, UnsupportedModelError

Damage = Callable[[Path], None]
Json = Any
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
TINY: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
MLA = {
    **TINY,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "num_hidden_layers": 2,
    "n_routed_experts": 4,
    "n_group": 2,
    "topk_group": 1,
}
BASES: dict[str, dict[str, Any]] = {
    "v3": {"kind": "deepseek-v3", "dtype": "fp8", "shards": 2, **MLA},
    "moe": {"kind": "deepseek-moe", **TINY, "n_routed_experts": 4},
    "v4": {"kind": "deepseek-v4", "dtype": "fp4"},
    "v4-odd": {"kind": "deepseek-v4", "dtype": "fp4", "moe_intermediate_size": 240},
    "dspark": {"kind": "deepseek-v4-dspark", "dtype": "fp4"},
    "llama": {"kind": "llama", **TINY},
    "llama3": {"kind": "llama3", **TINY},
    "qwen2": {"kind": "qwen2", **TINY},
}
REFUSED_BASES = ("v4-odd",)  # of a shape that no conversion takes
LARGEST_ALLOCATION = 32 << 20  # bytes; these checkpoints have 200 kB
PATIENCE_S = 30


@dataclass(frozen=True)
class Case:
    """One damaged checkpoint. The message must contain ``words``, and ``file`` and ``tensor`` where
    they are given.
    """

    id: str
    damage: Damage
    words: str
    file: str = ""
    tensor: str = ""
    base: str = "v3"


def make_base(folder: Path, name: str, **changes: Any) -> Path:
    settings = {**BASES[name], **changes}
    return write_checkpoint(folder, settings.pop("kind"), **settings)


def check(case: Case, folder: Path, out: Path) -> None:
    """Check that the checkpoint in ``folder``, damaged as ``case`` says, is refused."""
    case.damage(folder)
    error = refusal(folder, out)
    assert (error.file, error.tensor) == (case.file, case.tensor)
    for part in (case.words, case.file, case.tensor):
        assert part in str(error)


def refusal(folder: Path, out: Path) -> CheckpointError:
    """Convert ``folder`` into the empty folder ``out`` and return the error that it ends with."""
    tracemalloc.start()
    try:
        with impatience(), pytest.raises(CheckpointError) as caught:
            convert_to(folder, out / "x.gguf")
        assert tracemalloc.get_traced_memory()[1] < LARGEST_ALLOCATION
    finally:
        tracemalloc.stop()
    error = caught.value
    assert type(error) in (CheckpointError, UnsupportedModelError)
    assert list(out.iterdir()) == []
    assert len(str(error)) < 500
    assert str(error).isprintable()
    return error


def convert_to(folder: Path, out: Path, recipe: str = "Q8_0") -> None:
    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    converter.write_gguf(
        converter.plan_conversion(checkpoint, [converter.recipe_named(recipe)]), [out], jobs=1
    )


@contextmanager
def impatience(seconds: int = PATIENCE_S) -> Iterator[None]:
    """End whatever hangs with a TimeoutError. For the main thread only."""

    def give_up(_: int, __: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def each(*values: Any) -> tuple[Any, ...]:
    """Return ``values`` of any types, for a loop over unrelated things."""
    return values


def several(*damages: Damage) -> Damage:
    def do(folder: Path) -> None:
        for damage in damages:
            damage(folder)

    return do


def content(file: str, new: bytes | Callable[[bytes], bytes]) -> Damage:
    """Replace what ``file`` holds by ``new``, or by what ``new`` makes of it."""

    def do(folder: Path) -> None:
        path = folder / file
        path.write_bytes(new(path.read_bytes()) if callable(new) else new)

    return do


def removed(file: str) -> Damage:
    return lambda folder: (folder / file).unlink()


def fifo(file: str) -> Damage:
    """Put a FIFO in the place of ``file``; opening it blocks."""
    return several(removed(file), lambda folder: os.mkfifo(folder / file))


def put(*path: Json) -> Callable[[Json], None]:
    """Return a change for :func:`in_json` and :func:`header` that sets the value at ``path``;
    ``...`` removes it.
    """
    *keys, last, value = path

    def do(tree: Json) -> None:
        for key in keys:
            tree = tree[key]
        if value is ...:
            tree.pop(last, None)
        else:
            tree[last] = value

    return do


def in_json(file: str, change: Callable[[Json], Json]) -> Damage:
    """Parse the file and pass it to ``change``, which alters it or returns a replacement."""

    def do(folder: Path) -> None:
        value = json.loads((folder / file).read_bytes())
        changed = change(value)
        (folder / file).write_text(
            json.dumps(value if changed is None else changed), encoding="utf-8"
        )

    return do


def config(**changes: Json) -> Damage:
    """Set values in config.json; ``...`` removes a key."""

    def change(value: Json) -> Json:
        return {key: new for key, new in {**value, **changes}.items() if new is not ...}

    return in_json("config.json", change)


def header(shard: str, change: Callable[[Json], Json]) -> Damage:
    """Replace the JSON header; the data stays."""

    def rewrite(old: bytes) -> bytes:
        value, data = split_shard(old)
        changed = change(value)
        return join_shard(json.dumps(value if changed is None else changed).encode(), data)

    return content(shard, rewrite)


def header_bytes(shard: str, text: bytes, *, length: int | None = None) -> Damage:
    """Replace the header by ``text``, announced as ``length`` bytes (its own length by default)."""
    return content(shard, lambda old: join_shard(text, split_shard(old)[1], length))


def entry(shard: str, tensor: str, **changes: Json) -> Damage:
    """Set values in one tensor's entry; ``...`` removes a key."""

    def change(value: Json) -> None:
        value[tensor] = {
            key: new for key, new in {**value[tensor], **changes}.items() if new is not ...
        }

    return header(shard, change)


def poked(tensor: str, number: int, data: bytes) -> Damage:
    """Write ``data`` over element ``number`` (of ``len(data)`` bytes) of ``tensor``, in whichever
    shard it is.
    """

    def do(folder: Path) -> None:
        path = shard_of(folder, tensor)
        value, _ = split_shard(path.read_bytes())
        with path.open("r+b") as file:
            begin = 8 + int.from_bytes(file.read(8), "little")
            file.seek(begin + value[tensor]["data_offsets"][0] + number * len(data))
            file.write(data)

    return do


def shard_of(folder: Path, tensor: str) -> Path:
    return next(
        path
        for path in sorted(folder.glob("*.safetensors"))
        if tensor in split_shard(path.read_bytes())[0]
    )


def without(*tensors: str) -> Damage:
    """Remove tensors from the index, the headers and the data."""

    def do(folder: Path) -> None:
        for path in sorted(folder.glob("*.safetensors")):
            value, data = split_shard(path.read_bytes())
            path.write_bytes(
                packed(
                    {
                        k: (v, data[slice(*v["data_offsets"])])
                        for k, v in _entries(value)
                        if k not in tensors
                    }
                )
            )
        for name in tensors if (folder / INDEX).exists() else ():
            in_json(INDEX, put("weight_map", name, ...))(folder)

    return do


def with_tensor(shard: str, name: str, dtype: str, shape: list[int], data: bytes) -> Damage:
    """Add a tensor at the end of ``shard``, or replace one there, and list it in the index."""

    def do(folder: Path) -> None:
        value, old = split_shard((folder / shard).read_bytes())
        parts = {k: (v, old[slice(*v["data_offsets"])]) for k, v in _entries(value) if k != name}
        (folder / shard).write_bytes(
            packed({**parts, name: ({"dtype": dtype, "shape": shape}, data)})
        )
        if (folder / INDEX).exists():
            in_json(INDEX, put("weight_map", name, shard))(folder)

    return do


def split_shard(data: bytes) -> tuple[Json, bytes]:
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join_shard(text: bytes, data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def packed(tensors: dict[str, tuple[Json, bytes]]) -> bytes:
    """Return a shard of these tensors, one after the other."""
    value, end = {}, 0
    for name, (info, data) in tensors.items():
        value[name] = {**info, "data_offsets": [end, end + len(data)]}
        end += len(data)
    return join_shard(json.dumps(value).encode(), b"".join(data for _, data in tensors.values()))


def _entries(value: Json) -> list[tuple[str, Json]]:
    return [(name, info) for name, info in value.items() if name != "__metadata__"]
