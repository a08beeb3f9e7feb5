"""Plan a V4-Flash from headers alone, and convert one of its layers at full width.

The shards are sparse: headers of the published shapes and types, and holes for the weights.

    python tests/benchmarks/v4_shape.py FOLDER

FOLDER is made, and needs 4 GB for the converted layer. Prints the number of tensors (69,187 are
published), the seconds that planning takes, the sizes of the outputs, and the memory that the
layer's conversion needs beyond what is loaded.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.checkpoints import tiny_v4
from support.checkpoints.tiny_checkpoints import write_checkpoint

from dslocal import catalog

SHARDS = 46
BYTES = {"I64": 8, "F32": 4, "BF16": 2, "F8_E4M3": 1, "F8_E8M0": 1, "I8": 1}
RECIPES = ("MXFP4", "V4-Q2")


def entries(config: dict[str, Any]) -> Iterator[tuple[str, str, list[int]]]:
    """Yield name, type and shape of every tensor of a published checkpoint."""
    for name, shape in tiny_v4.tensor_shapes(config).items():
        scale = name.removesuffix("weight") + "scale"
        if name.endswith("tid2eid"):
            yield name, "I64", list(shape)
        elif ".experts." in name:
            yield name, "I8", [shape[0], shape[1] // 2]
            yield scale, "F8_E8M0", [shape[0], shape[1] // 32]
        elif any(part in name for part in tiny_v4.FP8_PARTS):
            yield name, "F8_E4M3", list(shape)
            yield scale, "F8_E8M0", [-(-n // 128) for n in shape]
        else:
            is_f32 = any(part in name for part in tiny_v4.F32_PARTS)
            yield name, "F32" if is_f32 else "BF16", list(shape)


def write_sparse(folder: Path, config: dict[str, Any], shards: int) -> int:
    """Write headers and holes, and return the number of tensors."""
    write_checkpoint(folder, "deepseek-v4", dtype="fp4")
    (folder / "model.safetensors").unlink()
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = json.dumps({**written, **config})
    (folder / "config.json").write_text(text, encoding="utf-8")
    tensors = list(entries(config))
    where = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        header, end = {}, 0
        for name, dtype, shape in tensors[shard::shards]:
            nbytes = BYTES[dtype]
            for n in shape:
                nbytes *= n
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + nbytes]}
            where[name], end = file, end + nbytes
        data = json.dumps(header).encode()
        with (folder / file).open("wb") as opened:
            opened.write(len(data).to_bytes(8, "little") + data)
            opened.truncate(8 + len(data) + end)
    index = json.dumps({"weight_map": where})
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    return len(tensors)


def plan(folder: Path) -> None:
    """Print how long it takes to lay out a checkpoint, and how large its outputs will be."""
    import dslocal.convert as converter

    for name in RECIPES:
        began, worked = time.perf_counter(), time.process_time()
        checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
        planned = converter.plan_conversion(checkpoint, [converter.recipe_named(name)])
        planned.fingerprint()
        size = sum(layout.data_size for layout in planned.layouts)
        print(
            f"{name}: planned in {time.perf_counter() - began:.2f} s "
            f"({time.process_time() - worked:.2f} s of one core), {size:,} bytes",
            flush=True,
        )


def convert(folder: Path) -> None:
    """Convert a checkpoint, and print by how much that raised this process' memory."""
    import dslocal.convert as converter

    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    planned = converter.plan_conversion(checkpoint, [converter.recipe_named("MXFP4")])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = converter.write_gguf(planned, [folder / "layer.gguf"])[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (folder / "layer.gguf").unlink()
    print(
        f"one layer: {report.nbytes:,} bytes in {report.seconds:.1f} s; "
        f"memory {peak >> 10} MiB, {(peak - before) >> 10} of it for the conversion",
        flush=True,
    )


def main() -> None:
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        {"plan": plan, "convert": convert}[sys.argv[2]](folder)
        return
    config: dict[str, Any] = {**tiny_v4.V4, **catalog.load_registry()["deepseek-v4-flash"].config}
    found = write_sparse(folder / "flash", config, SHARDS)
    print(f"{found:,} tensors", flush=True)
    layer = {"num_hidden_layers": 1, "compress_ratios": [0], "num_hash_layers": 1}
    narrow = {"vocab_size": 320, "num_nextn_predict_layers": 0}
    write_sparse(folder / "layer", {**config, **layer, **narrow}, 3)
    for name, step in (("flash", "plan"), ("layer", "convert")):
        subprocess.run([sys.executable, __file__, str(folder / name), step], check=True)


if __name__ == "__main__":
    main()
