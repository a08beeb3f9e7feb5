"""``dslocal show``: what a GGUF file or a checkpoint is, from its headers."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from dslocal.cli.completion import values as completion_values
from dslocal.errors import UnsupportedModelError
from dslocal.gguf.header import GgufHeader, Value

LONG = 64  # items of a metadata array that --json prints


def show(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A name, a GGUF file or a checkpoint folder. [the last one used, else nano]",
            show_default=False,
            autocompletion=completion_values.models,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, all metadata included.")
    ] = False,
) -> None:
    """Show what a model is: header, family, sizes by tensor class."""
    from dslocal.catalog import resolve

    found = resolve.resolve_model(model)
    fields = _gguf(found) if isinstance(found, Path) else _checkpoint(found.folder)
    if as_json:
        print(json.dumps(fields))
        return
    from dslocal.terminal.sanitise import one_line

    for name, value in fields.items():
        if name not in ("classes", "metadata") and value is not None:
            print(f"{name.replace('_', ' '):<16} {one_line(str(value))}")
    print()
    for name, nbytes in fields["classes"].items():
        print(f"{name:<20} {nbytes / 1e6:12,.1f} MB")


def _gguf(path: Path) -> dict[str, Any]:
    from dslocal.gguf.parts import read_parts
    from dslocal.gguf.tensor_names import tensor_class

    header = read_parts(path)[1]
    classes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for tensor in header.tensors:
        classes[tensor_class(tensor.name)] += tensor.nbytes
        kinds[tensor.type.name] += 1
    weights = sum(tensor.elements for tensor in header.tensors)
    return {
        "file": str(path),
        "name": header.text("general.name"),
        "architecture": header.architecture,
        **_family(header),
        "layers": header.of_arch("block_count"),
        "mtp_layers": header.of_arch("nextn_predict_layers"),
        "context": header.of_arch("context_length"),
        "vocabulary": len(header.tokens()),
        "weights": weights,
        "bits_per_weight": round(header.file_size * 8 / max(weights, 1), 2),
        "bytes": header.file_size,
        "types": ", ".join(f"{name} × {n}" for name, n in kinds.most_common()),
        "classes": _largest_first(classes),
        "metadata": {key: _json_value(value) for key, value in header.metadata.items()},
    }


def _family(header: GgufHeader) -> dict[str, str | None]:
    """The family that a GGUF is of, and why."""
    from dslocal import prompts

    try:
        recognised = prompts.recognise_family(header)
    except UnsupportedModelError as e:
        return {
            "family": None,
            "prompted_as": "nothing that dslocal can prompt",
            "known_by": str(e),
        }
    return {
        "family": recognised.family.name,
        "prompted_as": recognised.family.title,
        "known_by": recognised.why,
    }


def _json_value(value: Value) -> object:
    """``value`` as JSON can say it: long arrays by their length, NaN and infinity as null."""
    if isinstance(value, list):
        return f"{len(value)} items" if len(value) > LONG else [_json_value(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _checkpoint(folder: Path) -> dict[str, Any]:
    import dslocal.convert as converter
    from dslocal.gguf.tensor_names import tensor_class

    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    plan = converter.plan_conversion(checkpoint, [converter.recipe_named("BF16")])
    classes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    weights = 0
    seen: set[str] = set()
    for mapped in plan.tensors:
        for source in {rows.tensor for rows in mapped.sources} - seen:
            seen.add(source)
            tensor = checkpoint.tensors[source]
            classes[tensor_class(mapped.name)] += tensor.nbytes
            kinds[tensor.dtype] += 1
        weights += mapped.elements
    metadata = {"general.architecture": plan.architecture.arch, **dict(plan.outputs[0].metadata)}
    return {
        "folder": str(folder),
        "name": checkpoint.source.name,
        "architecture": checkpoint.config.architecture,
        "converts_as": plan.architecture.arch,
        **_family(GgufHeader(3, metadata, (), 0)),
        "shards": len(checkpoint.shards),
        "weights": weights,
        "bytes": sum(tensor.nbytes for tensor in checkpoint.tensors.values()),
        "dtypes": ", ".join(f"{name} × {n}" for name, n in kinds.most_common()),
        "classes": _largest_first(classes),
    }


def _largest_first(sizes: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))
