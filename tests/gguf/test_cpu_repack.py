"""Proves that llama.cpp rearranges just the weights that ggml says it does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.gguf.published_shapes import write_header
from support.machines.planning import LITE, QWEN_7B, V3, header

from dslocal.engine.sizing.no_alloc import exact_memory_uses
from dslocal.gguf.cpu_repack import RepackedType, is_rearranging_safe, repacked_types
from dslocal.gguf.header import read_header
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.repack import ARM, X86, repack_growth, repacked_share

AMX = tuple(
    RepackedType(kind, rows=32, experts=False, growth=1.06)
    for kind in (GgmlType.Q4_0, GgmlType.Q8_0, GgmlType.Q4_K, GgmlType.Q6_K)
)
AVX512 = (*X86, RepackedType(GgmlType.Q2_K, rows=8, experts=True))
ROWS_OF_512 = (RepackedType(GgmlType.Q8_0, rows=1 << 20, experts=True),)


def test_this_cpu_is_asked_once_and_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    found = repacked_types()
    assert found is repacked_types()
    assert len({one.type for one in found}) == len(found)
    for one in found:
        assert one.type.block > 1
        assert one.rows in (1, 4, 8, 16, 32)
        assert 0.5 < one.growth < 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["v3", "qwen3-8b"])
@pytest.mark.parametrize("quant", ["Q4_K_M", "Q8_0", "Q4_0", "Q2_K"])
def test_llama_cpp_takes_as_much_as_is_said(tmp_path: Path, name: str, quant: str) -> None:
    if not repacked_types():
        pytest.skip("nothing is rearranged for this CPU")
    path = write_header(tmp_path, name, recipe=quant)
    plain = LoadConfig(4096, load_mode="none")
    mapped, copied = exact_memory_uses(path, [plain, replace(plain, repack=True)])
    growth = repack_growth(read_header(path), plain, repacked_types())
    difference = copied.weights.host - mapped.weights.host
    assert difference == pytest.approx(growth, abs=1 << 16)  # paddings


@pytest.mark.parametrize(
    ("buffer_types", "safe"),
    [
        ([], True),
        ([b"CPU_REPACK"], True),
        ([b"CPU_KLEIDIAI", b"CPU_REPACK"], True),
        ([b"AMX", b"CPU_REPACK"], False),
    ],
)
def test_amx_is_left_alone(buffer_types: list[bytes], safe: bool) -> None:
    assert is_rearranging_safe(buffer_types) is safe


CASES = [
    # what the CPU rearranges, the model, its quantization, and the share of its weights
    ("nothing", (), QWEN_7B, "Q4_K_M", 0, 0),
    ("AVX2, Q4_K_M", X86, QWEN_7B, "Q4_K_M", 0.5, 0.8),
    ("AVX2, Q8_0", X86, QWEN_7B, "Q8_0", 0, 0),
    ("AVX2, Q4_0", X86, QWEN_7B, "Q4_0", 0.7, 0.95),
    ("AVX2, Q2_K", X86, QWEN_7B, "Q2_K", 0, 0.2),
    ("AVX-512, Q2_K", AVX512, QWEN_7B, "Q2_K", 0.3, 0.8),
    ("Arm, Q8_0", ARM, QWEN_7B, "Q8_0", 0.9, 0.95),
    ("Arm, Q4_K_M", ARM, QWEN_7B, "Q4_K_M", 0.9, 0.95),
    ("AVX2, experts", X86, LITE, "Q4_K_M", 0.5, 0.9),
    ("AMX, no experts", AMX, LITE, "Q4_K_M", 0.01, 0.2),
    ("AVX2, V3", X86, V3, "Q4_K_M", 0.5, 0.9),
    ("F16", (*X86, *ARM), QWEN_7B, "F16", 0, 0),
    ("rows of another multiple", ROWS_OF_512, QWEN_7B, "Q8_0", 0, 0),
]


@pytest.mark.parametrize(
    ("types", "model", "quant", "low", "high"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_what_is_rearranged(
    types: tuple[RepackedType, ...], model: str, quant: str, low: float, high: float
) -> None:
    found = repacked_share(header(model, quant), LoadConfig(4096), types)
    assert low <= found <= high
    if not any(how.growth != 1 for how in types):
        assert repack_growth(header(model, quant), LoadConfig(4096), types) == 0


def test_embeddings_that_are_the_output_too_are_there_twice() -> None:
    whole = header(QWEN_7B, "Q4_0")
    tied = replace(whole, tensors=tuple(t for t in whole.tensors if t.name != "output.weight"))
    embeddings = next(t for t in tied.tensors if t.name == "token_embd.weight")
    types = (RepackedType(embeddings.type, rows=8, experts=True),)
    assert repack_growth(tied, LoadConfig(4096), types) == embeddings.nbytes
    assert repack_growth(whole, LoadConfig(4096), types) == 0
    on_gpu = LoadConfig(4096, n_gpu_layers=99)
    assert repacked_share(whole, on_gpu, types) == 0
