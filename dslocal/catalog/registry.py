"""models.yaml: data edited by people, checked strictly. An unknown key is an error that names its
line, not a silence.

The file that ships is read first, then the user's own from the configuration folder, whose entries
win.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dslocal.errors import DslocalError, NotFoundError
from dslocal.home.paths import bundled, config_dir, registry_file

from . import published
from .published import (
    DEFAULT_FILES,
    DEFAULT_QUANTS,
    DEFAULT_REVISION,
    ReadyMade,
    Weights,
)
from .strict_yaml import LARGEST, Section, read_yaml

Dtype = Literal["bf16", "fp8"]
DTYPES: tuple[Dtype, ...] = ("bf16", "fp8")
SIZES = ("context", "parameters", "active", "dtype")  # may stand in a shape
SHAPE_KEYS = (*SIZES, "config", "quants")
KEYS = (
    *SHAPE_KEYS,
    "title",
    "source",
    "repository",
    "licence",
    "family",
    "quant",
    "shape",
    *published.KEYS,
)
BUNDLED = "bundled:"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")
_FOLDER = re.compile(r"[a-z0-9][a-z0-9_-]*")

REQUIRED = (
    *(
        "architectures",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
    ),
    "max_position_embeddings",
)
INTEGERS = (
    *(
        *REQUIRED[1:],
        "num_key_value_heads",
        "head_dim",
        "q_lora_rank",
        "kv_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
    ),
    *(
        "v_head_dim",
        "n_routed_experts",
        "n_shared_experts",
        "num_experts_per_tok",
        "moe_intermediate_size",
        "moe_layer_freq",
    ),
    *("first_k_dense_replace", "n_group", "topk_group", "num_nextn_predict_layers"),
)
NUMBERS = ("rms_norm_eps", "rope_theta", "routed_scaling_factor")
TEXTS = ("topk_method", "scoring_func", "model_type")
FLAGS = ("tie_word_embeddings", "norm_topk_prob")
NULLABLE = ("q_lora_rank", "rope_scaling")
FROM_ZERO = ("first_k_dense_replace", "num_nextn_predict_layers")
CONFIG_KEYS = ("architectures", *INTEGERS, *NUMBERS, *TEXTS, *FLAGS, "rope_scaling")
ROPE_NUMBERS = (
    *(
        "factor",
        "attn_factor",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
    ),
    *("low_freq_factor", "high_freq_factor"),
)
ROPE_KEYS = ("type", "rope_type", "original_max_position_embeddings", *ROPE_NUMBERS)


@dataclass(frozen=True)
class ModelEntry:
    """One model by name.

    ``quant`` is the quantization that it is converted to unless asked otherwise, ``family`` how it
    is prompted. ``parameters`` and ``active`` are billions of weights as published, all and those
    that a token uses; ``dtype`` is what most of them are published in. ``repository`` is where the
    checkpoint is published; one that is already here is in ``local``, else there is none.

    Of the repository, ``revision`` is what is downloaded: a branch, a tag, ``refs/pr/N`` or a
    commit. ``weights`` is what they are stored in there: ``pytorch`` is pickled files, which are
    never opened. ``files`` are shell patterns of the names of the files that belong to the
    checkpoint. ``quants`` are the recommended quantizations, best first, ``quant`` among them, and
    ``gguf`` who has the model as GGUF files, best first.
    """

    name: str
    title: str
    licence: str
    family: str
    quant: str
    context: int
    parameters: float
    active: float
    dtype: Dtype
    repository: str = ""
    local: Path | None = None
    stated: Mapping[str, Any] = field(default_factory=dict)
    revision: str = DEFAULT_REVISION
    weights: Weights = "safetensors"
    files: tuple[str, ...] = DEFAULT_FILES
    quants: tuple[str, ...] = DEFAULT_QUANTS
    gguf: tuple[ReadyMade, ...] = ()

    @property
    def folder(self) -> Path:
        """Its checkpoint. Raises NotFoundError when it is not on this machine."""
        if self.local is None:
            raise NotFoundError(
                f"{self.name} is not on this machine",
                hint=f"dslocal pull {self.name} downloads it; dslocal fit {self.name} says what it needs",
            )
        return self.local

    @property
    def config(self) -> Mapping[str, Any]:
        """The keys of its config.json that sizes follow from. Raises DslocalError when a checkpoint
        that is here is damaged.
        """
        if self.local is None:
            return self.stated
        file = self.local / "config.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as e:
            raise DslocalError(f"{file}: cannot be read: {e}") from e
        if not isinstance(content, dict):
            raise DslocalError(f"{file}: is not a JSON object")
        return content


def load_registry(file: Path | None = None) -> dict[str, ModelEntry]:
    """All models by name, in file order: those of ``file``, or those that ship and the user's own
    over them.

    Raises DslocalError naming file, line, model and key.
    """
    if file is not None:
        return _read(file, {})[0]
    models, _ = _unchanged(registry_file(), None)
    own = config_dir() / "models.yaml"
    try:
        stat = own.stat()
    except (FileNotFoundError, NotADirectoryError):
        return dict(models)
    except OSError as e:
        raise DslocalError(f"{own}: cannot be read: {e.strerror}") from e
    mine, _ = _unchanged(own, (stat.st_mtime_ns, stat.st_size), registry_file())
    return {**models, **mine}


Shapes = dict[str, tuple[Section, dict[str, Any]]]


@functools.lru_cache(maxsize=4)
def _unchanged(
    file: Path, stamp: object, beneath: Path | None = None
) -> tuple[dict[str, ModelEntry], Shapes]:
    """:func:`_read` once in a process for as long as ``stamp`` stays; with the shapes of the file
    ``beneath``.
    """
    return _read(file, _unchanged(beneath, None)[1] if beneath else {})


def _read(file: Path, known: Shapes) -> tuple[dict[str, ModelEntry], Shapes]:
    content = read_yaml(file)
    content.only(("models", "shapes"))
    if "models" not in content.values:
        raise DslocalError(f"{file}:{content.line}: has no 'models'")
    written = content.section("shapes")
    shapes = {**known, **{name: _shape(written.section(name), name) for name in written.values}}
    models = content.section("models")
    return {name: _entry(_named(models, name), name, shapes) for name in models.values}, shapes


def _named(models: Section, name: str) -> Section:
    if not _NAME.fullmatch(name):
        raise models.fail(
            name[:96], "is no name for a model", hint="lower case letters, digits, '.', '_' and '-'"
        )
    entry = models.section(name)
    return Section(entry.file, name, entry.line, entry.values)


def _shape(shape: Section, name: str) -> tuple[Section, dict[str, Any]]:
    shape.only(SHAPE_KEYS)
    config = _config(shape.section("config"))
    _complete(shape, config)
    _sizes(shape, shape.values.keys() & set(SIZES))
    if "quants" in shape.values:
        published.quants_of(shape)
    return shape, config


def _entry(entry: Section, name: str, shapes: Shapes) -> ModelEntry:
    entry.only(KEYS)
    texts: dict[str, Any] = {
        key: entry.text(key) for key in ("title", "licence", "family", "quant")
    }
    local = _local(entry)
    shape, stated = _shape_of(entry, shapes)
    if local is None:
        stated = {**stated, **_config(entry.section("config"))}
        _complete(entry, stated)
    else:
        for key in ("config", "shape", *published.KEYS):
            if key in entry.values:
                raise entry.fail(key, "is not needed: the checkpoint is here")
    sizes = {
        **_sizes(shape, shape.values.keys() & set(SIZES)),
        **_sizes(entry, entry.values.keys() & set(SIZES)),
    }
    for key in SIZES:
        if key not in sizes and key != "active":
            raise entry.fail(key, "is missing")
    if sizes["context"] > stated.get("max_position_embeddings", LARGEST):
        raise entry.fail("context", f"is {sizes['context']}, more than its max_position_embeddings")
    return ModelEntry(
        name,
        **texts,
        context=sizes["context"],
        parameters=sizes["parameters"],
        active=sizes.get("active", sizes["parameters"]),
        dtype=sizes["dtype"],
        repository="" if local else _repository(entry),
        local=local,
        stated=stated,
        quants=published.quants(entry, shape, texts["quant"]),
        **published.published(entry),
    )


def _local(entry: Section) -> Path | None:
    """The folder of a checkpoint inside this package."""
    if "source" not in entry.values:
        return None
    if "repository" in entry.values:
        raise entry.fail("source", "is given, and so is repository: one of them")
    source = entry.text("source")
    if not source.startswith(BUNDLED) or not _FOLDER.fullmatch(source.removeprefix(BUNDLED)):
        raise entry.fail("source", f"{source!r:.80} is not {BUNDLED}FOLDER")
    return bundled(source.removeprefix(BUNDLED))


def _repository(entry: Section) -> str:
    if "repository" not in entry.values:
        raise entry.fail("repository", f"is missing (or source: {BUNDLED}FOLDER)")
    return published.repository(entry)


def _shape_of(entry: Section, shapes: Shapes) -> tuple[Section, dict[str, Any]]:
    if "shape" not in entry.values:
        return Section(entry.file, entry.where, entry.line, {}), {}
    name = entry.text("shape")
    if name not in shapes:
        raise entry.fail(
            "shape",
            f"there is none called {name!r:.80}",
            hint=f"known: {', '.join(shapes) or 'none'}",
        )
    return shapes[name]


def _sizes(section: Section, keys: set[str]) -> dict[str, Any]:
    """The values of ``keys``, which are some of SIZES."""
    found: dict[str, Any] = {
        key: section.number(key) for key in ("parameters", "active") if key in keys
    }
    if "context" in keys:
        found["context"] = section.integer("context")
    if "dtype" in keys:
        if section.text("dtype") not in DTYPES:
            raise section.fail("dtype", f"is not {' or '.join(DTYPES)}")
        found["dtype"] = section.text("dtype")
    return found


def _config(config: Section) -> dict[str, Any]:
    """A section of config.json's keys, every value checked for its type."""
    config.only(CONFIG_KEYS)
    return {key: _config_value(config, key, value.data) for key, value in config.values.items()}


def _config_value(config: Section, key: str, data: object) -> Any:
    if data is None and key in NULLABLE:
        return None
    if key in INTEGERS:
        return config.integer(key, least=0 if key in FROM_ZERO else 1)
    if key in NUMBERS:
        return config.number(key)
    if key in FLAGS:
        return config.flag(key)
    if key == "rope_scaling":
        return _rope(config.section(key))
    if key == "architectures":
        names = [item.data for item in data] if isinstance(data, list) else []
        if len(names) != 1 or not isinstance(names[0], str):
            raise config.fail(key, "is not a list of one name")
        return names
    return config.text(key)


def _rope(rope: Section) -> dict[str, Any]:
    rope.only(ROPE_KEYS)
    found: dict[str, Any] = {
        key: rope.text(key) for key in ("type", "rope_type") if key in rope.values
    }
    found |= {key: rope.number(key) for key in ROPE_NUMBERS if key in rope.values}
    if (key := "original_max_position_embeddings") in rope.values:
        found[key] = rope.integer(key)
    return found


def _complete(section: Section, config: Mapping[str, Any]) -> None:
    for key in REQUIRED:
        if key not in config:
            raise section.fail("config", f"{key} is missing")
