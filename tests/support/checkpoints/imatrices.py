"""Invented importance matrices that fit a checkpoint, in both of llama.cpp's formats."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

import dslocal.convert as converter

NOT_COUNTED = ("token_embd.weight", "output.weight")


def entries(checkpoint: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return, by GGUF tensor name, sums ``[slices, columns]`` and counts ``[slices]`` for every
    matrix of a block.
    """
    plan = converter.plan_conversion(
        converter.open_checkpoint(converter.FolderSource(checkpoint)),
        [converter.recipe_named("F16")],
    )
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for tensor in plan.tensors:
        if tensor.name not in NOT_COUNTED and not tensor.always_f32:
            r = np.random.default_rng(len(found))
            slices = tensor.shape[0] if len(tensor.shape) > 2 else 1
            counts = (
                r.integers(0, 5, slices).astype(np.float32)
                if tensor.name.endswith("_exps.weight")
                else np.full(slices, 7, np.float32)
            )
            found[tensor.name] = (
                r.random((slices, tensor.columns), np.float32) * counts[:, None],
                counts,
            )
    return found


def write_imatrix(path: Path, checkpoint: Path) -> Path:
    """Write the matrices in llama.cpp's GGUF format."""
    writer = GGUFWriter(path, "")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["made-up.txt"])
    writer.add_uint32("imatrix.chunk_count", 3)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, (sums, counts) in entries(checkpoint).items():
        writer.add_tensor(f"{name}.in_sum2", sums)
        writer.add_tensor(f"{name}.counts", counts[:, None])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_legacy_imatrix(path: Path, checkpoint: Path) -> Path:
    """Write them in the format before GGUF: every expert's sums divided by its count and multiplied
    by the number of calls.
    """
    calls = 5
    data = bytearray()
    found = entries(checkpoint)
    data += struct.pack("<i", len(found))
    for name, (sums, counts) in found.items():
        values = np.where(
            counts[:, None] > 0,
            sums / np.where(counts[:, None] > 0, counts[:, None], 1),
            np.float32(1),
        ) * np.float32(calls)
        data += (
            struct.pack("<i", len(name))
            + name.encode()
            + struct.pack("<ii", calls, values.size)
            + values.astype("<f4").tobytes()
        )
    data += struct.pack("<ii", 3, 11) + b"made-up.txt"
    path.write_bytes(bytes(data))
    return path
