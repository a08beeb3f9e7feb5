"""Rows of weights of every kind that a quantizer may meet, and importance matrices for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dslocal.convert.kernels import Floats


class NamedRows(NamedTuple):
    """Rows of one kind: float32 ``[rows, columns]``."""

    name: str
    values: Floats


def all_rows(seed: int, rows: int, columns: int) -> Iterator[NamedRows]:
    """Yield rows of every kind: ordinary, sparse, constant, tied, denormal, huge, adversarial.

    Args:
        seed: Other seeds give other rows.
        rows: Their number, of each kind.
        columns: Their length, a multiple of 256.
    """
    r = np.random.default_rng(seed)
    shape = (rows, columns)
    gaussian = r.standard_normal(shape, np.float32)
    for name, values in (
        ("gaussian", gaussian * 0.02),
        ("heavy-tailed", r.standard_t(2, shape) * 0.02),
        ("e4m3 codes", np.round(gaussian * 8) / 64),
        ("bf16", (gaussian.view(np.uint32) & 0xFFFF0000).view(np.float32)),
        ("positive", np.abs(gaussian) + 3),
        ("negative", -np.abs(gaussian)),
        ("sparse", np.where(r.random(shape) < 0.95, 0, gaussian)),
        ("nearly empty", np.where(r.random(shape) < 0.997, 0, gaussian)),
        ("zero", np.zeros(shape)),
        ("negative zero", -np.zeros(shape)),
        ("constant", np.repeat(gaussian[:, : columns // 64], 64, axis=1)),
        ("two values", np.where(gaussian > 0, 1.5, -0.25)),
        ("tied", np.round(gaussian * 2) / 2),
        ("half-way", (np.round(gaussian * 4) + 0.5) / 8),
        ("ramp", np.tile(np.arange(columns), (rows, 1)) - columns / 3),
        ("one outlier in a hundred", np.where(r.random(shape) < 0.01, gaussian * 1000, gaussian)),
        ("sub-blocks of other sizes", gaussian * _powers(r, shape, 32, -30, 3)),
        ("halves of other sizes", gaussian * _powers(r, shape, 16, -12, 3)),
        ("largest that a conversion takes", np.clip(gaussian * 2e4, -65280, 65280)),
        ("scales below float16", gaussian * 1e-6),
        ("scales that are zero in float16", gaussian * 1e-9),
        ("third powers that are denormal", gaussian * 1e-13),
        ("at ggml's limit of zero", gaussian * 1e-15),
        ("denormal", gaussian * np.float32(1e-40)),
    ):
        yield NamedRows(name, np.ascontiguousarray(values, np.float32))


def wild_rows(seed: int, rows: int, columns: int) -> Iterator[NamedRows]:
    """Yield rows that no conversion lets pass: NaN, infinity, and sums that overflow."""
    r = np.random.default_rng(seed)
    shape = (rows, columns)
    gaussian = r.standard_normal(shape, np.float32)
    for name, values in (
        ("NaN", np.where(r.random(shape) < 0.001, np.nan, gaussian)),
        ("infinity", np.where(r.random(shape) < 0.001, np.inf, gaussian)),
        ("sums overflow", gaussian * np.float32(1e30)),
        ("random bits", r.integers(0, 1 << 32, shape, np.uint32).view(np.float32)),
    ):
        yield NamedRows(name, np.ascontiguousarray(values, np.float32))


def importance_matrices(seed: int, columns: int) -> dict[str, Floats | None]:
    """Return matrices of every kind: none, ordinary, with zeros, of very different sizes, zero.

    Args:
        seed: Other seeds give other numbers.
        columns: Their length.
    """
    r = np.random.default_rng(seed)
    uniform = r.random(columns, np.float32)
    return {
        "no matrix": None,
        "uniform": uniform * 3,
        "half zero": np.where(r.random(columns) < 0.5, 0, uniform**8).astype(np.float32),
        "of many sizes": np.exp2(r.uniform(-30, 10, columns)).astype(np.float32),
        "denormal to huge": np.exp2(r.uniform(-149, 60, columns)).astype(np.float32),
        "zero": np.zeros(columns, np.float32),
    }


def _powers(
    r: np.random.Generator, shape: tuple[int, int], run: int, low: int, high: int
) -> Floats:
    """Return powers of two, the same for each ``run`` columns: float32 ``[rows, columns]``."""
    exponents = r.integers(low, high, (shape[0], shape[1] // run)).astype(np.float32)
    return np.repeat(np.exp2(exponents), run, axis=1)
