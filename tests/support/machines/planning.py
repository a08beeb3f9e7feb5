"""What tests of plans share: headers by name, machines by size, what must hold of every plan."""

from __future__ import annotations

import dataclasses
import functools

import dslocal.convert as converter
from dslocal import catalog
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_names import tensor_class
from dslocal.home.paths import registry_file
from dslocal.plan.budget import HEADROOM
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import footprint
from dslocal.plan.overrides import Overrides
from dslocal.plan.search import Plan

GIB = 1 << 30
REGISTRY = catalog.load_registry(registry_file())
QWEN_1B, QWEN_7B, QWEN_32B = (f"deepseek-r1-distill-qwen-{size}" for size in ("1.5b", "7b", "32b"))
LLAMA_8B, LLAMA_70B = "deepseek-r1-distill-llama-8b", "deepseek-r1-distill-llama-70b"
LITE = "deepseek-v2-lite"
V2 = "deepseek-v2"
V3 = "deepseek-v3"
LLM = "deepseek-llm-67b-chat"
RUNS = ("gpu", "offload", "cpu")
ROOMY = describe_machine(1024 * GIB)


@functools.cache
def header(name: str, quant: str = "Q4_K_M") -> GgufHeader:
    """Return the header that a model of models.yaml would be converted to."""
    return converter.header_from_config(REGISTRY[name].config, converter.recipe_named(quant))


def gpu_of(ram: float, vram: float) -> Machine:
    """Return a described machine with a GPU; both in GiB."""
    return describe_machine(round(ram * GIB), vram=round(vram * GIB))


def with_available(nbytes: int) -> Machine:
    """Return a described machine without a GPU, with so many bytes of RAM that can be taken."""
    return dataclasses.replace(ROOMY, available=nbytes)


def mac_of(ram: float, vram: float | None = None) -> Machine:
    """Return a described Mac; ``vram`` is what its GPU may take of the RAM, both in GiB."""
    return describe_machine(
        round(ram * GIB), vram=None if vram is None else round(vram * GIB), os="macos"
    )


def weights_of(h: GgufHeader, *classes: str) -> int:
    """Return the bytes by class, without the MTP layer, which is not loaded."""
    layers = h.of_arch("block_count") - h.of_arch("nextn_predict_layers")
    return sum(
        t.nbytes
        for t in h.tensors
        if tensor_class(t.name) in classes and not t.name.startswith(f"blk.{layers}.")
    )


def assert_overrides_kept(found: Plan, overrides: Overrides, h: GgufHeader) -> None:
    """What was decided is in the plan, as far as the model has as many layers."""
    block_count = h.of_arch("block_count")
    moe_layers = 0
    if h.of_arch("expert_count"):
        moe_layers = block_count - h.of_arch("leading_dense_block_count")
        moe_layers -= h.of_arch("nextn_predict_layers")
    most = {"n_gpu_layers": block_count + 1, "cpu_moe_layers": moe_layers}
    for field in dataclasses.fields(Overrides):
        wanted = getattr(overrides, field.name)
        if wanted is not None and field.name != "rpc":
            wanted = min(wanted, most.get(field.name, wanted))
            assert getattr(found.load_config, field.name) == wanted, field.name


def assert_sound(found: Plan, machine: Machine, h: GgufHeader) -> None:
    """The plan takes what its config takes, and no more than there is."""
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
        load_config.repack or (machine.unified and load_config.n_gpu_layers and partly)
    )
