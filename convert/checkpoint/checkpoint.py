"""A checkpoint as its headers describe it: configuration, and the place of every tensor.

No weights are read.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dslocal.convert.architectures import Architecture, find_architecture
from dslocal.errors import CheckpointError
from dslocal.types import FileRange

from .config import Config, short_repr
from .json_file import read_json
from .prequantized import require_original, require_original_tensors
from .refusals import CONFIG, config_error, require_tokenizer, require_tokenizer_name
from .safetensors import (
    E8M0,
    FP4,
    FP4_BLOCK,
    FP8,
    MAX_NAME,
    TensorInfo,
    read_shard_header,
)
from .shards import find_shards, index_file
from .source import Source, is_plain_name

V3_SCALE = "_scale_inv"
SCALE_TYPES = {FP8: ("F32", E8M0), FP4: (E8M0,)}


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
            raise self._missing(name)
        return found

    def _missing(self, name: str) -> CheckpointError:
        """Return the error for a tensor that is not there, with what may be it."""
        similar = next((other for other in self.tensors if other.endswith(f".{name}")), None)
        hint = ""
        if similar is not None:  # torch.compile, DDP and PEFT put a prefix before every name
            hint = f"the checkpoint has {similar}: unwrap the model before you save it"
        elif name == "lm_head.weight":
            hint = (
                "if the model ties its embeddings, set tie_word_embeddings to true in config.json"
            )
        return CheckpointError("is missing from the checkpoint", tensor=name, hint=hint)

    def require(self, name: str, shape: tuple[int, ...], published: str = "") -> None:
        """Raise CheckpointError unless there is a tensor of that name and shape.

        ``published`` plays no role: copies of a checkpoint have other types.
        """
        tensor = self.tensor(name)
        if tensor.shape != shape:
            raise CheckpointError(
                f"is {list(tensor.shape)}; config.json makes it {list(shape)}",
                file=tensor.file,
                tensor=name,
            )

    def require_each(
        self, pattern: str, count: int, shape: tuple[int, ...], published: str = ""
    ) -> Iterator[str]:
        """Yield the names of experts, each required before the next.

        One by one, since config.json may claim any number.

        Args:
            pattern: The name, with ``{e}`` for the number.
            count: How many there must be.
            shape: The shape of each.
            published: As in :meth:`require`.

        Raises:
            CheckpointError: One is missing or of another shape.
        """
        for e in range(count):
            name = pattern.format(e=e)
            self.require(name, shape, published)
            yield name

    def dtype_of(self, name: str, published: str) -> str:
        """Return a tensor's type; ``published`` plays no role. Raises CheckpointError."""
        return self.tensor(name).dtype

    def have_same_data(self, one: str, other: str) -> bool:
        """Return whether two tensors have the same type, shape and bytes."""
        a, b = self.tensor(one), self.tensor(other)
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return False
        return self.source.same(
            FileRange(a.file, a.start, a.nbytes), FileRange(b.file, b.start, b.nbytes)
        )

    def scale_name(self, tensor: TensorInfo) -> str:
        """Return the name that the scales of an FP8 or FP4 weight have, or should have.

        V3 calls those of ``x.weight`` ``x.weight_scale_inv``, V4 ``x.scale``.
        """
        is_v3 = tensor.name.startswith(("model.", "lm_head."))
        return tensor.name + V3_SCALE if is_v3 else tensor.name.removesuffix("weight") + "scale"

    def scale_of(self, tensor: TensorInfo) -> TensorInfo:
        """Return the scales of an FP8 or FP4 weight.

        FP8: float32 or E8M0 ``[ceil(rows/128), ceil(cols/128)]``. FP4: E8M0 ``[rows, cols/32]``.

        Raises:
            CheckpointError: They are missing, or of another type or shape.
        """
        rows, cols = (1, FP4_BLOCK) if tensor.dtype == FP4 else self.config.fp8_block
        name = self.scale_name(tensor)
        kind = "FP4" if tensor.dtype == FP4 else "FP8"
        scale = self.tensors.get(name)
        if scale is None:
            suffix = V3_SCALE if name.endswith(V3_SCALE) else ".scale"
            raise CheckpointError(
                f"is {kind} and its {suffix} is missing", file=tensor.file, tensor=tensor.name
            )
        if tensor.dtype == FP4 and tensor.shape[1] % FP4_BLOCK:
            raise CheckpointError(
                f"is FP4 with {tensor.shape[1]} columns; a multiple of {FP4_BLOCK} is needed",
                file=tensor.file,
                tensor=tensor.name,
            )
        expected = (-(-tensor.shape[0] // rows), -(-tensor.shape[1] // cols))
        types = ("F32",) if name.endswith(V3_SCALE) else SCALE_TYPES[tensor.dtype]
        if scale.shape != expected or scale.dtype not in types:
            raise CheckpointError(
                f"is {scale.dtype} {list(scale.shape)}; "
                f"{' or '.join(types)} {list(expected)} is needed for {list(tensor.shape)}",
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
    if not source.exists(CONFIG) and CONFIG not in source.files():
        raise config_error(source)
    config = Config(read_json(source, CONFIG), CONFIG)
    require_original(config, files=source.files(), source=source)
    architecture = find_architecture(config)
    require_tokenizer(source)
    index = index_file(source)
    shard_of = _weight_map(read_json(source, index), index) if index else {}
    shards = find_shards(source, index, shard_of)
    source.expect(shards.names)
    tensors = _read_headers(source, shards.names)
    for name, shard in shards.shard_of.items():
        if name not in tensors and _may_be_absent(name, config, architecture):
            continue
        if name not in tensors or tensors[name].file != shard:
            raise CheckpointError(
                f"is not there, although {index} lists it", file=shard, tensor=name
            )
    require_original_tensors(tensors, config, source)
    return Checkpoint(source, config, tensors, shards.names, shards.notices)


def require_convertible(config: Mapping[str, Any], files: Collection[str], name: str) -> None:
    """Refuse a published checkpoint that :func:`open_checkpoint` would, before it is fetched.

    Args:
        config: The content of its config.json.
        files: The names of its files.
        name: What it is called.

    Raises:
        CheckpointError: It has no tokenizer that can be read.
        UnsupportedModelError: It is of a kind that cannot be converted.
    """
    checked = Config(dict(config), CONFIG)
    require_original(checked, files=files, name=name)
    find_architecture(checked)
    require_tokenizer_name(files)


def _may_be_absent(name: str, config: Config, architecture: Architecture) -> bool:
    """Return whether a tensor that an index lists need not be there.

    That is what can be left out, such as the MTP layer that transformers does not save again, and
    block scales, which a script that makes bf16 of FP8 may leave in the index.
    """
    return name.endswith(V3_SCALE) or architecture.is_ignored(config, False, name)


def _read_headers(source: Source, shards: tuple[str, ...]) -> dict[str, TensorInfo]:
    """Return the tensors of all shards by name. Raises CheckpointError."""
    tensors: dict[str, TensorInfo] = {}
    for shard in shards:
        found = read_shard_header(functools.partial(source.read, shard), source.size(shard), shard)
        for name, tensor in found.items():
            if name in tensors:
                raise CheckpointError(f"is also in {tensors[name].file}", file=shard, tensor=name)
            tensors[name] = _unpacked(tensor)
    return tensors


def _unpacked(tensor: TensorInfo) -> TensorInfo:
    """Return an expert that is stored as two FP4 weights a byte with the shape of its weights."""
    is_fp4 = tensor.dtype == "I8" and len(tensor.shape) == 2 and ".experts." in tensor.name
    if not is_fp4:
        return tensor
    rows, columns = tensor.shape
    return tensor._replace(dtype=FP4, shape=(rows, 2 * columns))


def _weight_map(index: dict[str, Any], file: str) -> dict[str, str]:
    """Return the index's map of tensor names to shards. Raises CheckpointError."""
    shard_of = index.get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of:
        raise CheckpointError("has no weight_map", file=file)
    found: dict[str, str] = {}
    for name, shard in shard_of.items():
        if not name.isprintable() or len(name) > MAX_NAME:
            raise CheckpointError(f"has a tensor with an unusable name {name[:80]!r}", file=file)
        plain = shard.removeprefix("./") if isinstance(shard, str) else ""
        if not _is_shard_name(plain):
            raise CheckpointError(
                f"points to {short_repr(shard)}, which is not a shard of this checkpoint",
                file=file,
                tensor=name,
            )
        found[name] = plain
    return found


def _is_shard_name(file: str) -> bool:
    return is_plain_name(file) and file.endswith(".safetensors")
