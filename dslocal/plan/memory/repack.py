"""Which weights of a model llama.cpp rearranges for a CPU, and what that takes.

A rearranged weight is a copy in memory of its own, so that the file's pages are not needed any
more: the model is then read, not mapped, and nothing is there twice. What is rearranged comes from
ggml (:mod:`dslocal.gguf.cpu_repack`); llama.cpp's src/llama-model-loader.cpp says in which product
each weight is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dslocal.gguf.cpu_repack import RepackedType
from dslocal.gguf.header import GgufHeader, GgufTensor
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig

from . import dspark
from .placement import EMBEDDINGS, OUTPUT, placed_tensors
from .shape import routed_layer_of

# What ggml's plain buffer type rearranges for usual processors, for machines that are not here.
# Source: ggml/src/ggml-cpu/repack.cpp, ggml_repack_get_optimal_repack_type.
X86 = tuple(
    RepackedType(kind, rows=8, experts=True)
    for kind in (GgmlType.Q4_0, GgmlType.Q4_K, GgmlType.IQ4_NL, GgmlType.MXFP4)
)
ARM = tuple(
    RepackedType(kind, rows=8 if kind.block == 256 else 4, experts=True)
    for kind in (
        GgmlType.Q4_0,
        GgmlType.Q8_0,
        GgmlType.Q4_K,
        GgmlType.Q5_K,
        GgmlType.Q6_K,
        GgmlType.IQ4_NL,
        GgmlType.MXFP4,
    )
)
MIN_SHARE = 0.2  # of the weights: for less, a mapped file that processes share is worth more


def repacked_share(
    header: GgufHeader, load_config: LoadConfig, types: Iterable[RepackedType]
) -> float:
    """Return the share of the bytes of weights in RAM that are rearranged."""
    repacked = sum(
        tensor.nbytes
        for tensor, _ in _repacked(header, load_config, types)
        if tensor.name != EMBEDDINGS
    )
    total = sum(
        tensor.nbytes for tensor, on_gpu in placed_tensors(header, load_config) if not on_gpu
    )
    return repacked / total if total else 0.0


def repack_growth(
    header: GgufHeader, load_config: LoadConfig, types: Iterable[RepackedType]
) -> int:
    """Return the bytes that rearranged weights take beyond those of the file.

    Embeddings that are the output too are there twice: as they are for looking up a token, and
    rearranged for the product at the end.
    """
    extra = 0.0
    for tensor, how in _repacked(header, load_config, types):
        growth = how.growth if tensor.name == EMBEDDINGS else how.growth - 1
        extra += tensor.nbytes * growth
    return round(extra)


def _is_routed(tensor: GgufTensor) -> bool:
    """Return whether a tensor is a stack of routed experts, DSpark's among them."""
    return routed_layer_of(tensor.name.removeprefix(dspark.PREFIX)) is not None


def _repacked(
    header: GgufHeader, load_config: LoadConfig, types: Iterable[RepackedType]
) -> Iterator[tuple[GgufTensor, RepackedType]]:
    """Yield the tensors in RAM that are rearranged, and how."""
    by_type = {how.type: how for how in types}
    has_output = any(tensor.name == OUTPUT for tensor in header.tensors)
    for tensor, on_gpu in placed_tensors(header, load_config):
        how = by_type.get(tensor.type)
        if on_gpu or how is None or len(tensor.shape) < 2 or tensor.shape[1] % how.rows:
            continue
        if tensor.name == EMBEDDINGS and has_output:
            continue
        if len(tensor.shape) > 2 and (not how.experts or not _is_routed(tensor)):
            continue
        yield tensor, how
