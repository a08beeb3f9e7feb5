"""Prove that odd but real checkpoints are refused with the true reason, before all else is read.

Odd is what people really have: quantized already, half of the shards, pickles, adapters, pointers.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.damage import (
    FIRST,
    INDEX,
    SECOND,
    SINGLE,
    Case,
    Damage,
    config,
    content,
    fifo,
    refusal,
    removed,
    several,
    with_tensor,
    without,
)
from support.checkpoints.oddities import (
    MARK,
    SETTINGS,
    copied,
    every_name,
    linked_to_the_cache,
    new,
    renamed,
)

LFS = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 3554214621\n"
)
Config = partial(Case, file="config.json")


def linked_to_a_lost_cache(folder: Path) -> None:
    linked_to_the_cache(folder)
    shutil.rmtree(folder.parent / "models--deepseek-ai--X")


def no_weights(*names: str) -> Damage:
    """Put empty files of these names in the place of all weights."""

    def do(folder: Path) -> None:
        for path in [*folder.glob("*.safetensors"), *folder.glob("*.index.json")]:
            path.unlink()
        for name in names:
            (folder / name).write_bytes(b"PK")

    return do


# quantization_config, and the words that name it
QUANTIZERS: list[tuple[dict[str, Any], str]] = [
    ({"quant_method": "fp8", "activation_scheme": "static"}, "FP8 without blocks"),
    ({"quant_method": "fp8", "weight_block_size": None}, "FP8 without blocks"),
    ({"quant_method": "awq", "bits": 4, "version": "gemm"}, "AWQ"),
    ({"quant_method": "gptq", "bits": 4, "desc_act": True}, "GPTQ"),
    ({"bits": 4, "group_size": 128, "desc_act": False}, "GPTQ"),
    ({"w_bit": 4, "q_group_size": 128, "zero_point": True}, "AWQ"),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
    ({"load_in_8bit": True, "llm_int8_threshold": 6.0}, "bitsandbytes"),
    ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "compressed-tensors"),
    ({"config_groups": {}, "format": "float-quantized"}, "compressed-tensors"),
    ({"quant_method": "torchao", "quant_type": "int4_weight_only"}, "torchao"),
    ({"quant_method": "hqq"}, "HQQ"),
    ({"quant_method": "fp_quant"}, "FP-Quant"),
    ({"quant_method": "exl2", "bits": 4.25}, "EXL2"),
    ({"quant_method": "exl3"}, "EXL3"),
    ({"quant_method": "aqlm"}, "AQLM"),
    ({"quant_method": "quanto"}, "Quanto"),
    ({"quant_method": "vptq"}, "VPTQ"),
    ({"quant_method": "spqr"}, "SpQR"),
    ({"quant_method": "eetq"}, "EETQ"),
    ({"quant_method": "higgs"}, "HIGGS"),
    ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "NVIDIA ModelOpt (NVFP4)"),
    ({"quant_method": "intel/auto-round"}, "AutoRound"),
    ({"quant_method": "fbgemm_fp8"}, "FBGEMM FP8"),
    ({"quant_method": "GPTQ-Marlin"}, "GPTQ"),
    ({"quant_method": "next-year"}, "'next-year'"),
    ({"quant_method": 7}, "7"),
    ({"group_size": 64, "bits": 4}, "MLX"),
]


def rows() -> Iterator[Case]:
    yield from _quantized()
    yield from _shards()
    yield from _other_weights()
    yield from _other_files()
    yield from _tokenizers()


def _quantized() -> Iterator[Case]:
    for settings, name in QUANTIZERS:
        damage = several(config(quantization_config=settings), removed(FIRST))  # is not looked for
        yield Config(f"config {settings}", damage, f"already quantized with {name}")
    for key, value, name in [
        ("quantization", {"group_size": 64, "bits": 4}, "MLX"),
        ("compression_config", {"format": "x"}, "compressed-tensors"),
        ("quantize", "w8a8", "Ascend's 'w8a8'"),
        ("text_config", {"quantization_config": {"quant_method": "awq"}}, "AWQ"),
    ]:
        yield Config(f"{key} {name}", config(**{key: value}), f"already quantized with {name}")
    for file, name in [
        ("quantize_config.json", "GPTQ"),
        ("quant_config.json", "AWQ"),
        ("hf_quant_config.json", "NVIDIA ModelOpt"),
    ]:
        yield Case(file, new(file, "{}"), f"already quantized with {name}", file=file)
    for suffix, name in [
        (".qweight", "GPTQ or AWQ"),
        (".weight.absmax", "bitsandbytes"),
        (".weight_packed", "compressed-tensors"),
        (".weight_scale", "one FP8 scale"),
        (".trellis", "EXL3"),
    ]:
        tensor = f"model.layers.0.mlp.up_proj{suffix}"
        damage = with_tensor(SECOND, tensor, "U8", [4], bytes(4))
        yield Case(f"tensor {suffix}", damage, f"already quantized with {name}", tensor=tensor)


def _shards() -> Iterator[Case]:
    yield Case(
        "two series, neither whole",
        several(removed(INDEX), removed(SECOND), copied(FIRST, "model-00001-of-00003.safetensors")),
        "is missing: by the names of the other shards, 1 of 2",
        file=SECOND,
    )
    yield Case(
        "a blob that the cache has lost",
        linked_to_a_lost_cache,
        "is missing from",
        file="tokenizer.json",
    )
    yield Case(
        "names with torch.compile's prefix",
        every_name(lambda name: f"_orig_mod.{name}"),
        "is missing from the checkpoint",
        tensor="model.embed_tokens.weight",
        base="llama",
    )
    yield Case(
        "no lm_head",
        without("lm_head.weight"),
        "is missing from the checkpoint",
        tensor="lm_head.weight",
        base="llama",
    )
    yield Case(
        "a gap in the numbers",
        several(
            removed(INDEX),
            renamed(SECOND, "model-00003-of-00003.safetensors"),
            renamed(FIRST, "model-00001-of-00003.safetensors"),
        ),
        "is missing: by the names of the other shards, 1 of 3",
        file="model-00002-of-00003.safetensors",
    )
    yield Case(
        "the last is missing",
        several(removed(INDEX), removed(SECOND)),
        "is missing: by the names of the other shards, 1 of 2",
        file=SECOND,
    )
    yield Case(
        "an index alone", several(removed(FIRST), removed(SECOND)), "is missing from", file=FIRST
    )
    yield Case(
        "a shard of an unfinished aria2",
        new(f"{FIRST}.aria2", b"\0\1"),
        "unfinished download of aria2",
        file=FIRST,
    )
    yield Case(
        "a tensor in two shards without an index",
        several(removed(INDEX), with_tensor(SECOND, "model.embed_tokens.weight", "U8", [1], b"x")),
        f"is also in {FIRST}",
        file=SECOND,
        tensor="model.embed_tokens.weight",
    )
    yield Case(
        "shards for several GPUs",
        several(
            removed(INDEX),
            renamed(FIRST, "model0-mp2.safetensors"),
            renamed(SECOND, "model1-mp2.safetensors"),
        ),
        "inference/convert.py",
        file="model0-mp2.safetensors",
    )


def _other_weights() -> Iterator[Case]:
    for name, words in {
        "pytorch_model.bin": "holds pickled weights, which are never opened",
        "pytorch_model-00001-of-00002.bin": "holds pickled weights",
        "consolidated.00.pth": "holds pickled weights",
        "model.ckpt": "holds pickled weights",
        "weights.npz": "MLX or NumPy archive",
        "model.onnx": "an ONNX model",
        "tf_model.h5": "TensorFlow",
        "flax_model.msgpack": "Flax",
        "model.safetensors.incomplete": "an unfinished file of Hugging Face's tools",
        "model.safetensors.crdownload": "an unfinished file of Chrome",
        "model.safetensors.part1of2": "piece 1 of 2 of a file that was cut by size",
        "R1-Q4_K_M.gguf": "is a GGUF file, which is used as it is",
        "adapter_model.safetensors": "is a LoRA adapter, not a whole model",
        "weights.tar": "an archive that is not unpacked",
    }.items():
        yield Case(f"only {name}", no_weights(name), words, file=name)
    adapter = {"base_model_name_or_path": "deepseek-ai/X", "peft_type": "IA3"}
    yield Case(
        "an adapter of another kind",
        several(no_weights(), new("adapter_config.json", json.dumps(adapter))),
        "is a IA3 adapter",
        file="adapter_config.json",
    )
    damaged_adapter = several(no_weights(), new("adapter_config.json", b"\xff{"))
    yield Case("an adapter, damaged", damaged_adapter, "LoRA adapter", file="adapter_config.json")
    yield Case("nothing at all", no_weights(), "is missing from", file=SINGLE)
    for name, data, words in [
        ("git-lfs", LFS, "a git-lfs pointer to 3.6 GB"),
        ("a web page", b"<!DOCTYPE html>\n<html>", "a web page (HTML)"),
        ("an error of the hub", b"Access to model X is restricted.", "plain text that begins"),
        ("an error in JSON", b'{"error": "Repository not found"}', "JSON text that begins"),
        ("XML", b"<?xml version='1.0'?><Error/>", "an XML text"),
        ("gzip", b"\x1f\x8b\x08" + bytes(99), "compressed by gzip"),
        ("7z", b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7-Zip archive"),
        ("tar", bytes(257) + b"ustar" + bytes(250), "a tar archive"),
        ("a pickle in a zip", torch_zip("archive/data.pkl"), "pickled PyTorch weights"),
        ("a NumPy archive", torch_zip("model.embed.npy"), "a NumPy archive"),
        ("a GGUF file", b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "a GGUF file"),
        ("zeros", bytes(9999), "zeros at its beginning"),
        ("an old pickle", b"\x80\x02\x8a\x0al\xfc\x9c", "a pickle"),
    ]:
        yield Case(
            f"in place of a shard: {name}",
            content(FIRST, data),
            f"is not a safetensors file, but {words}",
            file=FIRST,
        )


def torch_zip(first: str) -> bytes:
    """The beginning of a ZIP archive with one file."""
    return b"PK\3\4" + bytes(22) + struct.pack("<HH", len(first), 0) + first.encode() + bytes(64)


def _other_files() -> Iterator[Case]:
    for file in ("config.json", "tokenizer.json", INDEX):
        for name, data, words in [
            ("git-lfs", LFS, "but a git-lfs pointer"),
            ("a web page", b"<html><body>", "but a web page"),
            ("a refusal", b"Invalid username or password.", "but plain text that begins 'Invalid"),
            ("UTF-16", '{"a": 1}'.encode("utf-16"), "UTF-16 text: save it as UTF-8"),
            ("UTF-16 without a mark", '{"a": 1}'.encode("utf-16-le"), "UTF-16 text"),
            ("UTF-32", '{"a": 1}'.encode("utf-32"), "UTF-32 text"),
            ("two marks", MARK * 2 + b"{}", "is not valid JSON"),
        ]:
            yield Case(f"{file}: {name}", content(file, data), words, file=file)
    for family in ("MistralForCausalLM", "Qwen3NextForCausalLM", "BertModel"):
        damage = several(no_weights(), config(architectures=[family]))
        yield Config(
            f"{family}, config.json alone", damage, "is not an architecture that dslocal converts"
        )
    for file, words in {
        "params.json": "Meta's or Mistral's own layout",
        "model_index.json": "a pipeline of diffusers",
    }.items():
        damage = several(removed("config.json"), no_weights(), new(file, "{}"))
        yield Case(f"{file} for config.json", damage, words, file=file)
    damage = several(removed("config.json"), no_weights("adapter_model.bin"))
    yield Case("an adapter without config.json", damage, "LoRA", file="adapter_model.bin")
    yield Case(
        "chat_template.jinja in UTF-16",
        new("chat_template.jinja", "{{x}}".encode("utf-16")),
        "UTF-16",
        file="chat_template.jinja",
    )
    yield Case(
        "a chat_template.jinja too long",
        new("chat_template.jinja", "x" * ((1 << 20) + 1)),
        "bytes long",
        file="chat_template.jinja",
    )


def _tokenizers() -> Iterator[Case]:
    gone = removed("tokenizer.json")
    Tokenizer = partial(Case, file="tokenizer.json")
    parted = several(gone, new("vocab.json", "{}"), new("merges.txt", ""))
    yield Tokenizer("vocab.json and merges.txt", parted, "vocab.json and merges.txt are here")
    sentences = several(gone, new("tokenizer.model", b"\x0a"))
    yield Tokenizer("tokenizer.model", sentences, "SentencePiece")
    yield Tokenizer("only tokenizer_config.json", gone, "only tokenizer_config.json is here")
    nothing = several(gone, removed(SETTINGS))
    yield Tokenizer("no tokenizer at all", nothing, "is missing from")
    yield Tokenizer(
        "no tokenizer, and no shard", several(gone, no_weights()), "only tokenizer_config.json"
    )
    yield Tokenizer("a FIFO", fifo("tokenizer.json"), "is not a regular file")


@pytest.mark.parametrize("case", list(rows()), ids=lambda case: f"{case.id:.60}")
def test_refused_for_the_true_reason(case: Case, refused: Callable[[Case], None]) -> None:
    refused(case)


ORIGINALS: dict[str, tuple[str, Damage, str]] = {
    "by the folder's name": (
        "DeepSeek-R1-Distill-Qwen-7B-AWQ",
        lambda _: None,
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    ),
    "by a name with several marks": (
        "DeepSeek-V2-Lite-Chat-4bit-mlx-g64",
        lambda _: None,
        "deepseek-ai/DeepSeek-V2-Lite-Chat",
    ),
    "by config.json": (
        "x",
        config(_name_or_path="deepseek-ai/DeepSeek-V3"),
        "deepseek-ai/DeepSeek-V3",
    ),
    "by a path in config.json": (
        "x",
        config(_name_or_path="/data/DeepSeek-V3"),
        "deepseek-ai/DeepSeek-V3",
    ),
    "by the model card": (
        "x",
        new("README.md", "---\nlicense: mit\nbase_model: org/Fine-Tune\ntags: []\n---\n# X"),
        "org/Fine-Tune",
    ),
    "by a list in the model card": (
        "x",
        new("README.md", MARK + b"---\r\nbase_model:\r\n- org/Fine-Tune\r\n---\r\n"),
        "org/Fine-Tune",
    ),
    "not by a quantized one": (
        "Tune-GPTQ",
        config(_name_or_path="someone/Tune-GPTQ-Int4"),
        "use the original checkpoint, Tune",
    ),
    "by nothing": ("x", lambda _: None, "use the original checkpoint"),
    "by nothing, with a card that leads elsewhere": (
        "x",
        lambda folder: (folder / "README.md").symlink_to("/etc/passwd"),
        "use the original checkpoint",
    ),
}


@pytest.mark.parametrize(("name", "damage", "words"), ORIGINALS.values(), ids=ORIGINALS)
def test_the_original_is_named(
    name: str, damage: Damage, words: str, copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy("qwen2").rename(tmp_path / name)
    several(config(quantization_config={"quant_method": "awq"}), damage)(folder)
    (tmp_path / "out").mkdir()
    assert words in refusal(folder, tmp_path / "out").hint
