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
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dslocal.gguf.tensor_types import GgmlType

from .ggml import Bytes, Floats, init_quantization, quantize_chunk, quantize_with_ggml
from .grids import GRID_TYPES, grid_levels

__all__ = [
    "Bytes",
    "Floats",
    "Kernels",
    "best_kernels",
    "compiled_levels",
    "init_quantization",
    "quantize_with_ggml",
]

# What kernels_processor_level() must return at least, by the name of the shared object. Best first.
_LEVELS = {"x86-64-v4": 4, "x86-64-v3": 3, "x86-64": 1, "baseline": 1}


class Kernels:
    """The quantizers of one shared object.

    Attributes:
        level: What it was compiled for, such as ``x86-64-v3``.
        needed_level: The :attr:`processor_level` that it needs.
    """

    def __init__(self, path: Path) -> None:
        """Load a shared object. Raises OSError."""
        self.level = path.stem
        self.needed_level = _LEVELS[path.stem]
        self._library = ctypes.CDLL(str(path))
        self._quantize = self._library.kernels_quantize
        self._quantize.restype = ctypes.c_int64
        self._quantize.argtypes = [
            ctypes.c_int,  # type
            ctypes.c_void_p,  # weights
            ctypes.c_void_p,  # importance
            ctypes.c_int64,  # rows
            ctypes.c_int64,  # columns
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
        if kind in GRID_TYPES:
            self._build_grid(kind)
        rows, columns = values.shape
        values = np.ascontiguousarray(values)
        out = np.empty(kind.nbytes(values.size), np.uint8)
        weights = None if importance is None else np.ascontiguousarray(importance)
        self._quantize(
            int(kind),
            values.ctypes.data,
            None if weights is None else weights.ctypes.data,
            rows,
            columns,
            out.ctypes.data,
            ctypes.cast(quantize_chunk(), ctypes.c_void_p),
        )
        return out

    def _build_grid(self, kind: GgmlType) -> None:
        """Build the tables of a type's grid, once."""
        with self._lock:
            if kind in self._grids:
                return
            levels = grid_levels(kind)
            if (
                self._library.kernels_set_grid(
                    int(kind), levels.ctypes.data_as(ctypes.c_void_p), len(levels)
                )
                != 1
            ):
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
