"""The whole conversion, laid out from headers alone: every output's tensors and metadata, and the
units of work.

One read of the source can feed several outputs (recipes), each of one or more files; a unit of work
carries all the places that its rows go to.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dslocal.convert.architectures.mapping import Architecture, MappedTensor, SourceRows, Transform
from dslocal.convert.checkpoint.checkpoint import Checkpoint
from dslocal.convert.checkpoint.config import Config
from dslocal.convert.checkpoint.safetensors import TensorInfo
from dslocal.convert.checkpoint.tokenizer import tokenizer_metadata
from dslocal.convert.output.layout import FileLayout, Split, header_size, lay_out
from dslocal.convert.output.metadata import general_metadata, imatrix_metadata, provenance
from dslocal.convert.recipes.imatrix import Imatrix
from dslocal.convert.recipes.named import ModelTraits, Recipe, needs_imatrix, tensor_order
from dslocal.errors import UnsupportedModelError, UsageError
from dslocal.gguf.tensor_types import GgmlType

from .architectures import ARCHITECTURES
from .quantize import CONVERTIBLE

UNIT_WEIGHTS = (
    1 << 20
)  # weights in a unit of work: small enough for the cache, large enough that Python costs nothing


class Destination(NamedTuple):
    """Where rows go: ``file`` counts the layouts of all outputs, ``offset`` bytes from the start of
    its data section.

    ``rounded``: FP8 values are rounded to bf16 first, as when llama.cpp quantizes from a bf16 file.
    """

    file: int
    kind: GgmlType
    offset: int
    rounded: bool


class WorkUnit(NamedTuple):
    """Rows of one source tensor that become consecutive rows of one GGUF tensor. ``slice`` counts
    its experts or heads.
    """

    source: TensorInfo
    start: int
    stop: int
    op: Transform
    name: str
    slice: int
    targets: tuple[Destination, ...]

    @property
    def nbytes(self) -> int:
        """Bytes to read."""
        return (self.stop - self.start) * self.row_bytes

    @property
    def row_bytes(self) -> int:
        return self.source.nbytes // self.source.shape[0]

    @property
    def weights(self) -> int:
        return (self.stop - self.start) * _columns(self.source)


@dataclass(frozen=True)
class PlannedOutput:
    """One recipe's GGUF: ``metadata`` in file order, ``files`` in the order of their numbers."""

    recipe: Recipe
    metadata: tuple[tuple[str, Any], ...]
    files: tuple[FileLayout, ...]


@dataclass(frozen=True)
class ConversionPlan:
    """What a conversion will do. ``warnings`` are for the user, before it starts."""

    checkpoint: Checkpoint
    architecture: Architecture
    tensors: tuple[MappedTensor, ...]
    outputs: tuple[PlannedOutput, ...]
    imatrix: Imatrix | None
    warnings: tuple[str, ...]

    @property
    def layouts(self) -> list[FileLayout]:
        """All files of all outputs, as :class:`Destination` counts them."""
        return [layout for output in self.outputs for layout in output.files]

    @property
    def shards(self) -> tuple[str, ...]:
        """The shards that are read, in order."""
        return tuple(shard for shard in self.checkpoint.shards if shard in self._pieces)

    @property
    def source_bytes(self) -> int:
        """Bytes to be read."""
        sources = self.checkpoint.tensors
        return sum(
            (piece.stop - piece.start)
            * (sources[piece.source].nbytes // sources[piece.source].shape[0])
            for tensor in self.tensors
            for piece in tensor.pieces
        )

    @property
    def scales_elsewhere(self) -> list[TensorInfo]:
        """Block scales that lie in another shard than their weight, once each."""
        sources = self.checkpoint.tensors
        fp8 = {
            piece.source
            for tensor in self.tensors
            for piece in tensor.pieces
            if sources[piece.source].dtype == "F8_E4M3"
        }
        scales = {name: self.checkpoint.scale_of(sources[name]) for name in sorted(fp8)}
        return [scale for name, scale in scales.items() if scale.file != sources[name].file]

    def units(self, shard: str) -> Iterator[WorkUnit]:
        """The work that reads ``shard``, in the order in which its bytes lie."""
        for tensor, piece, index, before in self._pieces.get(shard, ()):
            yield from self._slabs(tensor, piece, index, before)

    def count(self, shard: str) -> int:
        """How many units read ``shard``."""
        return sum(
            -(-(piece.stop - piece.start) // self._step(piece))
            for _, piece, _, _ in self._pieces.get(shard, ())
        )

    def fingerprint(self) -> str:
        """Changes when anything that the bytes of the outputs depend on does, the source's files
        included.
        """
        seen = hashlib.sha256(f"{UNIT_WEIGHTS}".encode())
        for output in self.outputs:
            seen.update(
                repr(
                    (
                        output.metadata,
                        [
                            [(p.tensor.name, p.tensor.shape, p.kind, p.offset) for p in f.tensors]
                            for f in output.files
                        ],
                    )
                ).encode()
            )
        for shard in self.checkpoint.shards:
            seen.update(f"\0{shard}\0{self.checkpoint.source.identity(shard)}".encode())
        for name, values in sorted(self.imatrix.entries.items()) if self.imatrix else ():
            seen.update(name.encode() + values.tobytes())
        return seen.hexdigest()

    @functools.cached_property
    def _pieces(self) -> Mapping[str, Sequence[tuple[MappedTensor, SourceRows, int, int]]]:
        """By shard: GGUF tensor, piece, its number, and how many elements come before it."""
        found: dict[str, list[tuple[MappedTensor, SourceRows, int, int]]] = defaultdict(list)
        sources = self.checkpoint.tensors
        for tensor in self.tensors:
            before = 0
            slices = len(tensor.pieces) if len(tensor.shape) > 2 else 1
            for number, piece in enumerate(tensor.pieces):
                source = sources[piece.source]
                found[source.file].append((tensor, piece, number if slices > 1 else 0, before))
                before += (piece.stop - piece.start) * _columns(source)
        for pieces in found.values():
            pieces.sort(
                key=lambda p: (
                    sources[p[1].source].start
                    + p[1].start * (sources[p[1].source].nbytes // sources[p[1].source].shape[0])
                )
            )
        return found

    @functools.cached_property
    def _targets(self) -> Mapping[str, Sequence[Destination]]:
        """Where each GGUF tensor begins, in every output."""
        found: dict[str, list[Destination]] = defaultdict(list)
        numbers = itertools.count()
        for output in self.outputs:
            for number, layout in ((next(numbers), layout) for layout in output.files):
                for placed in layout.tensors:
                    rounded = output.recipe.quantizes or placed.kind.block > 1
                    found[placed.tensor.name].append(
                        Destination(number, placed.kind, placed.offset, rounded)
                    )
        return found

    def _slabs(
        self, tensor: MappedTensor, piece: SourceRows, index: int, before: int
    ) -> Iterator[WorkUnit]:
        source = self.checkpoint.tensors[piece.source]
        columns, step = _columns(source), self._step(piece)
        for start in range(piece.start, piece.stop, step):
            stop = min(start + step, piece.stop)
            targets = tuple(
                t._replace(offset=t.offset + t.kind.nbytes(before))
                for t in self._targets[tensor.name]
            )
            yield WorkUnit(source, start, stop, piece.op, tensor.name, index, targets)
            before += (stop - start) * columns

    def _step(self, piece: SourceRows) -> int:
        """Rows in a unit of work."""
        source = self.checkpoint.tensors[piece.source]
        whole = piece.op is not Transform.COPY or len(source.shape) < 2
        return piece.stop - piece.start if whole else max(1, UNIT_WEIGHTS // _columns(source))


def plan_conversion(
    checkpoint: Checkpoint,
    recipes: Sequence[Recipe],
    *,
    mtp: str = "keep",
    split: Split | None = None,
    imatrix: Imatrix | None = None,
) -> ConversionPlan:
    """Lays out the GGUFs of ``checkpoint``. ``mtp`` keeps, drops or extracts the
    multi-token-prediction layer.

    Raises UnsupportedModelError for an architecture that cannot be converted, CheckpointError for one that
    is damaged, UsageError when a recipe needs an importance matrix that is not there.
    """
    config = checkpoint.config
    architecture = architecture_of(config)
    extra = architecture.extra_layers(config) if mtp != "drop" else 0
    if mtp == "only" and not extra:
        raise UsageError(
            f"--mtp-only: {checkpoint.source.name} has no multi-token-prediction layer"
        )
    n_main = config.integer("num_hidden_layers")
    mapped = sorted(
        architecture.tensors(checkpoint, mtp != "drop"), key=lambda t: tensor_order(t.name)
    )
    if mtp == "only":
        mapped = [t for t in mapped if tensor_order(t.name)[0] not in range(n_main)]
    for tensor in mapped:
        for piece in tensor.pieces:
            _check_dtype(checkpoint, checkpoint.tensor(piece.source))
    own = [*architecture.metadata(config)]
    facts = model_traits(own, mapped, n_main, extra, architecture.arch, imatrix)
    architecture_keys = architecture_metadata(architecture.arch, own, n_main, extra)
    tokenizer = [*tokenizer_metadata(checkpoint.source, config)]
    outputs = []
    for recipe in recipes:
        general, matrix = general_metadata(checkpoint, recipe, mapped), imatrix_metadata(imatrix)
        metadata = (
            *general,
            *architecture_keys,
            *tokenizer,
            *matrix,
            *provenance(checkpoint, recipe),
        )
        types = recipe.assign(mapped, facts, header_size(architecture.arch, metadata, mapped))
        _require_imatrix(recipe, mapped, types, imatrix)
        outputs.append(PlannedOutput(recipe, metadata, lay_out(mapped, types, split or Split())))
    return ConversionPlan(
        checkpoint,
        architecture,
        tuple(mapped),
        tuple(outputs),
        imatrix,
        tuple(architecture.warnings(config)),
    )


def architecture_of(config: Config) -> Architecture:
    """Raises UnsupportedModelError for a model that cannot be converted."""
    architecture = next(
        (
            architecture
            for architecture in ARCHITECTURES
            if config.architecture in architecture.accepts
        ),
        None,
    )
    if architecture is None:
        known = "; ".join(f"{', '.join(f.accepts)} ({f.models})" for f in ARCHITECTURES)
        raise UnsupportedModelError(
            f"{config.architecture!r:.80} is not a family that dslocal converts",
            file=config.file,
            hint=f"known: {known}",
        )
    return architecture


def architecture_metadata(
    arch: str, own: Iterable[tuple[str, Any]], n_main: int, extra: int
) -> list[tuple[str, Any]]:
    """The keys that say what the model is; ``own`` are those that its architecture gives."""
    layers = [
        (f"{arch}.block_count", n_main + extra),
        *([(f"{arch}.nextn_predict_layers", extra)] if extra else []),
    ]
    return [*layers, *((arch + key if key.startswith(".") else key, value) for key, value in own)]


def model_traits(
    own: Sequence[tuple[str, Any]],
    mapped: Sequence[MappedTensor],
    n_main: int,
    extra: int,
    arch: str,
    imatrix: Imatrix | None,
) -> ModelTraits:
    values = dict(own)
    heads, kv_heads = values[".attention.head_count"], values[".attention.head_count_kv"]
    return ModelTraits(
        n_layer=n_main + extra,
        main_layers=n_main,
        gqa=heads // kv_heads,
        experts=values.get(".expert_count", 0),
        is_70b=n_main == 80 and (arch == "qwen2" or (arch == "llama" and heads != kv_heads)),
        tied=all(tensor.name != "output.weight" for tensor in mapped),
        has_imatrix=imatrix is not None,
    )


def _check_dtype(checkpoint: Checkpoint, tensor: TensorInfo) -> None:
    if tensor.dtype not in CONVERTIBLE:
        raise UnsupportedModelError(
            f"is {tensor.dtype}; weights in {', '.join(CONVERTIBLE)} can be converted",
            file=tensor.file,
            tensor=tensor.name,
        )
    if tensor.dtype == "F8_E4M3":
        if len(tensor.shape) != 2:
            raise UnsupportedModelError(
                "is FP8 and not a matrix", file=tensor.file, tensor=tensor.name
            )
        checkpoint.scale_of(tensor)


def _require_imatrix(
    recipe: Recipe,
    tensors: Sequence[MappedTensor],
    types: Mapping[str, GgmlType],
    imatrix: Imatrix | None,
) -> None:
    for tensor in tensors:
        known = imatrix is not None and tensor.name in imatrix.entries
        if needs_imatrix(tensor.name, types[tensor.name], recipe.name) and not known:
            why = (
                "which the importance matrix does not know"
                if imatrix
                else "so it needs an importance matrix"
            )
            raise UsageError(
                f"{recipe.name}: {tensor.name} becomes {types[tensor.name].name}, {why}",
                hint="--imatrix FILE, or a larger recipe",
            )
        if known and imatrix is not None and types[tensor.name].block > 1:
            slices = tensor.shape[0] if len(tensor.shape) > 2 else 1
            have, need = len(imatrix.entries[tensor.name]), tensor.columns * slices
            if have != need and tensor.name != "token_embd.weight":
                raise UsageError(
                    f"{imatrix.file}: {tensor.name}: has {have:,} values, {need:,} are needed",
                    hint="it was made for another model",
                )


def _columns(tensor: TensorInfo) -> int:
    return tensor.shape[-1] if len(tensor.shape) > 1 else 1
