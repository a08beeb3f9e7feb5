"""Read the sections of models.yaml, and make each model's entry from them.

A model may take sizes and keys of config.json from a shape that several models share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dslocal.catalog.model_entry import DEFAULT_QUANTS, ModelEntry
from dslocal.errors import DslocalError
from dslocal.strict_yaml import MAX_NUMBER, Section

from .registry_schema import (
    AUDIENCE,
    BUNDLED,
    FILE,
    MODEL,
    MODEL_NAME,
    PUBLISHED,
    REQUIRED_CONFIG,
    REQUIRED_SIZES,
    SHAPE,
    SIZES,
    TEXTS,
)


@dataclass(frozen=True)
class Shape:
    """What several models have in common: sizes, keys of config.json, and quantizations."""

    sizes: Mapping[str, Any]
    config: Mapping[str, Any]
    quants: tuple[str, ...] = DEFAULT_QUANTS


Shapes = Mapping[str, Shape]


def read_file(root: Section, known: Shapes) -> tuple[dict[str, ModelEntry], dict[str, Shape]]:
    """Read a whole models.yaml.

    Args:
        root: The file.
        known: Shapes of another file, which the entries of this one may use.

    Returns:
        The models and the shapes of this file, by name.

    Raises:
        DslocalError: It breaks a rule; the message names file, line, model and key.
    """
    sections = root.read(FILE)
    if "models" not in sections:
        raise DslocalError(f"{root.file}:{root.line}: has no 'models'")
    shapes = {}
    if "shapes" in sections:
        written: Section = sections["shapes"]
        shapes = {name: _read_shape(written.section(name)) for name in written.values}
    return _read_models(sections["models"], {**known, **shapes}), shapes


def _read_models(section: Section, shapes: Shapes) -> dict[str, ModelEntry]:
    found = {}
    for name in section.values:
        if not MODEL_NAME.fullmatch(name):
            hint = "lower case letters, digits, '.', '_' and '-'"
            raise section.fail(name[:96], "is not a name for a model", hint=hint)
        entry = section.section(name)
        found[name] = _read_model(Section(entry.file, name, entry.line, entry.values), shapes)
    return found


def _read_shape(section: Section) -> Shape:
    values = section.read(SHAPE)
    config = values.get("config", {})
    _require_config(section, config)
    sizes = {key: value for key, value in values.items() if key in SIZES}
    return Shape(sizes, config, values.get("quants", DEFAULT_QUANTS))


def _read_model(section: Section, shapes: Shapes) -> ModelEntry:
    values = section.read(MODEL)
    section.require(TEXTS, values)
    shape = _shape_of(section, values.get("shape"), shapes)
    config = _config_of(section, values, shape)
    sizes = {**shape.sizes, **{key: values[key] for key in SIZES if key in values}}
    section.require(REQUIRED_SIZES, sizes)
    if sizes["context"] > config.get("max_position_embeddings", MAX_NUMBER):
        why = f"is {sizes['context']}, more than its max_position_embeddings"
        raise section.fail("context", why)
    return ModelEntry(
        name=section.where,
        **{key: values[key] for key in TEXTS},
        **{"active": sizes["parameters"], **sizes},
        repository=values.get("repository", ""),
        local=values.get("source"),
        stated=config,
        quants=_quants_of(section, values, shape),
        **{key: values[key] for key in (*AUDIENCE, *PUBLISHED) if key in values},
    )


def _shape_of(section: Section, name: str | None, shapes: Shapes) -> Shape:
    if name is None:
        return Shape({}, {})
    if name not in shapes:
        hint = f"known: {', '.join(shapes) or 'none'}"
        raise section.fail("shape", f"no shape is called {name!r:.80}", hint=hint)
    return shapes[name]


def _config_of(section: Section, values: Mapping[str, Any], shape: Shape) -> Mapping[str, Any]:
    """Return what is stated of config.json; nothing of a checkpoint in this package, which has it.

    Raises:
        DslocalError: Too little is stated, or what a checkpoint in this package has anyway.
    """
    if "source" in values:
        for key in ("config", "shape", *PUBLISHED):
            if key in values:
                raise section.fail(key, "is not needed: the checkpoint is here")
        return {}
    if "repository" not in values:
        raise section.fail("repository", f"is missing (or source: {BUNDLED}FOLDER)")
    config = {**shape.config, **values.get("config", {})}
    _require_config(section, config)
    return config


def _require_config(section: Section, config: Mapping[str, Any]) -> None:
    # of V4 all feed-forward parts are experts
    width = "moe_intermediate_size" if "compress_ratios" in config else "intermediate_size"
    for key in (*REQUIRED_CONFIG, width):
        if key not in config:
            raise section.fail("config", f"{key} is missing")


def _quants_of(section: Section, values: Mapping[str, Any], shape: Shape) -> tuple[str, ...]:
    """Return the recommended quantizations, best first, the model's own among them."""
    quant: str = values["quant"]
    own: tuple[str, ...] | None = values.get("quants")
    if own is not None:
        if quant.upper() not in own:
            raise section.fail("quants", f"lacks {quant!r:.40}, the quant of the model")
        return own
    if quant.upper() in shape.quants:
        return shape.quants
    return tuple(sorted((*shape.quants, quant), key=_bits, reverse=True))


def _bits(quant: str) -> int:
    """Return about how many bits a weight takes, by the name; 0 where that says nothing."""
    digits = re.search(r"\d{1,9}", quant)
    return int(digits[0]) if digits else 0
