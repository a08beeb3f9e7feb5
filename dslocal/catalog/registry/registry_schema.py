"""The schema of models.yaml: which keys it may have, and the rule that each value keeps.

A rule reads one key of a section, and raises an error that names file, line, model and key.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dslocal.catalog.model_entry import DTYPES, PURPOSES, WEIGHTS, ReadyMade
from dslocal.catalog.quant_names import is_quant_name
from dslocal.home.paths import bundled
from dslocal.strict_yaml import Rule, Section

BUNDLED = "bundled:"
MAX_REVISION = 100  # characters

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")
_ALIAS = re.compile(r"[a-z0-9][a-z0-9._:-]{0,95}")
_FOLDER = re.compile(r"[a-z0-9][a-z0-9_-]*")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"(?!refs/(?!pr/[1-9]\d*$))\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
_FILE_PATTERN = re.compile(r"(?!\.+$)[\w.*?!\[\]-]{1,100}", re.ASCII)
_GGUF = re.compile(r"(\w[\w.+-]*/)*\w[\w.+-]*\.gguf", re.ASCII)
_PART = re.compile(r"-\d+-of-\d+\.gguf$", re.ASCII)
_FIRST_PART = re.compile(r"-00001-of-(?!00000)\d{5}\.gguf$", re.ASCII)


def one_of(*choices: str) -> Rule:
    """Return a rule for one of a few words."""

    def rule(section: Section, key: str) -> str:
        found = section.text(key)
        if found not in choices:
            raise section.fail(key, f"is not {' or '.join(choices)}")
        return found

    return rule


def nullable(rule: Rule) -> Rule:
    """Return ``rule`` for a value that may also be null."""

    def null_or_rule(section: Section, key: str) -> Any:
        return None if section.values[key].data is None else rule(section, key)

    return null_or_rule


def _one_name(section: Section, key: str) -> list[str]:
    data = section.values[key].data
    names = [item.data for item in data] if isinstance(data, list) else []
    if len(names) != 1 or not isinstance(names[0], str):
        raise section.fail(key, "is not a list of one name")
    return [names[0]]


def _integers(section: Section, key: str) -> list[int]:
    data = section.values[key].data
    items = [item.data for item in data] if isinstance(data, list) else []
    numbers = [n for n in items if isinstance(n, int) and not isinstance(n, bool)]
    if not items or len(numbers) < len(items) or not 0 <= min(numbers) <= max(numbers) < 1 << 24:
        raise section.fail(key, "is not a list of whole numbers")
    return numbers


def _rope_scaling(section: Section, key: str) -> dict[str, Any]:
    return section.section(key).read(ROPE_SCALING)


def _config(section: Section, key: str) -> dict[str, Any]:
    return section.section(key).read(CONFIG)


def _bundled_folder(section: Section, key: str) -> Path:
    """Return the folder of a checkpoint inside this package."""
    if "repository" in section.values:
        raise section.fail(key, "cannot be combined with repository")
    source = section.text(key)
    folder = source.removeprefix(BUNDLED)
    if not source.startswith(BUNDLED) or not _FOLDER.fullmatch(folder):
        raise section.fail(key, f"{source!r:.80} is not {BUNDLED}FOLDER")
    return bundled(folder)


def _name_of_model(section: Section, key: str) -> str:
    found = section.text(key)
    if not MODEL_NAME.fullmatch(found):
        raise section.fail(key, f"{found!r:.80} is not the name of a model")
    return found


def _repository(section: Section, key: str) -> str:
    found = section.text(key)
    if not _REPOSITORY.fullmatch(found) or ".." in found:
        raise section.fail(key, f"{found!r:.80} is not OWNER/NAME")
    return found


def _revision(section: Section, key: str) -> str:
    name = section.text(key)
    if (
        len(name) > MAX_REVISION
        or not _REVISION.fullmatch(name)
        or ".." in name
        or name.endswith((".", ".lock"))
    ):
        why = f"{name!r:.80} is not a branch, a tag, refs/pr/N or a commit"
        raise section.fail(key, why)
    return name


def _file_patterns(section: Section, key: str) -> tuple[str, ...]:
    return section.texts(key, _wrong_pattern)


def _wrong_pattern(pattern: str) -> str | None:
    if _FILE_PATTERN.fullmatch(pattern):
        return None
    return f"{pattern!r:.80} is not a pattern of file names, such as *.json"


def _quants(section: Section, key: str) -> tuple[str, ...]:
    return section.texts(key, _wrong_quant)


def _wrong_quant(name: str) -> str | None:
    return None if is_quant_name(name) else f"{name!r:.40} is not a name such as Q4_K_M"


def _aliases(section: Section, key: str) -> tuple[str, ...]:
    return section.texts(key, _wrong_alias)


def _wrong_alias(name: str) -> str | None:
    if _ALIAS.fullmatch(name):
        return None
    return f"{name!r:.80} is not a name: lower case letters, digits, '.', '_', '-' and ':'"


def _ready_made(section: Section, key: str) -> tuple[ReadyMade, ...]:
    found = []
    for item in section.sections(key):
        values = item.read(READY_MADE)
        item.require(("repository", "files"), values)
        sizes = values.pop("bytes", {})
        for quant in sizes:
            if quant not in values["files"]:
                raise item.fail("bytes", f"{quant!r:.40} is not one of files")
        found.append(ReadyMade(**values, nbytes=sizes))
    return tuple(found)


def _gguf_files(section: Section, key: str) -> dict[str, str]:
    files = section.section(key)
    if not files.values:
        raise section.fail(key, "is empty")
    found = {}
    for quant in files.values:
        why = _wrong_quant(quant)
        if why is not None:
            raise files.fail(quant[:40], why)
        found[quant] = _gguf_path(files, quant)
    return found


def _gguf_sizes(section: Section, key: str) -> dict[str, int]:
    sizes = section.section(key)
    for quant in sizes.values:
        why = _wrong_quant(quant)
        if why is not None:
            raise sizes.fail(quant[:40], why)
    return {quant: sizes.integer(quant) for quant in sizes.values}


def _gguf_path(files: Section, quant: str) -> str:
    path = files.text(quant)
    if not _GGUF.fullmatch(path) or ".." in path:
        why = f"{path!r:.80} is not the path of a .gguf file inside the repository"
        raise files.fail(quant, why)
    if _PART.search(path) and not _FIRST_PART.search(path):
        why = f"{path!r:.80} is not the first part of a split file, which ends in"
        raise files.fail(quant, f"{why} -00001-of-NNNNN.gguf")
    return path


ROPE_SCALING: dict[str, Rule] = {
    "type": Section.text,
    "rope_type": Section.text,
    "factor": Section.number,
    "original_max_position_embeddings": Section.integer,
    "attn_factor": Section.number,
    "attention_factor": Section.number,
    "beta_fast": Section.number,
    "beta_slow": Section.number,
    "mscale": Section.number,
    "mscale_all_dim": Section.number,
    "low_freq_factor": Section.number,
    "high_freq_factor": Section.number,
}
# Keys of config.json, under its own names.
CONFIG: dict[str, Rule] = {
    "architectures": _one_name,
    "model_type": Section.text,
    "vocab_size": Section.integer,
    "hidden_size": Section.integer,
    "intermediate_size": Section.integer,
    "num_hidden_layers": Section.integer,
    "max_position_embeddings": Section.integer,
    "num_attention_heads": Section.integer,
    "num_key_value_heads": Section.integer,
    "head_dim": Section.integer,
    "q_lora_rank": nullable(Section.integer),
    "kv_lora_rank": Section.integer,
    "qk_nope_head_dim": Section.integer,
    "qk_rope_head_dim": Section.integer,
    "v_head_dim": Section.integer,
    "n_routed_experts": Section.integer,
    "n_shared_experts": Section.integer,
    "num_experts_per_tok": Section.integer,
    "moe_intermediate_size": Section.integer,
    "moe_layer_freq": Section.integer,
    "first_k_dense_replace": Section.integer_or_zero,
    "n_group": Section.integer,
    "topk_group": Section.integer,
    "topk_method": Section.text,
    "scoring_func": Section.text,
    "norm_topk_prob": Section.flag,
    "routed_scaling_factor": Section.number,
    "num_nextn_predict_layers": Section.integer_or_zero,
    "index_n_heads": Section.integer,
    "index_head_dim": Section.integer,
    "index_topk": Section.integer,
    "o_groups": Section.integer,
    "o_lora_rank": Section.integer,
    "sliding_window": Section.integer,
    "compress_ratios": _integers,
    "compress_rope_theta": Section.number,
    "hc_mult": Section.integer,
    "hc_sinkhorn_iters": Section.integer,
    "hc_eps": Section.number,
    "num_hash_layers": Section.integer_or_zero,
    "swiglu_limit": Section.number,
    "expert_dtype": Section.text,
    "dspark_block_size": Section.integer,
    "dspark_markov_rank": Section.integer,
    "dspark_noise_token_id": Section.integer_or_zero,
    "dspark_target_layer_ids": _integers,
    "rms_norm_eps": Section.number,
    "rope_theta": Section.number,
    "rope_scaling": nullable(_rope_scaling),
    "tie_word_embeddings": Section.flag,
}
REQUIRED_CONFIG = (
    "architectures",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
    "max_position_embeddings",
)
SIZES: dict[str, Rule] = {
    "context": Section.integer,
    "parameters": Section.number,
    "active": Section.number,
    "dtype": one_of(*DTYPES),
}
REQUIRED_SIZES = ("context", "parameters", "dtype")
SHAPE: dict[str, Rule] = {**SIZES, "config": _config, "quants": _quants}
READY_MADE: dict[str, Rule] = {
    "repository": _repository,
    "files": _gguf_files,
    "bytes": _gguf_sizes,
    "mtp": Section.flag,
}
# Keys of a model that is not in this package.
PUBLISHED: dict[str, Rule] = {
    "revision": _revision,
    "weights": one_of(*WEIGHTS),
    "files": _file_patterns,
    "gguf": _ready_made,
    "aliases": _aliases,
}
# Keys that say whom a model is for.
AUDIENCE: dict[str, Rule] = {
    "purpose": one_of(*PURPOSES),
    "replaced_by": _name_of_model,
    "recommended": Section.integer,
}
TEXTS = ("title", "licence", "family", "quant")  # every model has these
FILE: dict[str, Rule] = {"models": Section.section, "shapes": Section.section}
MODEL: dict[str, Rule] = {
    "title": Section.text,
    "licence": Section.text,
    "family": Section.text,
    "quant": Section.text,
    "source": _bundled_folder,
    "repository": _repository,
    "shape": Section.text,
    **AUDIENCE,
    **SHAPE,
    **PUBLISHED,
}
