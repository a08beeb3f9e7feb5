"""Proves the footprint equal to llama.cpp's own sizing, to the byte; that sizing ends in one line
whatever the header; known figures.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from support.gguf.published_shapes import SHAPES, write_header, write_sparse_copy

from dslocal.engine import LlamaModel
from dslocal.engine.llama_params import context_params, model_params
from dslocal.engine.sizing.no_alloc import exact_memory_use, exact_memory_uses
from dslocal.errors import (
    DslocalError,
    EngineError,
    GgufError,
    UnsupportedModelError,
    UsageError,
)
from dslocal.gguf import libraries
from dslocal.gguf.header import read_header
from dslocal.gguf.header_fields import Value
from dslocal.gguf.parts import read_parts
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.footprint import (
    footprint,
    kv_bytes_per_token,
    refusal_reason,
)
from dslocal.plan.memory.kv_cache import kv_cache
from dslocal.plan.memory.llamacpp_mirror import LLAMA_CPP_COMMIT
from dslocal.plan.memory.placement import weights_by_class
from dslocal.plan.memory.published_attention import Attention, saved_share
from dslocal.plan.memory.shape import is_legacy_mla, moe_layers, shape_of

MIB = 1 << 20
LOAD_CONFIGS = [
    LoadConfig(4096),
    LoadConfig(16384, kv_type=GgmlType.Q8_0, n_ubatch=64),
    LoadConfig(32768, flash_attn=False),
    LoadConfig(65536, kv_type=GgmlType.Q4_0, n_ubatch=256, n_outputs=8),
    LoadConfig(131072, n_ubatch=2048),
    LoadConfig(5000, n_ubatch=333, flash_attn=False, n_outputs=333),
]


@pytest.fixture(scope="session")
def headers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sparse file of each shape."""
    folder = tmp_path_factory.mktemp("headers")
    return {name: write_header(folder, name) for name in SHAPES}


@pytest.fixture(scope="session")
def v3(headers: dict[str, Path]) -> Path:
    return headers["v3"]


@pytest.mark.parametrize("name", SHAPES)
def test_footprint_is_llama_cpps_own(headers: dict[str, Path], name: str) -> None:
    header = read_header(headers[name])
    for load_config, theirs in zip(
        LOAD_CONFIGS, exact_memory_uses(headers[name], LOAD_CONFIGS), strict=True
    ):
        ours = footprint(header, load_config)
        assert ours == theirs  # to the byte, compute buffers included


@pytest.mark.parametrize("mtp", [False, True])
def test_mtp_layer_counts_only_when_loaded(tmp_path: Path, mtp: bool) -> None:
    path = write_header(tmp_path, "v3", mtp=True)
    load_config = LoadConfig(8192, mtp=mtp)
    ours, theirs = footprint(read_header(path), load_config), exact_memory_use(path, load_config)
    assert ours == theirs
    assert (ours.kv.total == 62 * 8192 * 576 * 2) is mtp


def test_a_split_model_is_sized_as_a_whole(tmp_path: Path, headers: dict[str, Path]) -> None:
    first = write_header(tmp_path, "v2-lite", tensors_per_file=100)
    assert first.name.endswith("-00001-of-00005.gguf")
    assert len(read_header(first).tensors) == 100
    header, load_config = read_parts(first)[1], LoadConfig(8192)
    assert moe_layers(header) == list(range(1, 27))
    assert footprint(header, load_config) == exact_memory_use(first, load_config)
    whole = footprint(read_header(headers["v2-lite"]), load_config)
    assert footprint(header, load_config) == whole


def test_legacy_mla_is_named_and_sized(tmp_path: Path, v3: Path) -> None:
    path = write_header(tmp_path, "v3", legacy=True)
    header, load_config = read_header(path), LoadConfig(32768)
    assert is_legacy_mla(header)
    assert not is_legacy_mla(read_header(v3))
    ours, theirs = footprint(header, load_config), exact_memory_use(path, load_config)
    assert ours == theirs
    assert ours.kv.total == 156_160 * MIB


@pytest.mark.parametrize(
    ("kind", "mib"), [(GgmlType.F16, 2196), (GgmlType.Q8_0, 1167), (GgmlType.Q4_0, 618)]
)
def test_v3_at_32k(v3: Path, kind: GgmlType, mib: int) -> None:
    header = read_header(v3)
    assert kv_bytes_per_token(header) == 70_272
    assert round(footprint(header, LoadConfig(32768, kv_type=kind)).kv.total / MIB) == mib
    assert (
        kv_bytes_per_token(header, kind) * 32768
        == footprint(header, LoadConfig(32700, kv_type=kind)).kv.total
    )


def test_published_figures() -> None:
    gpt3 = Attention(layers=96, heads=96, head=128).per_token()
    assert gpt3["MHA"] == 4_718_592  # 4.7 MB
    v2 = Attention(layers=60, heads=128, head=128, kv_heads=8, kv_rank=512, rope=64)
    llm67b = Attention(layers=95, heads=64, head=128, kv_heads=8).per_token()["GQA"]
    assert (v2.per_token(6)["MLA"], llm67b) == (25_920, 389_120)
    assert round(100 * saved_share(v2.per_token(6)["MLA"], llm67b), 1) == 93.3
    assert round(100 * saved_share(v2.per_token()["MLA"], llm67b), 1) == 82.2
    assert v2.per_token() == {"MHA": 3_932_160, "GQA": 245_760, "MQA": 30_720, "MLA": 69_120}


@pytest.mark.parametrize(
    ("name", "kind", "per_token"),
    [
        ("v3", "MLA", 70_272),
        ("coder-v2", "MLA", 69_120),
        ("v2-lite", "MLA", 31_104),
        ("moe-16b", "MHA", 229_376),
        ("qwen-7b", "GQA", 57_344),
        ("llama-70b", "GQA", 327_680),
        ("llm-67b", "GQA", 389_120),
    ],
)
def test_kind_of_attention(headers: dict[str, Path], name: str, kind: str, per_token: int) -> None:
    header = read_header(headers[name])
    assert (shape_of(header).kind, kv_bytes_per_token(header)) == (kind, per_token)


def test_placement(v3: Path) -> None:
    header = read_header(v3)
    shape, total = shape_of(header), sum(t.nbytes for t in header.tensors)
    parts = weights_by_class(header, shape, LoadConfig(4096, n_gpu_layers=99, cpu_moe_layers=58))
    assert parts["routed experts"].gpu == 0
    assert parts["embeddings"].gpu == 0
    assert all(
        share.host == 0
        for kind, share in parts.items()
        if kind not in ("routed experts", "embeddings")
    )
    assert sum(share.total for share in parts.values()) == pytest.approx(total, rel=1e-4)
    half = weights_by_class(header, shape, LoadConfig(4096, n_gpu_layers=99, cpu_moe_layers=29))[
        "routed experts"
    ]
    assert half.gpu == pytest.approx(half.host, rel=0.2)
    assert moe_layers(header) == list(range(3, 61))
    one = weights_by_class(
        header, shape, LoadConfig(4096, n_gpu_layers=1)
    )  # the output is the first to go
    assert [kind for kind, share in one.items() if share.gpu] == ["norms", "output"]
    assert kv_cache(shape, LoadConfig(4096, n_gpu_layers=31)).gpu == 30 * 4096 * 576 * 2
    assert kv_cache(shape, LoadConfig(4096, n_gpu_layers=99)).host == 0


# bytes of the compute buffers on the device and in RAM, as llama.cpp sizes them for an H200 with
# CUDA 13.0
SPLIT = [
    ("v3", LoadConfig(32768, n_gpu_layers=62), 432_019_584, 62_922_784),
    ("v3", LoadConfig(32768, n_gpu_layers=62, cpu_moe_layers=58), 3_330_283_520, 62_922_784),
    (
        "v3",
        LoadConfig(8192, kv_type=GgmlType.Q8_0, n_ubatch=128, n_gpu_layers=62, cpu_moe_layers=20),
        3_138_389_504,
        9_439_264,
    ),
    (
        "v2-lite",
        LoadConfig(16384, flash_attn=False, n_gpu_layers=28, cpu_moe_layers=26),
        627_460_096,
        41_951_264,
    ),
    (
        "moe-16b",
        LoadConfig(4096, n_ubatch=2048, n_gpu_layers=29, cpu_moe_layers=10),
        417_947_904,
        50_380_832,
    ),
    ("moe-16b", LoadConfig(32768, kv_type=GgmlType.Q8_0, n_gpu_layers=29), 369_596_544, 42_037_280),
    ("qwen-7b", LoadConfig(32768, n_gpu_layers=29), 171_976_832, 48_246_816),
    ("qwen-7b", LoadConfig(32768, n_gpu_layers=10), 214_843_392, 48_246_816),
    ("llama-70b", LoadConfig(131072, n_ubatch=256, n_gpu_layers=81), 180_360_320, 83_892_256),
    ("llama-70b", LoadConfig(8192, n_gpu_layers=40), 331_089_920, 41_955_360),
]
# MiB that a process took on that device after it had filled its context, by nvidia-smi
ON_THE_DEVICE = [
    ("qwen-7b", LoadConfig(4096, n_gpu_layers=99), 5147),
    ("qwen-7b", LoadConfig(4096, n_ubatch=64, n_gpu_layers=99), 5019),
    ("qwen-7b", LoadConfig(4096, n_ubatch=2048, n_gpu_layers=99), 5585),
    ("qwen-7b", LoadConfig(4096, flash_attn=False, n_gpu_layers=99), 5461),
    ("qwen-7b", LoadConfig(4096, n_gpu_layers=14), 3087),
    ("v2-lite", LoadConfig(4096, n_gpu_layers=99), 10687),
    ("v2-lite", LoadConfig(4096, n_gpu_layers=99, cpu_moe_layers=13), 6369),
    ("moe-16b", LoadConfig(4096, kv_type=GgmlType.Q8_0, n_gpu_layers=99), 11499),
    ("moe-16b", LoadConfig(4096, n_gpu_layers=99, cpu_moe_layers=27), 2609),
]


@pytest.mark.parametrize(("name", "load_config", "device", "ram"), SPLIT)
def test_compute_buffers_with_a_gpu(
    headers: dict[str, Path], name: str, load_config: LoadConfig, device: int, ram: int
) -> None:
    compute = footprint(read_header(headers[name]), load_config).compute
    assert compute.gpu == pytest.approx(device, rel=0.02)
    assert compute.host == pytest.approx(ram, rel=0.02)


@pytest.mark.parametrize(("name", "load_config", "mib"), ON_THE_DEVICE)
def test_device_memory_with_all_that_comes_on_top(
    headers: dict[str, Path], name: str, load_config: LoadConfig, mib: int
) -> None:
    assert footprint(read_header(headers[name]), load_config).all.gpu == pytest.approx(
        mib << 20, rel=0.01
    )


def test_params_say_what_the_loading_says(v3: Path) -> None:
    header = read_header(v3)
    params = model_params(
        header, LoadConfig(4096, n_gpu_layers=62, cpu_moe_layers=2, load_mode="none", mtp=True)
    )
    assert (params.n_gpu_layers, params.load_mode, params.load_mtp, params.use_extra_bufts) == (
        62,
        0,
        True,
        False,
    )
    assert params.owned[0].pattern == rb"blk\.(3|4)\.ffn_(up|down|gate|gate_up)_(ch|)exps"
    assert params.owned[1].pattern is None
    assert model_params(header, LoadConfig(4096)).devices  # an empty list: no GPU is opened
    settings = context_params(LoadConfig(300, kv_type=GgmlType.Q8_0, n_ubatch=1024, n_outputs=3))
    assert (settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_outputs_max) == (
        300,
        300,
        300,
        3,
    )
    assert (settings.type_k, settings.type_v, settings.flash_attn_type) == (8, 8, 1)


def test_quantized_cache_needs_flash_attention(v3: Path) -> None:
    load_config = LoadConfig(4096, kv_type=GgmlType.Q8_0, flash_attn=False)
    assert refusal_reason(read_header(v3), load_config) == "a q8_0 KV cache needs flash attention"
    assert refusal_reason(read_header(v3), replace(load_config, flash_attn=True)) is None
    with pytest.raises(UsageError, match="needs flash attention"):
        footprint(read_header(v3), load_config)
    with pytest.raises(EngineError, match=r"llama\.cpp refuses it: .*flash_attn"):
        exact_memory_use(v3, load_config)


def test_sparse_copy_of_a_header(v3: Path, tmp_path: Path) -> None:
    header = read_header(v3)
    first = first_bytes(v3)
    copy = write_sparse_copy(header, first + b"more", tmp_path / "copy.gguf")
    assert copy.stat().st_blocks * 512 < MIB
    assert exact_memory_use(copy, LoadConfig(4096)) == exact_memory_use(v3, LoadConfig(4096))
    with pytest.raises(GgufError, match="do not hold the header"):
        write_sparse_copy(header, first[:-1], tmp_path / "short.gguf")


def test_hostile_headers_end_as_one_line(v3: Path, tmp_path: Path) -> None:
    def changed(path: Path, old: bytes, new: bytes) -> Path:
        data = first_bytes(path)
        assert data.count(old) == 1
        return write_sparse_copy(
            read_header(path), data.replace(old, new), tmp_path / "hostile.gguf"
        )

    with_words = write_header(tmp_path, "v2-lite", words=True)
    rank = b"attention.kv_lora_rank" + struct.pack("<I", 4)  # its type comes before its value
    head = b"attention.key_length_mla" + struct.pack("<I", 4)
    for path, old, new, how in [
        (
            v3,
            rank + struct.pack("<I", 512),
            rank + struct.pack("<I", 1024),
            "metadata of deepseek2 makes no sense: 576 numbers are kept",
        ),
        (
            v3,
            head + struct.pack("<I", 192),
            head + struct.pack("<I", 3),
            "metadata of deepseek2 makes no sense: 64 rotated dimensions of 3",
        ),
        (
            with_words,
            b"word8" + struct.pack("<Q", 5),
            b"word9" + struct.pack("<Q", 5),
            r"llama\.cpp crashed",
        ),
        (v3, b"leading_dense_block_count", b"leading_dense_block_couns", r"llama\.cpp refuses"),
    ]:
        with pytest.raises(DslocalError, match=how) as caught:
            exact_memory_use(changed(path, old, new), LoadConfig(4096))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attention.head_count", 0),
        ("attention.head_count", [1, 2]),
        ("block_count", 1 << 31),
        ("block_count", "61"),
        ("expert_used_count", 1 << 31),
        ("expert_count", -1),
        ("attention.kv_lora_rank", -8),
        ("nextn_predict_layers", -4000),
    ],
)
def test_numbers_that_make_no_sense(v3: Path, key: str, value: Value) -> None:
    header = read_header(v3)
    with pytest.raises(GgufError, match=r"no number of .* that makes sense"):
        footprint(
            replace(header, metadata={**header.metadata, f"deepseek2.{key}": value}),
            LoadConfig(4096),
        )


def test_a_child_that_hangs_is_given_up(v3: Path) -> None:
    with pytest.raises(EngineError, match=r"did not finish sizing it in 0\.01 seconds"):
        exact_memory_use(v3, LoadConfig(4096), timeout=0.01)


def test_unknown_architectures_are_named(nano: Path) -> None:
    header = read_header(nano)
    with pytest.raises(UnsupportedModelError, match="'deepseek9'"):
        footprint(
            replace(header, metadata={**header.metadata, "general.architecture": "deepseek9"}),
            LoadConfig(4096),
        )


def test_an_architecture_that_the_engine_lacks_is_refused_with_what_to_run(nano: Path) -> None:
    header = read_header(nano)
    newer = replace(header, metadata={**header.metadata, "general.architecture": "deepseek41"})
    with pytest.raises(UnsupportedModelError, match=r"V4\.1 needs llama\.cpp's") as caught:
        footprint(newer, LoadConfig(4096))
    assert "deepseek-v4-flash-0731" in caught.value.hint


def test_nano_loaded_for_real(nano: Path, model: LlamaModel) -> None:
    from dslocal.engine.sizing.breakdown import memory_breakdown

    low, load_config = libraries.require(), LoadConfig(4096, n_ubatch=128)
    context = low.llama_init_from_model(model.handle, context_params(load_config))
    buffers = memory_breakdown(context)
    low.llama_free(context)
    ours = footprint(model.header, load_config)
    assert sum(buffer.context for buffer in buffers) == ours.kv.total
    assert sum(buffer.compute for buffer in buffers) == ours.compute.total


def test_the_mirrored_commit_is_the_one_that_is_installed() -> None:
    installed = libraries.symbol("ggml_commit", ctypes.c_char_p)().decode()
    if installed == "unknown":
        pytest.skip("this llama.cpp does not say of which commit it is")
    assert LLAMA_CPP_COMMIT.startswith(installed.removesuffix("-dirty"))


def first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(read_header(path).data_start)
