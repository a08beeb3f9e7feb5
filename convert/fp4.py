"""Convert V4's packed FP4 experts to MXFP4 without loss, or to float32.

A source byte holds two e2m1 codes, the even column's in its low half; an E8M0 code, a power of two,
scales 32 of them. ggml's block of 32 is the same scale followed by 16 bytes, of which byte j holds
columns j and j + 16. So only bits move. Source: OCP's Microscaling Formats specification, 1.0;
llama.cpp, conversion/base.py (``repack_mxfp4_blocks``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dslocal.convert.checkpoint.safetensors import FP4_BLOCK
from dslocal.convert.kernels import Bytes, Floats

E8M0_NAN = 255
_BYTES = FP4_BLOCK // 2  # of a block's codes
_BLOCKS_AT_A_TIME = 1 << 12  # few enough for the processor's cache
_MXFP4 = np.dtype(
    {
        "names": ["scale", "codes", "more_codes"],
        "formats": ["u1", "<u8", "<u8"],
        "offsets": [0, 1, 9],
        "itemsize": 17,
    }
)
_MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_E2M1: Floats = np.array([*_MAGNITUDES, *(-m for m in _MAGNITUDES)], np.float32)
# the two values of every byte
_PAIRS: Floats = np.stack([_E2M1[np.arange(256) & 15], _E2M1[np.arange(256) >> 4]], axis=1)


def e8m0_values(codes: Bytes) -> Floats:
    """Return the powers of two that E8M0 codes stand for; NaN for 255, which stands for none."""
    exponents = codes.astype(np.int32) - 127
    return np.where(codes == E8M0_NAN, np.nan, np.ldexp(np.float32(1), exponents)).astype(
        np.float32
    )


def repack(raw: Bytes, scales: Bytes) -> NDArray[np.uint8]:
    """Return FP4 rows as MXFP4 blocks.

    Args:
        raw: The rows as they are stored, uint8 ``[rows * columns / 2]``.
        scales: Their E8M0 codes, uint8 ``[rows, columns / 32]``.

    Returns:
        uint8 ``[bytes]``, the rows one after another.
    """
    blocks = np.empty(scales.size, _MXFP4)
    blocks["scale"] = scales.reshape(-1)
    for start in range(0, len(blocks), _BLOCKS_AT_A_TIME):
        part = blocks[start : start + _BLOCKS_AT_A_TIME]
        # a byte's two codes move into a byte each
        wide = raw[start * _BYTES : (start + len(part)) * _BYTES].astype(np.uint16)
        wide |= wide << 4
        wide &= 0x0F0F
        words = wide.view(np.uint64).reshape(-1, 4)  # of 8 columns each
        np.bitwise_or(words[:, 0], words[:, 2] << 4, out=part["codes"])
        np.bitwise_or(words[:, 1], words[:, 3] << 4, out=part["more_codes"])
    return blocks.view(np.uint8)


def decode(raw: Bytes, scales: Bytes, columns: int) -> Floats:
    """Return FP4 rows as float32 ``[rows, columns]``; arguments as in :func:`repack`."""
    values = np.take(_PAIRS, raw, axis=0).reshape(-1, FP4_BLOCK)
    values *= e8m0_values(scales).reshape(-1, 1)
    return values.reshape(-1, columns)
