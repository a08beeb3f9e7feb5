"""Write one GGUF file: first the header, then blocks at their offsets; it gets its name at the end.

While the file is open, a lock keeps other processes from writing it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter

from dslocal.errors import ConversionError

from .layout import FileLayout, RawValue, padded

PART = ".part"
SPLIT_TYPES = {
    "split.no": GGUFValueType.UINT16,
    "split.count": GGUFValueType.UINT16,
    "split.tensors.count": GGUFValueType.INT32,
}
# bool before int: a bool is an int
_TYPES: dict[type, GGUFValueType] = {
    bool: GGUFValueType.BOOL,
    int: GGUFValueType.UINT32,
    float: GGUFValueType.FLOAT32,
    str: GGUFValueType.STRING,
    list: GGUFValueType.ARRAY,
}


class _HeaderWriter(GGUFWriter):  # type: ignore[misc]  # gguf has no annotations
    """Writes values of any GGUF, such as arrays of nothing, and strings that are not UTF-8."""

    def _pack_val(self, val: Any, *args: Any, **options: Any) -> bytes:
        if isinstance(val, RawValue):
            return val.data
        packed: bytes = super()._pack_val(val, *args, **options)
        return packed


class OutputFile:
    """A file that is called ``….part`` until :meth:`finish`.

    Use it as a context manager: leaving gives up the claim. Every method raises OSError.
    """

    def __init__(
        self, path: Path, layout: FileLayout, arch: str, metadata: Sequence[tuple[str, Any]]
    ) -> None:
        """Describe the file; nothing is opened yet.

        Args:
            path: Its final name.
            layout: Its tensors.
            arch: llama.cpp's name of the architecture.
            metadata: Its keys, in order.
        """
        self.path = path
        self.part = path.with_name(path.name + PART)
        self.data_start = 0
        self._layout = layout
        self._arch = arch
        self._metadata = metadata

    def __enter__(self) -> OutputFile:
        """Open and claim the file. Raises ConversionError where another process holds it."""
        if self.part.is_symlink():
            raise ConversionError(
                f"{self.part}: is a link, which is not written through", hint="remove it"
            )
        self.part.touch()
        self._file = self.part.open("r+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ConversionError(f"{self.part}: another process is writing it") from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file and give up the claim."""
        self._file.close()

    @property
    def size(self) -> int:
        """Return the bytes of the complete file."""
        return self.data_start + self._layout.data_size

    @property
    def missing(self) -> int:
        """Return how many of its bytes have no room on the disk yet."""
        return max(0, self.size - os.fstat(self._file.fileno()).st_blocks * 512)

    def begin(self) -> None:
        """Write everything before the weights, over whatever was there."""
        writer = _HeaderWriter(self.part, self._arch)
        for key, value in self._metadata:
            writer.add_key_value(key, value, _value_type(key, value))
        for placed in self._layout.tensors:
            kind = GGMLQuantizationType(int(placed.kind))
            writer.add_tensor_info(
                placed.tensor.name, placed.tensor.shape, np.dtype(np.float32), placed.nbytes, kind
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        self.data_start = padded(self.part.stat().st_size)

    def reserve(self) -> None:
        """Give the file its full length, and the tensors that are computed their values."""
        self._file.truncate(self.size)
        for placed in self._layout.tensors:
            if placed.tensor.values:
                self.write(placed.offset, np.array(placed.tensor.values, np.float32).data)

    def resume(self, data_start: int) -> bool:
        """Take the file as an earlier process left it, and return whether it can be that file."""
        self.data_start = data_start
        return os.fstat(self._file.fileno()).st_size == self.size

    def write(self, offset: int, blocks: memoryview) -> None:
        """Write ``blocks`` at ``offset`` of the data section. Threads may do so side by side."""
        view = blocks.cast("B")
        at = self.data_start + offset
        while view:
            written = os.pwrite(self._file.fileno(), view, at)
            view, at = view[written:], at + written

    def sync(self) -> None:
        """Make what was written durable."""
        os.fsync(self._file.fileno())

    def finish(self) -> None:
        """Give the file its name."""
        self.part.replace(self.path)

    def discard(self) -> None:
        """Remove the file."""
        self.part.unlink(missing_ok=True)


def split_metadata(number: int, count: int, tensors: int) -> list[tuple[str, Any]]:
    """Return the keys that tie the files of a split GGUF together.

    Source: llama.cpp, src/llama-arch.cpp (``LLM_KV_SPLIT_NO`` and the following).

    Args:
        number: The file's number from 0.
        count: How many files there are.
        tensors: How many tensors all of them hold.
    """
    return [("split.no", number), ("split.count", count), ("split.tensors.count", tensors)]


def _value_type(key: str, value: Any) -> GGUFValueType | None:
    if isinstance(value, RawValue):
        return None  # which its own bytes say
    if key in SPLIT_TYPES:
        return SPLIT_TYPES[key]
    for kind, gguf_type in _TYPES.items():
        if isinstance(value, kind):
            return gguf_type
    raise TypeError(f"{key}: no GGUF type for {type(value).__name__}")
