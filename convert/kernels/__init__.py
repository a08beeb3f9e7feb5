"""Quantizers that work on many blocks at once, and write the same bytes as ggml's.

ggml's are chains of scalar operations, which no compiler may reorder. These do the same operations
in the same order, with one block in each lane of the processor's vectors (``lanes.h``), and are 5
to 15 times faster. They are C without a Python API, compiled when the package is installed, once
for each level of the processor; the best that this one can run is loaded. Where none was compiled,
ggml's are used: the bytes are the same.

A block that a kernel does not handle, such as one with a NaN, is handed to ggml by the kernel.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dslocal.gguf.tensor_types import GgmlType

from .ggml import (
    Bytes,
    Floats,
    dequantize_with_ggml,
    init_quantization,
    quantize_chunk,
    quantize_with_ggml,
)
from .grids import GRID_TYPES, grid_levels
from .stored_rows import SourceStruct, StoredRows, source_of

__all__ = [
    "X86_64",
    "Bytes",
    "Floats",
    "Kernels",
    "StoredRows",
    "arithmetic_of",
    "best_kernels",
    "compiled_levels",
    "dequantize_with_ggml",
    "init_quantization",
    "quantize_with_ggml",
]

# What kernels_processor_level() must return at least, by the name of the shared object. Best first.
_LEVELS = {"x86-64-v4": 4, "x86-64-v3": 3, "x86-64": 1, "baseline": 1}

X86_64 = "x86-64"
_INTERFACE = 2  # as kernels_interface returns it
_OUT_OF_RANGE, _NO_MEMORY = -2, -3  # as kernels_quantize returns them


class _Done(NamedTuple):
    """What kernels_quantize wrote, and the number that it returned."""

    blocks: Bytes
    status: int


class Kernels:
    """The quantizers of one shared object.

    Attributes:
        level: What it was compiled for, such as ``x86-64-v3``.
        needed_level: The :attr:`processor_level` that it needs.
    """

    def __init__(self, path: Path) -> None:
        """Load a shared object. Raises OSError where it is of another platform or version."""
        self.level = path.stem
        self.needed_level = _LEVELS[path.stem]
        self._library = ctypes.CDLL(str(path))
        interface = getattr(self._library, "kernels_interface", None)
        if interface is None or interface() != _INTERFACE:
            raise OSError(
                f"{path}: it was compiled from another version: install dslocal again with pip"
            )
        self._quantize = self._library.kernels_quantize
        self._quantize.restype = ctypes.c_int64
        self._quantize.argtypes = [
            ctypes.c_int,  # type
            ctypes.POINTER(SourceStruct),
            ctypes.c_void_p,  # importance
            ctypes.c_void_p,  # out
            ctypes.c_void_p,  # ggml_quantize_chunk
        ]
        self._set_grid = self._library.kernels_set_grid
        self._set_grid.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
        self._grids: set[GgmlType] = set()
        self._lock = threading.Lock()

    @property
    def processor_level(self) -> int:
        """Return the highest level that this processor can run: 4, 3 or 1."""
        return int(self._library.kernels_processor_level())

    def supports(self, kind: GgmlType) -> bool:
        """Return whether there is a quantizer to a type."""
        return bool(self._library.kernels_support(int(kind)))

    def quantize(self, kind: GgmlType, values: Floats, importance: Floats | None = None) -> Bytes:
        """Return rows in blocks of a type, the same bytes as ggml_quantize_chunk writes.

        The GIL is released meanwhile.

        Args:
            kind: A type that :meth:`supports` knows. Its :func:`init_quantization` must have
                happened.
            values: float32 ``[rows, columns]``; columns must be a multiple of the type's block.
            importance: The importance of each column, float32 ``[columns]``.

        Returns:
            uint8 ``[bytes]``, the rows one after another.
        """
        values = np.ascontiguousarray(values)
        rows, columns = values.shape
        raw = values.reshape(-1).view(np.uint8)
        return self._run(kind, StoredRows(raw, "F32", 0, rows, columns), importance).blocks

    def convert(
        self, kind: GgmlType, stored: StoredRows, importance: Floats | None = None
    ) -> Bytes | None:
        """Return stored rows in blocks of a type: decoded, checked, rounded and quantized.

        The GIL is released meanwhile.

        Args:
            kind: A type that :meth:`supports` knows. Its :func:`init_quantization` must have
                happened.
            stored: The rows; the columns of the result must be a multiple of the type's block.
            importance: The importance of each column of the result, float32 ``[columns]``.

        Returns:
            uint8 ``[bytes]``, the rows one after another; None where a weight is out of range.
        """
        done = self._run(kind, stored, importance)
        return None if done.status == _OUT_OF_RANGE else done.blocks

    def _run(self, kind: GgmlType, stored: StoredRows, importance: Floats | None) -> _Done:
        if kind in GRID_TYPES:
            self._build_grid(kind)
        rows, columns = stored.result_shape
        out = np.empty(kind.nbytes(rows * columns), np.uint8)
        weights = None if importance is None else np.ascontiguousarray(importance)
        status = self._quantize(
            int(kind),
            source_of(stored),
            None if weights is None else weights.ctypes.data,
            out.ctypes.data,
            ctypes.cast(quantize_chunk(), ctypes.c_void_p),
        )
        if status == _NO_MEMORY:
            raise MemoryError(f"no memory to quantize to {kind.name}")
        return _Done(out, status)

    def _build_grid(self, kind: GgmlType) -> None:
        """Build the tables of a type's grid, once."""
        with self._lock:
            if kind in self._grids:
                return
            levels = grid_levels(kind)
            if self._set_grid(int(kind), levels.ctypes.data, len(levels)) != 1:
                raise MemoryError(f"no memory for the grid of {kind.name}")
            self._grids.add(kind)


def compiled_levels() -> Mapping[str, Path]:
    """Return the shared objects that the installation has, by level, the best first."""
    paths = {level: Path(__file__).with_name(f"{level}.so") for level in _LEVELS}
    return {level: path for level, path in paths.items() if path.is_file()}


@functools.cache
def best_kernels() -> Kernels | None:
    """Return the best kernels that this processor can run, or None where none were compiled."""
    try:
        for path in compiled_levels().values():
            kernels = Kernels(path)
            if kernels.needed_level <= kernels.processor_level:
                return kernels
    except OSError:  # such as for shared objects of another platform
        pass
    return None


def arithmetic_of(kinds: Iterable[GgmlType]) -> str:
    """Return whose arithmetic blocks of these types have: a processor's name.

    Kernels round as ggml does on x86-64, wherever they run. ggml itself is compiled for other
    processors with fused multiply-adds, which round once instead of twice: its blocks differ there.
    That holds for the few blocks too that a kernel leaves to it, such as of denormal weights.
    """
    machine = platform.machine()
    if machine in ("x86_64", "AMD64"):
        return X86_64
    kernels = best_kernels()
    is_portable = kernels is not None and all(
        kind.block == 1 or kernels.supports(kind) for kind in kinds
    )
    return X86_64 if is_portable else machine
