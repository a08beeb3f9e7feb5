"""Proves that plans are as promised on recorded Macs, and sound on any machine: within its memory,
never worse with more of it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.machines.planning import (
    GIB,
    LITE,
    LLAMA_8B,
    LLAMA_70B,
    LLM,
    QWEN_1B,
    QWEN_7B,
    QWEN_32B,
    RUNS,
    V2,
    V3,
    assert_overrides_kept,
    assert_sound,
    header,
)
from support.machines.recorded_machines import MACOS, macos

from dslocal.errors import UsageError
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.budget import HEADROOM
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.machine.machine import Gpu, Machine
from dslocal.plan.machine.probe import probe_machine
from dslocal.plan.memory.footprint import footprint
from dslocal.plan.overrides import Overrides
from dslocal.plan.reductions import MIN_AUTO_CTX, STREAMED_UBATCH_SIZES, UBATCH_SIZES
from dslocal.plan.search import make_plan

F16 = GgmlType.F16
Q8 = GgmlType.Q8_0
Q4 = GgmlType.Q4_0
RANK = ("no", "ssd", "cpu", "offload", "gpu")

# what FIT promises for Macs, on recordings: (model, quantization): plan as it is, and with the
# wired limit raised
GPU, SSD = "gpu", "ssd"
ON_MACS: dict[str, dict[tuple[str, str], tuple[tuple[Any, ...], tuple[Any, ...]]]] = {
    "8": {
        (QWEN_1B, "Q4_K_M"): ((GPU, 32768, Q8), (GPU, 32768, Q8)),
        (QWEN_7B, "Q4_K_M"): ((SSD, 32768, Q8), (SSD, 32768, Q8)),
    },
    "16": {
        (QWEN_7B, "Q4_K_M"): ((GPU, 32768, F16), (GPU, 32768, F16)),
        (LLAMA_8B, "Q4_K_M"): ((GPU, 16384, Q8), (GPU, 16384, Q8)),
    },
    "16 on macOS 15": {
        (QWEN_7B, "Q4_K_M"): ((GPU, 32768, F16), (GPU, 32768, F16)),
        (LLAMA_8B, "Q4_K_M"): ((GPU, 32768, Q8), (GPU, 32768, Q8)),
    },
    "36": {
        (LITE, "Q4_K_M"): ((GPU, 32768, F16), (GPU, 32768, F16)),
        (QWEN_32B, "Q4_K_M"): ((GPU, 16384, Q8), (GPU, 16384, Q8)),
        (LLAMA_70B, "Q4_K_M"): ((SSD, 32768, F16), (SSD, 32768, F16)),
    },
    "64": {
        (QWEN_32B, "Q8_0"): ((GPU, 32768, F16), (GPU, 32768, F16)),
        (LLAMA_70B, "Q4_K_M"): ((GPU, 16384, Q8), (GPU, 16384, Q8)),
    },
    "128": {
        (V2, "Q2_K"): ((GPU, 32768, F16), (GPU, 32768, F16)),
        (V2, "Q4_K_M"): ((SSD, 32768, F16), (SSD, 32768, F16)),
    },
    "512": {
        (V3, "Q4_K_M"): ((GPU, 32768, F16), (GPU, 32768, F16)),
        (V3, "Q8_0"): ((SSD, 32768, F16), (SSD, 32768, F16)),
    },
}


@pytest.mark.parametrize("raised", [False, True], ids=["", "raised"])
@pytest.mark.parametrize("name", MACOS)
def test_recorded_macs(name: str, raised: bool) -> None:
    machine = probe_machine(macos(name, raised=raised))
    for (model, quant), expected in ON_MACS[name].items():
        found = make_plan(header(model, quant), machine)
        assert (found.verdict, found.load_config.n_ctx, found.load_config.kv_type) == expected[
            raised
        ], (
            model,
            quant,
        )
        assert found.load_config.n_gpu_layers == (
            0 if found.verdict == SSD else header(model, quant).of_arch("block_count") + 1
        )
        assert found.load_config.load_mode == "mmap"
        assert_sound(found, machine, header(model, quant))


HEADERS = st.sampled_from(
    [
        (QWEN_1B, "Q8_0"),
        (QWEN_7B, "Q4_K_M"),
        (QWEN_32B, "Q4_K_M"),
        (LITE, "Q8_0"),
        (V2, "Q2_K"),
        (V3, "Q4_K_M"),
        (LLM, "Q4_K_M"),
    ]
)
RAM = st.one_of(st.integers(1, 1024), st.sampled_from([8, 16, 24, 32, 64, 128]))
VRAM = st.one_of(st.just(0), st.integers(1, 512), st.sampled_from([4, 6, 8, 12, 24]))


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    ram = draw(RAM) * GIB
    available = ram - draw(st.integers(0, ram // 2))
    unified = draw(st.booleans())
    vram = min(draw(VRAM) * GIB, ram if unified else 1 << 60)
    gpu = Gpu("GPU", "metal" if unified else "cuda", vram, vram)
    return Machine(
        "macos" if unified else "linux", "any", 8, ram, available, (gpu,) if vram else (), unified
    )


OVERRIDES = st.builds(
    Overrides,
    n_ctx=st.none() | st.sampled_from([512, 4096]),
    kv_type=st.none() | st.sampled_from([F16, Q8, Q4]),
    n_ubatch=st.none() | st.sampled_from([64, 512, 2048]),
    flash_attn=st.none() | st.booleans(),
    n_gpu_layers=st.none() | st.integers(0, 70),
    cpu_moe_layers=st.none() | st.integers(0, 70),
)


@given(machines(), HEADERS)
def test_every_plan_is_sound(machine: Machine, model: tuple[str, str]) -> None:
    found = make_plan(header(*model), machine)
    assert_sound(found, machine, header(*model))
    assert make_plan(header(*model), machine) == found
    load_config = found.load_config
    assert MIN_AUTO_CTX <= load_config.n_ctx <= 32768
    sizes = STREAMED_UBATCH_SIZES if load_config.stream_experts else ()
    assert load_config.n_ubatch in (*sizes, *UBATCH_SIZES)
    assert load_config.flash_attn
    assert all(step.saved >= 0 for step in found.gave_up) or found.verdict == "ssd"


SMALL_MAC = Machine("macos", "any", 8, GIB, GIB, (Gpu("GPU", "metal", GIB, GIB),), unified=True)
MAC_16 = dataclasses.replace(SMALL_MAC, ram=16 * GIB, available=16 * GIB)
BUSY_MAC = dataclasses.replace(
    SMALL_MAC, ram=32 * GIB, available=16 * GIB, gpus=(Gpu("GPU", "metal", 32 * GIB, 32 * GIB),)
)


@given(machines(), HEADERS, OVERRIDES)
@example(
    SMALL_MAC, (LITE, "Q8_0"), Overrides(n_ubatch=2048, flash_attn=False, cpu_moe_layers=1)
)  # ended on the CPU, not mapped
@example(
    MAC_16, (LITE, "Q8_0"), Overrides(n_ctx=512, n_ubatch=64)
)  # fits on the CPU alone, not with a GPU's buffers besides
@example(
    BUSY_MAC, (LITE, "Q8_0"), Overrides(n_gpu_layers=28)
)  # short of RAM with all on the GPU: mapped, though nothing fits
def test_every_override_is_kept(
    machine: Machine, model: tuple[str, str], overrides: Overrides
) -> None:
    try:
        found = make_plan(header(*model), machine, overrides)
    except UsageError:
        assert (overrides.flash_attn, overrides.kv_type in (Q8, Q4)) == (False, True)
        return
    assert_overrides_kept(found, overrides, header(*model))
    assert_sound(found, machine, header(*model))


@given(machines(), HEADERS, OVERRIDES)
@example(MAC_16, (LITE, "Q8_0"), Overrides(n_ctx=512, n_ubatch=64))
def test_the_ssd_is_the_last_resort(
    machine: Machine, model: tuple[str, str], overrides: Overrides
) -> None:
    """What does not run from memory could not, with the least that the overrides allow."""
    h = header(*model)
    try:
        found = make_plan(h, machine, overrides)
    except UsageError:
        return
    if found.verdict in RUNS:
        return
    smallest = dataclasses.replace(
        found.load_config,
        n_ctx=overrides.n_ctx or min(MIN_AUTO_CTX, h.of_arch("context_length")),
        kv_type=overrides.kv_type or (F16 if overrides.flash_attn is False else Q4),
        n_ubatch=overrides.n_ubatch or UBATCH_SIZES[-1],
        n_gpu_layers=overrides.n_gpu_layers or 0,
    )
    assert not fits(h, machine, smallest)
    if machine.gpus and overrides.n_gpu_layers is None:
        all_layers = h.of_arch("block_count") + 1
        assert not fits(h, machine, dataclasses.replace(smallest, n_gpu_layers=all_layers))


def fits(h: GgufHeader, machine: Machine, load_config: LoadConfig) -> bool:
    kind = machine.gpus[0].kind if machine.gpus else "cuda"
    need = footprint(h, load_config, kind).all
    in_ram = need.total if machine.unified else need.host
    ram, vram = machine.available * (1 - HEADROOM), machine.vram * (1 - HEADROOM)
    return in_ram <= ram - 1 and need.gpu <= vram - 1


@given(machines(), HEADERS, st.integers(0, 256), st.integers(0, 256))
def test_more_memory_is_never_worse(
    machine: Machine, model: tuple[str, str], more_ram: int, more_vram: int
) -> None:
    """What ran from memory still does, with no less context, and with no less on the GPU if the
    context is no longer.
    """
    ram, available = machine.ram + more_ram * GIB, machine.available + more_ram * GIB
    most = ram if machine.unified else 1 << 60
    gpus = tuple(
        dataclasses.replace(gpu, total=most, free=min(gpu.free + more_vram * GIB, most))
        for gpu in machine.gpus
    )
    larger = dataclasses.replace(machine, ram=ram, available=available, gpus=gpus)
    small, large = make_plan(header(*model), machine), make_plan(header(*model), larger)
    classes = [
        2 if found.verdict in RUNS else RANK.index(found.verdict) for found in (small, large)
    ]
    assert classes[1] >= classes[0]
    if classes[0] == classes[1] and small.verdict != "no":
        assert large.load_config.n_ctx >= small.load_config.n_ctx
        if large.load_config.n_ctx == small.load_config.n_ctx:
            assert RANK.index(large.verdict) >= RANK.index(small.verdict)
