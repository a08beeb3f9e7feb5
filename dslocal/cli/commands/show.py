"""``dslocal show``: describe a GGUF file or a checkpoint from its headers."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.option_groups import NamedModel, with_option_groups
from dslocal.errors import UnsupportedModelError

if TYPE_CHECKING:
    from dslocal.gguf.header import GgufHeader
    from dslocal.gguf.header_fields import Value

MAX_ITEMS = 64  # of a metadata array that --json prints
SHOWN_APART = ("classes", "metadata", "faults")


@with_option_groups
def show(
    *,
    model: NamedModel,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object that includes all metadata.")
    ] = False,
) -> None:
    """Show what a model is: header, family, sizes by tensor class."""
    from dslocal.catalog import resolve
    from dslocal.cli import session_setup
    from dslocal.cli.user_settings import named_model
    from dslocal.terminal.sanitise import one_line

    named = named_model(model.name)
    if named is None:
        session_setup.say_if_gone()
    found = resolve.resolve_model(named)
    fields = _gguf_fields(found) if isinstance(found, Path) else _checkpoint_fields(found.folder)
    if as_json:
        print(json.dumps(fields))
        return
    for name, value in fields.items():
        if name not in SHOWN_APART and value is not None:
            print(f"{name.replace('_', ' '):<16} {one_line(str(value))}")
    for fault in fields.get("faults", ()):
        print(f"{'fault':<16} {one_line(fault)}")
    print()
    for name, nbytes in fields["classes"].items():
        print(f"{name:<20} {nbytes / 1e6:12,.1f} MB")


def _gguf_fields(path: Path) -> dict[str, Any]:
    from dslocal.api.file_faults import faults_of
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
        **_family_fields(header, path),
        "layers": header.of_arch("block_count"),
        "mtp_layers": header.mtp_layers,
        "draft_model": _draft_model(header),
        "context": header.of_arch("context_length"),
        "vocabulary": len(header.tokens()),
        "weights": weights,
        "bits_per_weight": round(header.bits_per_weight, 2),
        "bytes": header.file_size,
        "types": ", ".join(f"{name} × {n}" for name, n in kinds.most_common()),
        "faults": faults_of(header),
        "classes": _largest_first(classes),
        "metadata": {key: _json_value(value) for key, value in header.metadata.items()},
    }


def _draft_model(header: GgufHeader) -> str | None:
    """Return what a file drafts, if it is a draft model that answers nothing by itself."""
    from dslocal.plan.memory import dspark

    if not dspark.is_dspark(header):
        return None
    layers = ", ".join(str(layer) for layer in dspark.target_layers(header))
    return (
        f"DSpark for DeepSeek-V4: up to {dspark.block_size(header)} tokens at a time, from the "
        f"inputs of layers {layers}"
    )


def _family_fields(header: GgufHeader, path: Path | None = None) -> dict[str, str | None]:
    """Return the family that a GGUF file is of, and why."""
    from dslocal import prompts
    from dslocal.catalog.pulled_family import pulled_family

    pulled = pulled_family(path) if path else None
    if pulled is not None:
        family = prompts.get_family(pulled)
        known_by = "its name in models.yaml, under which it was pulled"
        return {"family": family.name, "prompted_as": family.title, "known_by": known_by}
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
    """Return ``value`` as JSON allows it: long arrays by their length, NaN and infinity as null."""
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            return f"{len(value)} items"
        return [_json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _checkpoint_fields(folder: Path) -> dict[str, Any]:
    import dslocal.convert as converter
    from dslocal.gguf.header import GgufHeader
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
        **_family_fields(GgufHeader(3, metadata, (), 0)),
        "shards": len(checkpoint.shards),
        "weights": weights,
        "bytes": sum(tensor.nbytes for tensor in checkpoint.tensors.values()),
        "dtypes": ", ".join(f"{name} × {n}" for name, n in kinds.most_common()),
        "classes": _largest_first(classes),
    }


def _largest_first(sizes: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))
