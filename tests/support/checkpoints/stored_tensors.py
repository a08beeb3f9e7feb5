"""Tensors as a safetensors file stores them, made with numpy alone: float types, FP8, the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
FP8_BLOCK = 128


@dataclass(frozen=True)
class Stored:
    """A tensor as a safetensors file stores it."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def write_safetensors(path: Path, tensors: Mapping[str, Stored]) -> None:
    """Write the safetensors format: 8 bytes of header length, a JSON header padded with spaces to a
    multiple of 8, the data.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [end, end + len(tensor.data)],
        }
        end += len(tensor.data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(
        len(text).to_bytes(8, "little")
        + text
        + b"".join(tensor.data for tensor in tensors.values())
    )


def normal_values(seeds: Sequence[int], shape: tuple[int, ...], scale: float) -> Floats:
    """Return nearly normal values of standard deviation ``scale``, the same on every machine."""
    bits = np.random.PCG64(list(seeds)).random_raw(math.prod(shape))
    sums = (
        bits.view(np.uint16).reshape(-1, 4).sum(1, dtype=np.int64) - 2 * 65535
    )  # four uniform numbers
    values: Floats = (sums * (scale * math.sqrt(3) / 65536)).astype(np.float32).reshape(shape)
    return values


def encode(values: Floats, dtype: str) -> Stored:
    """Return values in one of a checkpoint's types: f32, f16 or bf16."""
    if dtype == "f32":
        return Stored("F32", values.shape, values.astype("<f4").tobytes())
    if dtype == "f16":
        return Stored("F16", values.shape, values.astype("<f2").tobytes())
    bits = values.view(np.uint32)
    return Stored(
        "BF16", values.shape, ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
    )


def e4m3_values() -> Floats:
    """Return the 127 finite values from 0 to 448 of the codes 0 to 126."""
    exponent, mantissa = np.divmod(np.arange(127, dtype=np.float32), np.float32(8))
    return np.where(
        exponent == 0, mantissa * 2.0**-9, (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    ).astype(np.float32)


def quantize_fp8(values: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """Return e4m3 codes of ``values`` and the float32 scale of each 128x128 block, whose largest
    value becomes 448.
    """
    rows, columns = (-(-n // FP8_BLOCK) for n in values.shape)
    padded = np.zeros((rows * FP8_BLOCK, columns * FP8_BLOCK), np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows, FP8_BLOCK, columns, FP8_BLOCK)
    scale = (np.abs(blocks).max((1, 3)) / np.float32(448)).astype(np.float32)
    scaled = (blocks / scale[:, None, :, None]).reshape(padded.shape)[
        : values.shape[0], : values.shape[1]
    ]
    return fp8_codes(scaled), scale


def fp8_codes(scaled: Floats) -> NDArray[np.uint8]:
    """Return the e4m3 codes that are nearest to values of at most 448."""
    table = e4m3_values()
    middles = (table[:-1] + table[1:]) / 2
    low = np.searchsorted(middles, np.abs(scaled), "left")
    high = np.searchsorted(middles, np.abs(scaled), "right")
    # they differ on a tie only, which goes to the even code
    codes = np.where(low % 2 == 0, low, high)
    signed: NDArray[np.uint8] = (codes + 128 * np.signbit(scaled)).astype(np.uint8)
    return signed
