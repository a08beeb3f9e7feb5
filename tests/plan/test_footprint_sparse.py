"""Proves that the memory of V3.2 and V4, whose attention is sparse, is planned to the byte.

llama.cpp itself says what it would take, for tiny models and for headers of the published
dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.checkpoints.damage import convert_to
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.cli.running import Run
from support.gguf.gguf_changes import parts_of, put
from support.gguf.published_shapes import write_header
from support.gguf.tiny_v4 import V4_FLASH, V4_PRO, write_tiny_v4, write_v4_header

from dslocal.api.conversion import convert
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.sizing.no_alloc import exact_memory_uses
from dslocal.errors import GgufError
from dslocal.gguf.header import read_header
from dslocal.gguf.header_fields import Value
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.footprint import footprint, kv_bytes_per_token
from dslocal.plan.memory.kv_cache import checkpoint_bytes
from dslocal.plan.memory.shape import shape_of

F32 = GgmlType.F32
CONFIGS = (
    LoadConfig(256),
    LoadConfig(1000),
    LoadConfig(4096),
    LoadConfig(4096, n_ubatch=64),
    LoadConfig(4096, n_ubatch=128, n_outputs=4),
    LoadConfig(4096, n_seq=4, n_outputs=4),
    LoadConfig(2048, n_seq=8, n_outputs=8),
    LoadConfig(32768),
    LoadConfig(32768, n_ubatch=2048),
    LoadConfig(32768, flash_attn=False),
    LoadConfig(131072),
    LoadConfig(1048576),
)
V4_CONFIGS = (
    *CONFIGS,
    LoadConfig(32768, kv_type=GgmlType.Q8_0),
    LoadConfig(4096, kv_type=GgmlType.Q4_0, n_outputs=4),
    LoadConfig(8192, kv_type=F32, flash_attn=False),
    LoadConfig(8192, kv_type=F32),
)


def tiny_v3_2(path: Path) -> Path:
    write_checkpoint(path.parent / "v3.2", "deepseek-v32")
    convert_to(path.parent / "v3.2", path)
    return path


MTP_CONFIGS = (
    LoadConfig(4096),
    LoadConfig(4096, n_outputs=4, mtp=True),
    LoadConfig(32768, n_ubatch=128, n_outputs=4, mtp=True),
    LoadConfig(4096, flash_attn=False, n_outputs=4, mtp=True),
)


def tiny_v4_with_mtp(path: Path) -> Path:
    """A V4 with its MTP layer in the same file, as other converters may write it."""
    folder = path.parent / "v4"
    write_checkpoint(folder, "deepseek-v4")
    main, layer = path.parent / "main.gguf", path.parent / "layer.gguf"
    convert(folder, main, quant="Q8_0")
    convert(folder, layer, quant="Q8_0", mtp="only")
    joined, drafter = parts_of(main), parts_of(layer)
    joined.tensors |= {
        name: tensor for name, tensor in drafter.tensors.items() if name.startswith("blk.5.")
    }
    joined.metadata |= {
        key: value for key, value in drafter.metadata.items() if key.startswith("deepseek4.")
    }
    return joined.write(path)


def tiny_v4_without_mtp(path: Path) -> Path:
    """A V4 whose metadata names an MTP layer that the file lacks, as those of ds4 do."""
    parts = parts_of(write_tiny_v4(path.parent / "plain.gguf"))
    put("deepseek4.nextn_predict_layers", 1)(parts)
    return parts.write(path)


MODELS: dict[str, tuple[Callable[[Path], Path], tuple[LoadConfig, ...]]] = {
    "tiny V3.2": (tiny_v3_2, CONFIGS),
    "tiny V3.2, drafting": (tiny_v3_2, MTP_CONFIGS),
    "tiny V4": (write_tiny_v4, V4_CONFIGS),
    "tiny V4, drafting": (tiny_v4_with_mtp, MTP_CONFIGS),
    "tiny V4 that names an MTP layer and lacks it": (tiny_v4_without_mtp, V4_CONFIGS[:4]),
}
PUBLISHED: dict[str, tuple[Callable[[Path], Path], tuple[LoadConfig, ...]]] = {
    "V3.2": (lambda path: write_header(path.parent, "v3.2"), CONFIGS),
    "V3.2, drafting": (lambda path: write_header(path.parent, "v3.2", mtp=True), MTP_CONFIGS),
    "V4-Flash": (lambda path: write_v4_header(path, V4_FLASH), V4_CONFIGS),
    "V4-Pro": (lambda path: write_v4_header(path, V4_PRO), V4_CONFIGS),
}


def assert_exact(path: Path, configs: tuple[LoadConfig, ...]) -> None:
    header = read_header(path)
    for config, exact in zip(configs, exact_memory_uses(path, configs), strict=True):
        planned = footprint(header, config)
        for part in ("weights", "kv", "compute", "output"):
            assert getattr(planned, part) == getattr(exact, part), f"{part} of {config}"


@pytest.mark.parametrize("name", MODELS)
def test_the_plan_is_llama_cpps_own_sizing(tmp_path: Path, name: str) -> None:
    write, configs = MODELS[name]
    assert_exact(write(tmp_path / "model.gguf"), configs)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_plan_of_published_dimensions_is_llama_cpps_own_sizing(
    tmp_path: Path, name: str
) -> None:
    write, configs = PUBLISHED[name]
    assert_exact(write(tmp_path / "model.gguf"), configs)


def test_a_token_of_v4_flash_takes_a_tenth_of_what_v3s_takes(tmp_path: Path) -> None:
    header = read_header(write_v4_header(tmp_path / "flash.gguf", V4_FLASH))
    assert kv_bytes_per_token(header) == 6880
    assert shape_of(header).kind == "CSA"


def test_a_checkpoint_takes_what_is_planned(tmp_path: Path) -> None:
    path = write_tiny_v4(tmp_path / "v4.gguf")
    config = LoadConfig(2048)
    with LlamaModel(path) as model, LlamaContext(model, config) as context:
        context.prefill(list(range(100)) * 8)
        planned = checkpoint_bytes(shape_of(model.header), config)
        sizes = [len(state) for _, state in context.memory.checkpoints]
    assert sizes
    assert all(planned <= size <= 1.02 * planned for size in sizes), "and a few numbers of cells"


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        (None, "no compress_ratios for 5 layers"),
        ([0, 4], "no compress_ratios for 5 layers"),
        ([0, 0, 4, 64, 4], "a compress_ratio of 64"),
        (["a"] * 5, "a compress_ratio of a"),
    ],
)
def test_ratios_that_llama_cpp_does_not_know(
    tmp_path: Path, ratios: list[Value] | None, message: str
) -> None:
    header = read_header(write_tiny_v4(tmp_path / "v4.gguf"))
    metadata: dict[str, Value] = {
        **header.metadata,
        "deepseek4.attention.compress_ratios": ratios or [],
    }
    changed = replace(header, metadata=metadata)
    with pytest.raises(GgufError, match=message):
        shape_of(changed)


def test_explain_shows_the_arithmetic_of_the_compressed_cache(run: Run, tmp_path: Path) -> None:
    path = write_v4_header(tmp_path / "flash.gguf", V4_FLASH)
    done = run.inside("fit", path, "--os", "macos", "--ram", "128GiB", "--explain")
    shown = " ".join(done.stdout.decode().split())
    assert (
        "KV cache (CSA): 21 layers × (512 + 128) values / 4 tokens + 20 layers × 512 values / 128"
        " tokens in f16 = 6,880 bytes a token"
    ) in shown
    assert "GPT-3 175B 4,718,592" in shown
    assert "DeepSeek-V3 3,997,696 3,997,696 31,232 70,272" in shown
    assert "DeepSeek-V4-Flash 5,636,096 88,064 88,064 6,880" in shown
