"""A checkpoint as its headers describe it: configuration, and the place of every tensor.

No weights are read.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from dslocal.errors import CheckpointError
from dslocal.types import FileRange

from .config import Config, short_repr
from .safetensors import MAX_NAME, TensorInfo, read_shard_header
from .source import Source, is_plain_name

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
MAX_SHARDS = 10_000
MAX_JSON_BYTES = 4 << 20
MAX_JSON_BYTES_OF = {INDEX: 64 << 20, "tokenizer.json": 64 << 20}
SCALE_SUFFIX = "_scale_inv"
FP8 = "F8_E4M3"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose headers have been read and agree.

    ``tensors`` are those of all shards, by Hugging Face name; ``shards`` are in order.
    """

    source: Source
    config: Config
    tensors: dict[str, TensorInfo]
    shards: tuple[str, ...]

    @property
    def names(self) -> Collection[str]:
        """Return the Hugging Face names of all tensors."""
        return self.tensors.keys()

    def tensor(self, name: str) -> TensorInfo:
        """Return where a tensor lies. Raises CheckpointError where there is none."""
        found = self.tensors.get(name)
        if found is None:
            raise CheckpointError("is missing from the checkpoint", tensor=name)
        return found

    def require(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise CheckpointError unless there is a tensor of that name and shape."""
        tensor = self.tensor(name)
        if tensor.shape != shape:
            raise CheckpointError(
                f"is {list(tensor.shape)}; config.json makes it {list(shape)}",
                file=tensor.file,
                tensor=name,
            )

    def require_each(self, pattern: str, count: int, shape: tuple[int, ...]) -> Iterator[str]:
        """Yield the names of experts, each required before the next.

        One by one, since config.json may claim any number.

        Args:
            pattern: The name, with ``{e}`` for the number.
            count: How many there must be.
            shape: The shape of each.

        Raises:
            CheckpointError: One is missing or of another shape.
        """
        for e in range(count):
            name = pattern.format(e=e)
            self.require(name, shape)
            yield name

    def have_same_data(self, one: str, other: str) -> bool:
        """Return whether two tensors have the same type, shape and bytes."""
        a, b = self.tensor(one), self.tensor(other)
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return False
        return self.source.same(
            FileRange(a.file, a.start, a.nbytes), FileRange(b.file, b.start, b.nbytes)
        )

    def scale_of(self, tensor: TensorInfo) -> TensorInfo:
        """Return the block scales of an FP8 weight: float32 ``[ceil(rows/128), ceil(cols/128)]``.

        Raises:
            CheckpointError: They are missing, or of another type or shape.
        """
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
                f"is {scale.dtype} {list(scale.shape)}; "
                f"F32 {list(expected)} is needed for {list(tensor.shape)}",
                file=scale.file,
                tensor=name,
            )
        return scale


def open_checkpoint(source: Source) -> Checkpoint:
    """Read every header of a checkpoint, and check them against each other.

    Raises:
        CheckpointError: A file is missing, damaged or hostile, or two contradict each other.
    """
    config = Config(read_json(source, "config.json"), "config.json")
    shard_of: dict[str, str] = {}
    if source.exists(INDEX):
        shard_of = _weight_map(read_json(source, INDEX))
        shards = tuple(dict.fromkeys(shard_of.values()))
    else:
        shards = (SINGLE,)
    if len(shards) > MAX_SHARDS:
        raise CheckpointError(
            f"lists {len(shards):,} shards; more than {MAX_SHARDS:,} cannot be right", file=INDEX
        )
    for shard in shards:
        if not source.exists(shard):
            source.open(shard).close()  # raises the error that says why
    source.expect(shards)
    tensors = _read_headers(source, shards)
    for name, shard in shard_of.items():
        if name not in tensors or tensors[name].file != shard:
            raise CheckpointError(f"is not there, though {INDEX} says so", file=shard, tensor=name)
    return Checkpoint(source, config, tensors, shards)


def _read_headers(source: Source, shards: tuple[str, ...]) -> dict[str, TensorInfo]:
    """Return the tensors of all shards by name. Raises CheckpointError."""
    tensors: dict[str, TensorInfo] = {}
    for shard in shards:
        found = read_shard_header(functools.partial(source.read, shard), source.size(shard), shard)
        for name, tensor in found.items():
            if name in tensors:
                raise CheckpointError(f"is also in {tensors[name].file}", file=shard, tensor=name)
            tensors[name] = tensor
    return tensors


def read_json(source: Source, file: str) -> dict[str, Any]:
    """Read a small file of the checkpoint that is one JSON object.

    Raises:
        CheckpointError: It is missing, too large, or not a JSON object that can be written again.
    """
    limit = MAX_JSON_BYTES_OF.get(file, MAX_JSON_BYTES)
    size = source.size(file)
    if size > limit:  # before it is opened, which may be to fetch it
        raise CheckpointError(
            f"is {size:,} bytes long; more than {limit:,} cannot be right", file=file
        )
    with source.open(file) as opened:
        try:
            data = opened.read(size)
            value = json.loads(data.decode())
            if b"\\ud" in data or b"\\uD" in data:
                # half a surrogate pair is not text: encoding it raises a ValueError
                json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as e:
            raise CheckpointError(f"is not valid JSON ({e})", file=file) from None
    if not isinstance(value, dict):
        raise CheckpointError("is not a JSON object", file=file)
    return value


def _weight_map(index: dict[str, Any]) -> dict[str, str]:
    """Return the index's map of tensor names to shards. Raises CheckpointError."""
    shard_of = index.get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of:
        raise CheckpointError("has no weight_map", file=INDEX)
    for name, shard in shard_of.items():
        if not name.isprintable() or len(name) > MAX_NAME:
            raise CheckpointError(f"has a tensor with an unusable name {name[:80]!r}", file=INDEX)
        if not isinstance(shard, str) or not _is_shard_name(shard):
            raise CheckpointError(
                f"points to {short_repr(shard)}, which is not a shard of this checkpoint",
                file=INDEX,
                tensor=name,
            )
    return shard_of


def _is_shard_name(file: str) -> bool:
    return is_plain_name(file) and file.endswith(".safetensors")
