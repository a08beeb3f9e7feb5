"""Checkpoints as Hugging Face lays them out: safetensors files of limited size, an index,
config.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

INDEX = "model.safetensors.index.json"
Tensors = dict[str, Tensor]


def read_tensors(folder: Path) -> Tensors:
    where: dict[str, str] = read_json(folder / INDEX)["weight_map"]
    return {
        name: tensor
        for shard in sorted(set(where.values()))
        for name, tensor in load_file(folder / shard).items()
    }


def write_tensors(folder: Path, tensors: Mapping[str, Tensor], limit: int) -> None:
    """Layer after layer, in as many files of at most ``limit`` bytes as that takes, and their
    index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[Tensors] = [{}]
    size = 0
    for name in sorted(tensors, key=_place):
        if size + tensors[name].nbytes > limit:
            shards.append({})
            size = 0
        shards[-1][name] = tensors[name]
        size += tensors[name].nbytes
    where = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, {"format": "pt"})
        where.update(dict.fromkeys(shard, file))
    total = sum(tensor.nbytes for tensor in tensors.values())
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": where}, indent=0)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")


def _place(name: str) -> tuple[int, str]:
    """Embeddings, head and last norm before all layers."""
    return int(name.split(".")[2]) if ".layers." in name else -1, name
