"""Recognize checkpoints that somebody has quantized already.

A conversion would round their weights a second time, and its result would be worse than the same
size made from the original. They are recognized by config.json, by a file that a quantizer leaves
beside it, or by the names of tensors. DeepSeek's own FP8 is not among them: it is what the vendor
publishes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from dslocal.errors import CheckpointError, UnsupportedModelError
from dslocal.files import utf8_text

from .config import Config, short_repr
from .source import Source

README = "README.md"
MAX_README = 1 << 20  # bytes; only its front matter is read
NATIVE = "fp8"  # with blocks, as DeepSeek publishes; other kinds of it are known by their tensors

# transformers' quant_method, in lower case and with _ for -, and what people call it
METHODS = {
    "aqlm": "AQLM",
    "auto_round": "AutoRound",
    "autoround": "AutoRound",
    "awq": "AWQ",
    "bitnet": "BitNet",
    "bitsandbytes": "bitsandbytes",
    "bnb": "bitsandbytes",
    "compressed_tensors": "compressed-tensors",
    "eetq": "EETQ",
    "exl2": "EXL2",
    "exl3": "EXL3",
    "fbgemm_fp8": "FBGEMM FP8",
    "fouroversix": "Four Over Six",
    "fp_quant": "FP-Quant",
    "gptq": "GPTQ",
    "gptq_marlin": "GPTQ",
    "awq_marlin": "AWQ",
    "higgs": "HIGGS",
    "hqq": "HQQ",
    "inc": "Intel Neural Compressor",
    "mlx": "MLX",
    "modelopt": "NVIDIA ModelOpt",
    "modelopt_fp4": "NVIDIA ModelOpt",
    "mxfp4": "MXFP4",
    "quanto": "Quanto",
    "quark": "AMD Quark",
    "quip": "QuIP",
    "sinq": "SINQ",
    "spqr": "SpQR",
    "torchao": "torchao",
    "vptq": "VPTQ",
}
# keys of a quantization_config without quant_method, and whose they are
_TELLING_KEYS = {
    "load_in_4bit": "bitsandbytes",
    "load_in_8bit": "bitsandbytes",
    "bnb_4bit_quant_type": "bitsandbytes",
    "config_groups": "compressed-tensors",
    "desc_act": "GPTQ",
    "w_bit": "AWQ",
    "zero_point": "AWQ",
    "q_group_size": "AWQ",
    "quant_algo": "NVIDIA ModelOpt",
    "nbits": "HQQ",
    "head_bits": "EXL2",
    "group_size": "MLX",
    "quant_type": "torchao",
}
# what else in config.json says so
_OTHER_KEYS = {"quantization": "MLX", "compression_config": "compressed-tensors"}
# files that a quantizer writes beside config.json
_FILES = {
    "quantize_config.json": "GPTQ",
    "quant_config.json": "AWQ",
    "hf_quant_config.json": "NVIDIA ModelOpt",
    "quant_model_description.json": "Ascend's msModelSlim",
    "qmodel.pt": "HQQ",
}
# ends of the names of tensors that no original has
_TENSORS = {
    ".qweight": "GPTQ or AWQ",
    ".qzeros": "GPTQ or AWQ",
    ".g_idx": "GPTQ",
    ".absmax": "bitsandbytes",
    ".quant_map": "bitsandbytes",
    ".SCB": "bitsandbytes",
    ".weight_packed": "compressed-tensors",
    ".weight_scale_2": "NVIDIA ModelOpt",
    ".weight_scale": "one FP8 scale a tensor or row (compressed-tensors, ModelOpt, vLLM)",
    ".input_scale": "static FP8 (compressed-tensors, ModelOpt, vLLM)",
    ".q_weight": "EXL2",
    ".trellis": "EXL3",
    ".codebooks": "AQLM",
    ".W_q": "HQQ",
    ".Qidxs": "QuIP",
    ".weight._data": "Quanto",
    ".weight.codebook": "higgs",
    ".centroids.weight": "VPTQ",
    ".biases": "MLX",
}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_BASE_MODEL = re.compile(
    r"^base_model:[ \t]*(?:\r?\n[ \t]*-[ \t]*)?[\"']?(?P<name>[\w.-]+/[\w.-]+)", re.MULTILINE
)
_FRONT_MATTER = re.compile(r"---\r?\n(.*?)^---", re.DOTALL | re.MULTILINE)
# one word at the end of a name that says how it was quantized
_MARK = re.compile(
    r"[-_.](?:awq|gptq|gptqmodel|autoround|bnb|mlx|quantized|quant|hqq|aqlm|vptq|spqr|eetq|higgs"
    r"|quanto|torchao|exl[23]|nvfp4|mxfp4|fp[48]|nf4|int[48]|[2-8]-?bits?|[\d.]+bpw|w\d+a\d+"
    r"|dynamic|g\d+|\d+g|gs\d+|sym|asym|unsloth|marlin|dwq)$",
    re.IGNORECASE,
)


def require_original(
    config: Config,
    *,
    files: Collection[str] = (),
    name: str = "",
    source: Source | None = None,
) -> None:
    """Refuse a checkpoint whose configuration says that it is quantized already.

    Args:
        config: Its config.json.
        files: The names of its files.
        name: What the checkpoint is called, by which its original may be known.
        source: Its files, where a model card may be looked at.

    Raises:
        UnsupportedModelError: It is quantized; the hint names the original where that is known.
    """
    method = _configured_method(config)
    file = config.file
    if not method:
        file = next((file for file in _FILES if file in files), "")
        method = _FILES.get(file, "")
    if method:
        raise _refusal(method, config, file, name or (source.name if source else ""), source)


def require_original_tensors(names: Iterable[str], config: Config, source: Source) -> None:
    """Refuse a checkpoint whose tensors are a quantizer's. Raises as :func:`require_original`."""
    for name in names:
        for suffix, method in _TENSORS.items():
            if name.endswith(suffix):
                raise _refusal(method, config, "", source.name, source, tensor=name)


def _configured_method(config: Config) -> str:
    """Return what config.json says that the weights were quantized with; empty for originals."""
    values = config.values
    nested = values.get("text_config")
    for holder in (values, nested if isinstance(nested, dict) else {}):
        settings = holder.get("quantization_config")
        if isinstance(settings, dict):
            method = _method_of(settings)
            if method:
                return method
        for key, method in _OTHER_KEYS.items():
            if isinstance(holder.get(key), dict) and holder[key]:
                return method
        if isinstance(holder.get("quantize"), str):
            return f"Ascend's {holder['quantize'][:20]!r}"
    return ""


def _method_of(settings: dict[str, Any]) -> str:
    """Return the method that a quantization_config names; empty for the vendor's own FP8."""
    named = settings.get("quant_method")
    if named is None:
        return next((who for key, who in _TELLING_KEYS.items() if key in settings), "")
    if named == NATIVE:
        has_blocks = (
            "weight_block_size" not in settings or settings["weight_block_size"] is not None
        )
        is_dynamic = settings.get("activation_scheme", "dynamic") == "dynamic"
        return "" if has_blocks and is_dynamic else "FP8 without blocks (vLLM, llm-compressor)"
    if not isinstance(named, str):
        return short_repr(named)
    plain = named.rpartition("/")[2].lower().replace("-", "_").replace(" ", "_")
    method = METHODS.get(plain) or repr(named[:40])
    algorithm = settings.get("quant_algo")
    return f"{method} ({algorithm[:20]})" if isinstance(algorithm, str) else method


def _refusal(
    method: str, config: Config, file: str, name: str, source: Source | None, *, tensor: str = ""
) -> UnsupportedModelError:
    original = _original(config, name, source)
    take = "use the original checkpoint"
    if original:
        take += f": {original}" if "/" in original else f", {original}"
    return UnsupportedModelError(
        f"already quantized with {method}",
        file=file,
        tensor=tensor,
        hint=take,
    )


def _original(config: Config, name: str, source: Source | None) -> str:
    """Return the repository, or else the name, of what was quantized; empty if nothing names it."""
    for text in (*_base_models(config), *_readme_base(source)):
        if _REPOSITORY.fullmatch(text) and not _MARK.search(text):
            return text
    for text in (name, *_base_models(config)):
        last = text.rstrip("/").rpartition("/")[2]
        plain = _unmarked(last)
        if plain and plain.lower().startswith("deepseek-"):
            return f"deepseek-ai/{plain}"
        if plain and plain != last:
            return plain
    return ""


def _base_models(config: Config) -> list[str]:
    keys = ("base_model", "base_model_name_or_path", "_name_or_path")
    found = [config.values.get(key) for key in keys]
    return [text[:200] for text in found if isinstance(text, str) and text.isprintable()]


def _readme_base(source: Source | None) -> list[str]:
    """Return the base model that the front matter of a model card names, if there is one."""
    if source is None or not source.exists(README):
        return []
    try:
        text = utf8_text(source.read(README, 0, min(source.size(README), MAX_README)))
    except (CheckpointError, ValueError):  # a link to elsewhere, or no text
        return []
    matter = _FRONT_MATTER.match(text)
    found = _BASE_MODEL.search(matter[1]) if matter else None
    return [found["name"]] if found else []


def _unmarked(name: str) -> str:
    """Return a name without what it says of quantization at its end."""
    shorter = _MARK.sub("", name)
    while shorter != name:
        name, shorter = shorter, _MARK.sub("", shorter)
    return name if name.isprintable() else ""
