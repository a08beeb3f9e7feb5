"""A checkpoint as its headers describe it: configuration, tokenizer files, and every tensor's
place. No weights are read.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dslocal.errors import CheckpointError

from .config import Config, short_repr
from .safetensors import MAX_NAME, TensorInfo, read_shard_header
from .source import Source, is_plain_name

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
MAX_SHARDS = 10_000
MAX_JSON = {"config.json": 4 << 20, INDEX: 64 << 20, "tokenizer.json": 64 << 20}
SCALE_SUFFIX = "_scale_inv"


@dataclass(frozen=True)
class Checkpoint:
    """``tensors`` by Hugging Face name, over all shards; ``shards`` in order."""

    source: Source
    config: Config
    tensors: dict[str, TensorInfo]
    shards: tuple[str, ...]

    def tensor(self, name: str) -> TensorInfo:
        found = self.tensors.get(name)
        if found is None:
            raise CheckpointError("is missing from the checkpoint", tensor=name)
        return found

    def require(self, name: str, shape: tuple[int, ...]) -> None:
        """Raises CheckpointError unless there is a tensor of that name and shape."""
        tensor = self.tensor(name)
        if tensor.shape != shape:
            raise CheckpointError(
                f"is {list(tensor.shape)}; config.json makes it {list(shape)}",
                file=tensor.file,
                tensor=name,
            )

    def require_each(self, pattern: str, count: int, shape: tuple[int, ...]) -> Iterator[str]:
        """The names of ``count`` tensors that ``pattern`` makes of ``{e}``, each required as it
        comes: config.json may claim any number.
        """
        for e in range(count):
            name = pattern.format(e=e)
            self.require(name, shape)
            yield name

    def scale_of(self, tensor: TensorInfo) -> TensorInfo:
        """The block scales of an FP8 weight, float32 ``[ceil(rows/128), ceil(cols/128)]``."""
        rows, cols = self.config.fp8_block
        name = tensor.name + SCALE_SUFFIX
        scale = self.tensors.get(name)
        if scale is None:
            raise CheckpointError(
                f"is FP8 and its {SCALE_SUFFIX} is missing", file=tensor.file, tensor=tensor.name
            )
        expected = (-(-tensor.shape[0] // rows), -(-tensor.shape[1] // cols))
        if scale.shape != expected or scale.dtype != "F32":
            raise CheckpointError(
                f"is {scale.dtype} {list(scale.shape)}; F32 {list(expected)} is needed for {list(tensor.shape)}",
                file=scale.file,
                tensor=name,
            )
        return scale


def open_checkpoint(source: Source) -> Checkpoint:
    """Reads every header of ``source`` and checks them against each other. Raises
    CheckpointError.
    """
    config = Config(read_json(source, "config.json"), "config.json")
    listed: dict[str, str] = {}
    if source.exists(INDEX):
        listed = _weight_map(read_json(source, INDEX))
        shards = tuple(dict.fromkeys(listed.values()))
    else:
        shards = (SINGLE,)
    if len(shards) > MAX_SHARDS:
        raise CheckpointError(
            f"lists {len(shards):,} shards; more than {MAX_SHARDS:,} cannot be right", file=INDEX
        )
    for shard in shards:
        if not source.exists(shard):
            source.open(shard).close()  # which says why not
    source.expect(shards)
    tensors: dict[str, TensorInfo] = {}
    for shard in shards:
        found = read_shard_header(functools.partial(source.read, shard), source.size(shard), shard)
        for name, tensor in found.items():
            if name in tensors:
                raise CheckpointError(f"is also in {tensors[name].file}", file=shard, tensor=name)
            tensors[name] = tensor
    for name, shard in listed.items():
        if name not in tensors or tensors[name].file != shard:
            raise CheckpointError(f"is not there, though {INDEX} says so", file=shard, tensor=name)
    return Checkpoint(source, config, tensors, shards)


def read_json(source: Source, file: str) -> dict[str, Any]:
    """A JSON object from a small file of the checkpoint. Raises CheckpointError."""
    limit = MAX_JSON.get(file, 4 << 20)
    size = source.size(file)
    if size > limit:  # before it is opened, which may be to fetch it
        raise CheckpointError(
            f"is {size:,} bytes long; more than {limit:,} cannot be right", file=file
        )
    with source.open(file) as opened:
        try:
            data = opened.read(size)
            value = json.loads(data.decode())
            if (
                b"\\ud" in data or b"\\uD" in data
            ):  # half a surrogate pair is no text: it cannot be written anywhere
                json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as e:
            raise CheckpointError(f"is not valid JSON ({e})", file=file) from None
    if not isinstance(value, dict):
        raise CheckpointError("is not a JSON object", file=file)
    return value


def _weight_map(index: dict[str, Any]) -> dict[str, str]:
    listed = index.get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise CheckpointError("has no weight_map", file=INDEX)
    for name, shard in listed.items():
        if not name.isprintable() or len(name) > MAX_NAME:
            raise CheckpointError(f"has a tensor with an unusable name {name[:80]!r}", file=INDEX)
        if (
            not isinstance(shard, str)
            or not is_plain_name(shard)
            or not shard.endswith(".safetensors")
        ):
            raise CheckpointError(
                f"points to {short_repr(shard)}, which is not a shard of this checkpoint",
                file=INDEX,
                tensor=name,
            )
    return listed
