"""A checkpoint as its headers describe it: configuration, and the place of every tensor.

No weights are read.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from dslocal.convert.architectures import find_architecture
from dslocal.errors import CheckpointError
from dslocal.types import FileRange

from .config import Config, short_repr
from .json_file import read_json
from .prequantized import require_original, require_original_tensors
from .refusals import CONFIG, config_error, require_tokenizer
from .safetensors import MAX_NAME, TensorInfo, read_shard_header
from .shards import find_shards, index_file
from .source import Source, is_plain_name

SCALE_SUFFIX = "_scale_inv"
FP8 = "F8_E4M3"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose headers have been read and agree.

    ``tensors`` are those of all shards, by Hugging Face name; ``shards`` are in order; ``notices``
    are for the user.
    """

    source: Source
    config: Config
    tensors: dict[str, TensorInfo]
    shards: tuple[str, ...]
    notices: tuple[str, ...] = ()

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

    What makes the whole checkpoint unusable is said before anything else is read: that it is an
    adapter, quantized already, of another family, or without a tokenizer.

    Raises:
        CheckpointError: A file is missing, damaged or hostile, or two contradict each other.
        UnsupportedModelError: It is of a kind that cannot be converted.
    """
    if CONFIG not in source.files():
        raise config_error(source)
    config = Config(read_json(source, CONFIG), CONFIG)
    require_original(config, source=source)
    find_architecture(config)
    require_tokenizer(source)
    index = index_file(source)
    shard_of = _weight_map(read_json(source, index), index) if index else {}
    shards = find_shards(source, index, shard_of)
    source.expect(shards.names)
    tensors = _read_headers(source, shards.names)
    for name, shard in shards.shard_of.items():
        if name not in tensors or tensors[name].file != shard:
            raise CheckpointError(f"is not there, though {index} says so", file=shard, tensor=name)
    require_original_tensors(tensors, config, source)
    return Checkpoint(source, config, tensors, shards.names, shards.notices)


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


def _weight_map(index: dict[str, Any], file: str) -> dict[str, str]:
    """Return the index's map of tensor names to shards. Raises CheckpointError."""
    shard_of = index.get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of:
        raise CheckpointError("has no weight_map", file=file)
    for name, shard in shard_of.items():
        if not name.isprintable() or len(name) > MAX_NAME:
            raise CheckpointError(f"has a tensor with an unusable name {name[:80]!r}", file=file)
        if not isinstance(shard, str) or not _is_shard_name(shard):
            raise CheckpointError(
                f"points to {short_repr(shard)}, which is not a shard of this checkpoint",
                file=file,
                tensor=name,
            )
    return shard_of


def _is_shard_name(file: str) -> bool:
    return is_plain_name(file) and file.endswith(".safetensors")
