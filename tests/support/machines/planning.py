"""What tests of plans share: headers of models by name, machines by size, and what must hold of
every plan.
"""

from __future__ import annotations

import dataclasses
import functools

import dslocal.convert as converter
from dslocal import catalog
from dslocal.gguf.header import GgufHeader
from dslocal.home.paths import registry_file
from dslocal.plan.machine.machine import Machine
from dslocal.plan.machine.probe import describe_machine
from dslocal.plan.memory.footprint import footprint
from dslocal.plan.search import HEADROOM, Overrides, Plan

GIB = 1 << 30
REGISTRY = catalog.load_registry(registry_file())
QWEN_1B, QWEN_7B, QWEN_32B = (f"deepseek-r1-distill-qwen-{size}" for size in ("1.5b", "7b", "32b"))
LLAMA_8B, LLAMA_70B = "deepseek-r1-distill-llama-8b", "deepseek-r1-distill-llama-70b"
LITE = "deepseek-v2-lite"
V2 = "deepseek-v2"
V3 = "deepseek-v3"
LLM = "deepseek-llm-67b-chat"
RUNS = ("gpu", "offload", "cpu")


@functools.cache
def header(name: str, quant: str = "Q4_K_M") -> GgufHeader:
    return converter.header_from_config(REGISTRY[name].config, converter.recipe_named(quant))


def gpu_of(ram: float, vram: float) -> Machine:
    return describe_machine(round(ram * GIB), vram=round(vram * GIB))


def mac_of(ram: float, vram: float | None = None) -> Machine:
    return describe_machine(
        round(ram * GIB), vram=None if vram is None else round(vram * GIB), os="macos"
    )


def kept(found: Plan, overrides: Overrides, h: GgufHeader) -> None:
    most = {
        "n_gpu_layers": h.of_arch("block_count") + 1,
        "cpu_moe_layers": h.of_arch("block_count") - h.of_arch("leading_dense_block_count"),
    }
    most["cpu_moe_layers"] -= h.of_arch("nextn_predict_layers")
    for field in dataclasses.fields(Overrides):
        wanted = getattr(overrides, field.name)
        if wanted is not None:
            wanted = (
                min(wanted, most[field.name] if h.of_arch("expert_count") else 0)
                if field.name == "cpu_moe_layers"
                else wanted
            )
            wanted = min(wanted, most[field.name]) if field.name == "n_gpu_layers" else wanted
            assert getattr(found.load_config, field.name) == wanted, field.name


def sound(found: Plan, machine: Machine, h: GgufHeader) -> None:
    """What must hold of every plan."""
    load_config, need = found.load_config, found.memory.all
    kind = machine.gpus[0].kind if machine.gpus else "cuda"
    assert found.memory == footprint(h, load_config, kind if load_config.n_gpu_layers else "cuda")
    ram, vram = machine.available * (1 - HEADROOM) + 1, machine.vram * (1 - HEADROOM) + 1
    in_ram = need.total if machine.unified else need.host
    if found.verdict in RUNS:
        assert in_ram <= ram
        assert found.lacking == 0
    if found.verdict == "ssd":
        assert in_ram + 2 > ram
        assert in_ram - found.memory.weights.host < ram
        assert found.lacking > 0
        assert (load_config.load_mode, load_config.repack) == ("mmap", False)
        assert not (machine.unified and load_config.n_gpu_layers)
    if found.verdict == "no":
        assert found.lacking > 0
        assert in_ram > ram or need.gpu > vram
    else:
        assert need.gpu <= vram or not need.gpu
    assert (found.verdict in ("gpu", "offload")) <= (load_config.n_gpu_layers > 0)
    assert (found.verdict == "cpu") <= (load_config.n_gpu_layers == 0)
    partly = load_config.cpu_moe_layers or load_config.n_gpu_layers <= h.of_arch("block_count")
    assert (load_config.load_mode == "none") == bool(
        machine.unified and load_config.n_gpu_layers and partly
    )
