"""Where in a model's files the bytes of every routed expert are.

A tensor of routed experts holds them one after the other, each as long as the others: expert ``n``
of ``blk.L.ffn_gate_exps`` begins ``n`` times that length behind the tensor's own begin. Files of a
split model, those of ``--split-experts`` among them, have headers of their own.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dslocal.errors import GgufError
from dslocal.gguf.header import GgufHeader, GgufTensor, read_header
from dslocal.gguf.parts import read_parts
from dslocal.gguf.tensor_names import ROUTED_EXPERTS, layer_of, tensor_class
from dslocal.plan.memory.shape import routed_layer_of

PAGE = mmap.PAGESIZE
WEIGHT = ".weight"  # the end of a matrix's name; experts may have biases besides


class Extent(NamedTuple):
    """A piece of a file: ``nbytes`` from byte ``start`` of the file with that number."""

    file: int
    start: int
    nbytes: int

    def whole_pages(self) -> Extent:
        """Return the pages that lie in it whole."""
        start = -(-self.start // PAGE) * PAGE
        end = (self.start + self.nbytes) // PAGE * PAGE
        return Extent(self.file, start, max(0, end - start))

    def covering_pages(self) -> Extent:
        """Return the pages that it lies on; the first and the last may hold other bytes too."""
        start = self.start // PAGE * PAGE
        end = -(-(self.start + self.nbytes) // PAGE) * PAGE
        return Extent(self.file, start, end - start)


@dataclass(frozen=True, slots=True, eq=False)  # by identity: it is a key, hundreds of times a token
class ExpertTensor:
    """One matrix of all routed experts of a layer.

    Attributes:
        name: the tensor's name, such as ``blk.3.ffn_gate_exps.weight``.
        layer: its layer.
        file: the number of its file.
        start: the byte of that file at which the first expert begins.
        expert_bytes: the bytes of one expert.
        n_experts: how many there are.
    """

    name: str
    layer: int
    file: int
    start: int
    expert_bytes: int
    n_experts: int

    @property
    def nbytes(self) -> int:
        """Return the bytes of all experts."""
        return self.n_experts * self.expert_bytes

    def extent(self, expert: int) -> Extent:
        """Return where one expert is."""
        return Extent(self.file, self.start + expert * self.expert_bytes, self.expert_bytes)


class StoredTensor(NamedTuple):
    """Any tensor, as the header has it, and where it is."""

    tensor: GgufTensor
    extent: Extent


@dataclass(frozen=True)
class ExpertLayout:
    """The experts of a model, and what else its files hold.

    Attributes:
        files: the model's files in order.
        sizes: how many bytes each must have at least.
        layers: the tensors of each layer that has routed experts.
        tensors: all tensors by name.
    """

    files: tuple[Path, ...]
    sizes: tuple[int, ...]
    layers: Mapping[int, tuple[ExpertTensor, ...]]
    tensors: Mapping[str, StoredTensor]

    @property
    def expert_bytes(self) -> int:
        """Return the bytes of all routed experts."""
        return sum(tensor.nbytes for layer in self.layers.values() for tensor in layer)


def read_layout(path: Path, header: GgufHeader | None = None) -> ExpertLayout:
    """Read where the experts of the model at ``path`` are.

    Args:
        path: the model's file, or any of its parts.
        header: the model's header, where it has been read already. Of a split model the headers of
            all parts are read again: a joined one does not say where each part begins.

    Raises:
        GgufError: a file is damaged or cut off; the message names it.
        NotFoundError: a file is missing.
    """
    if header is not None and header.integer("split.count", 1) <= 1:
        return layout_of((path,), (header,))
    files, header = read_parts(path)
    headers = [header] if len(files) == 1 else [read_header(file) for file in files]
    return layout_of(files, headers)


def layout_of(files: Sequence[Path], headers: Sequence[GgufHeader]) -> ExpertLayout:
    """Return the layout of ``files`` with these headers, each the file's own.

    Raises:
        GgufError: a tensor of experts does not hold equally long ones.
    """
    layers: dict[int, list[ExpertTensor]] = {}
    tensors: dict[str, StoredTensor] = {}
    for number, tensor, start in _placed(headers):
        tensors[tensor.name] = StoredTensor(tensor, Extent(number, start, tensor.nbytes))
        if not _is_matrix_of_experts(tensor):
            continue
        expert_bytes, rest = divmod(tensor.nbytes, tensor.shape[2])
        if rest:
            raise GgufError(f"{files[number].name}: {tensor.name}: its experts differ in size")
        layers.setdefault(layer_of(tensor.name), []).append(
            ExpertTensor(
                tensor.name,
                layer_of(tensor.name),
                number,
                start,
                expert_bytes,
                tensor.shape[2],
            )
        )
    return ExpertLayout(
        files=tuple(files),
        sizes=tuple(header.file_size for header in headers),
        layers={layer: tuple(found) for layer, found in sorted(layers.items())},
        tensors=tensors,
    )


def _placed(headers: Iterable[GgufHeader]) -> Iterator[tuple[int, GgufTensor, int]]:
    """Yield each tensor with the number of its file and the byte at which it begins there."""
    for number, header in enumerate(headers):
        for tensor in header.tensors:
            yield number, tensor, header.data_start + tensor.offset


def _is_matrix_of_experts(tensor: GgufTensor) -> bool:
    return (
        routed_layer_of(tensor.name) is not None
        and tensor_class(tensor.name) == ROUTED_EXPERTS
        and tensor.name.endswith(WEIGHT)
        and len(tensor.shape) == 3
    )
