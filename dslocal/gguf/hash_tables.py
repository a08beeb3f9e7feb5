"""Check V4's tables of experts by token id, in which a number can be damaged like any other byte.

llama.cpp does not check the numbers: if one is not the number of an expert, it aborts the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dslocal.errors import GgufError

from .header import GgufHeader, GgufTensor, read_header
from .parts import read_parts
from .tensor_names import HASH_TABLE
from .tensor_types import GgmlType

_HINT = "download or convert it again"


def require_hash_tables(path: Path, header: GgufHeader) -> None:
    """Check the tables of the model at ``path``, if it has any.

    Args:
        path: The model's file, or any of its parts.
        header: The model's header, with the tensors of all parts.

    Raises:
        GgufError: A table is not one of experts; the message names file and tensor.
    """
    if not any(tensor.name.endswith(HASH_TABLE) for tensor in header.tensors):
        return
    n_experts = header.of_arch("expert_count")
    for file, own in _files(path, header):
        for tensor in own.tensors:
            if tensor.name.endswith(HASH_TABLE):
                _check(file, own.data_start + tensor.offset, tensor, n_experts)


def _files(path: Path, header: GgufHeader) -> Iterator[tuple[Path, GgufHeader]]:
    """Yield a model's files, each with its own header, which says where its tensors begin."""
    if header.integer("split.count", 1) <= 1:
        yield path, header
        return
    for file in read_parts(path)[0]:
        yield file, read_header(file)


def _check(file: Path, start: int, tensor: GgufTensor, n_experts: int) -> None:
    """Raise GgufError if the table that begins at byte ``start`` is not one of experts."""
    where = f"{file.name}: {tensor.name[:80]}"
    if tensor.type is not GgmlType.I32:
        raise GgufError(
            f"{where}: llama.cpp does not compute with {tensor.type.name} there", hint=_HINT
        )
    try:
        with file.open("rb") as opened:
            numbers = np.fromfile(opened, "<i4", tensor.elements, offset=start)
    except OSError as e:
        raise GgufError(f"{file.name}: cannot be read: {e.strerror}") from e
    wrong = numbers[(numbers < 0) | (numbers >= n_experts)]
    if len(wrong):
        raise GgufError(f"{where}: has expert {wrong[0]:,}, of {n_experts:,}", hint=_HINT)
