"""A GGUF model as the source of a conversion: its header is the config, its files are the shards.

Weights that are quantized already are decoded as llama.cpp decodes them. Knows nothing of recipes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dslocal.convert.architectures import ARCHITECTURES
from dslocal.convert.architectures.mapping import Architecture, MappedTensor, SourceRows
from dslocal.convert.checkpoint.checkpoint import Checkpoint
from dslocal.convert.checkpoint.config import Config
from dslocal.convert.checkpoint.safetensors import TensorInfo
from dslocal.convert.checkpoint.source import FolderSource
from dslocal.convert.quantize import QUANTIZABLE
from dslocal.convert.recipes.recipe import tensor_order
from dslocal.errors import CheckpointError, UnsupportedModelError
from dslocal.gguf.header import GgufHeader, GgufTensor
from dslocal.gguf.parts import model_stem, read_parts
from dslocal.gguf.tensor_types import GgmlType

V4 = "deepseek4"
READABLE = frozenset({*QUANTIZABLE, GgmlType.I32})


@dataclass(frozen=True, kw_only=True)
class GgufModel(Checkpoint):
    """A model in GGUF files whose headers have been read.

    Its tensors have their GGUF names, ggml's types and two dimensions: the rows of stacked
    matrices follow each other.
    """

    header: GgufHeader
    path: Path

    @property
    def arch(self) -> str:
        """Return llama.cpp's name of the architecture."""
        return self.header.architecture

    def mapped(self) -> tuple[MappedTensor, ...]:
        """Return the tensors as they are written, in llama-quantize's order."""
        mapped = [_mapped(tensor, is_v4=self.arch == V4) for tensor in self.header.tensors]
        return tuple(sorted(mapped, key=lambda tensor: tensor_order(tensor.name)))

    def raw_values(self) -> Iterator[tuple[str, bytes]]:
        """Yield the metadata in order, each with its type and value as they are in the file."""
        with self.path.open("rb") as file:
            data = file.read(self.header.data_start)
        for key, span in self.header.value_spans.items():
            yield key, data[span]


class _GgufFiles(FolderSource):
    """The files of one model. Links lead where they lead: the user named the first of them."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        super().__init__(files[0].parent)
        self._files = {file.name: file for file in files}

    @property
    def name(self) -> str:
        """Return the model's name, without ``.gguf`` and the number of the part."""
        return model_stem(next(iter(self._files)))

    def open(self, file: str) -> BinaryIO:
        """Open one of the files. Raises CheckpointError where it cannot be read."""
        try:
            return self._files[file].open("rb")
        except OSError as e:
            raise CheckpointError(f"cannot be read: {e.strerror}", file=file) from e


def open_gguf(path: Path) -> GgufModel:
    """Read the headers of a GGUF model, all parts of it.

    Raises:
        NotFoundError: A file is missing.
        GgufError: A file is damaged, or is not a model.
        UnsupportedModelError: It is of an architecture or in types that are not requantized.
    """
    files, header = read_parts(path)
    source = _GgufFiles(files)
    _require_known(header, source.name)
    config = Config({"n_routed_experts": header.of_arch("expert_count", 1)}, files[0].name)
    tensors = {info.name: info for info in _tensor_infos(files, header)}
    shards = tuple(file.name for file in files)
    return GgufModel(source, config, tensors, shards, header=header, path=files[0])


def architecture_of(model: GgufModel) -> Architecture:
    """Return the table of a model's architecture, by llama.cpp's name of it."""
    return next(known for known in ARCHITECTURES if known.arch == model.arch)


def _require_known(header: GgufHeader, name: str) -> None:
    """Raise UnsupportedModelError unless the recipes' rules cover a model."""
    known = dict.fromkeys(architecture.arch for architecture in ARCHITECTURES)
    if header.architecture not in known:
        raise UnsupportedModelError(
            f"{header.architecture!r:.80} is not an architecture that dslocal quantizes",
            file=name,
            hint=f"it quantizes DeepSeek's: {', '.join(known)}",
        )
    for tensor in header.tensors:
        if tensor.type not in READABLE:
            raise UnsupportedModelError(
                f"is {tensor.type.name}, which is not a type of weights",
                file=name,
                tensor=tensor.name,
            )
        if len(tensor.shape) > 3 and tensor.shape[3] > 1:
            raise UnsupportedModelError(
                f"has the shape {list(tensor.shape)}; at most stacked matrices are quantized",
                file=name,
                tensor=tensor.name,
            )


def _tensor_infos(files: tuple[Path, ...], header: GgufHeader) -> Iterator[TensorInfo]:
    """Yield where every tensor lies, with its rows in two dimensions."""
    from dslocal.gguf.header import read_header

    for file in files:
        own = header if len(files) == 1 else read_header(file)
        for tensor in own.tensors:
            columns = tensor.shape[0]
            yield TensorInfo(
                tensor.name,
                tensor.type.name,
                (tensor.elements // columns, columns),
                file.name,
                own.data_start + tensor.offset,
                tensor.nbytes,
            )


def _mapped(tensor: GgufTensor, *, is_v4: bool) -> MappedTensor:
    """Return a tensor as it is written: from its own rows, slice by slice."""
    shape = tensor.shape[::-1][-3:]
    slices = shape[0] if len(shape) > 2 else 1
    rows = tensor.elements // tensor.shape[0] // slices
    sources = tuple(SourceRows(tensor.name, n * rows, (n + 1) * rows) for n in range(slices))
    native = tensor.type if is_v4 else None
    return MappedTensor(tensor.name, shape, sources, native=native, stored=tensor.type)
