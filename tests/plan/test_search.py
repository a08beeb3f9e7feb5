"""Proves what is given up for which machine, in which order, and that no plan takes more than there
is or changes what the user decided.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any
from unittest.mock import ANY

import pytest
from support.gguf.published_shapes import write_header
from support.machines.planning import (
    GIB,
    LITE,
    LLM,
    QWEN_1B,
    QWEN_7B,
    QWEN_32B,
    V2,
    V3,
    assert_overrides_kept,
    assert_sound,
    gpu_of,
    header,
    mac_of,
)

from dslocal.errors import DoesNotFitError, UsageError
from dslocal.gguf.header import read_header
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.budget import HEADROOM
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import footprint
from dslocal.plan.overrides import NO_OVERRIDES, Overrides
from dslocal.plan.reductions import TARGET_CTX
from dslocal.plan.refusal import nearest_fit, require_fit
from dslocal.plan.search import Plan, make_plan

F16 = GgmlType.F16
Q8 = GgmlType.Q8_0
Q4 = GgmlType.Q4_0


def about(layers: int) -> Any:
    """Two more or less: a few MiB decide."""
    return pytest.approx(layers, abs=2)


def summary(found: Plan) -> tuple[str, int, GgmlType, int, int, int, str]:
    l = found.load_config  # noqa: E741
    return (
        found.verdict,
        l.n_ctx,
        l.kv_type,
        l.n_ubatch,
        l.n_gpu_layers,
        l.cpu_moe_layers,
        l.load_mode,
    )


# machine, model, quantization, plan: verdict, context, KV, micro-batch, layers on the GPU, of them
# experts in RAM, load mode
CASES: dict[str, tuple[Machine, str, str, tuple[Any, ...]]] = {
    "all on the GPU": (gpu_of(64, 24), QWEN_7B, "Q4_K_M", ("gpu", 32768, F16, 512, 29, 0, "mmap")),
    "the MTP layer counts as a layer": (
        gpu_of(64, 640),
        V3,
        "Q4_K_M",
        ("gpu", 32768, F16, 512, 63, 0, "mmap"),
    ),
    "the GPU is enough, RAM hardly there": (
        gpu_of(4, 80),
        QWEN_32B,
        "Q4_K_M",
        ("gpu", 32768, F16, 512, 65, 0, "mmap"),
    ),
    "a smaller KV cache": (
        gpu_of(64, 24),
        QWEN_32B,
        "Q4_K_M",
        ("gpu", 32768, Q8, 512, 65, 0, "mmap"),
    ),
    "some experts in RAM": (
        gpu_of(32, 8),
        LITE,
        "Q8_0",
        ("offload", 32768, Q8, ANY, 28, about(16), "mmap"),
    ),
    "most experts in RAM": (
        gpu_of(128, 24),
        V2,
        "Q4_K_M",
        ("offload", 32768, Q8, ANY, 61, about(53), "mmap"),
    ),
    "a dense model partly on the GPU": (
        gpu_of(64, 24),
        LLM,
        "Q4_K_M",
        ("offload", 4096, Q8, ANY, about(57), 0, "mmap"),
    ),
    "a shorter context": (
        describe_machine(3 * GIB),
        QWEN_1B,
        "Q8_0",
        ("cpu", 16384, Q8, 256, 0, 0, "mmap"),
    ),
    "a q4_0 cache last": (
        describe_machine(round(2.64 * GIB)),
        QWEN_1B,
        "Q8_0",
        ("cpu", 4096, Q4, ANY, 0, 0, "mmap"),
    ),
    "no GPU": (
        describe_machine(64 * GIB),
        QWEN_7B,
        "Q4_K_M",
        ("cpu", 32768, F16, 512, 0, 0, "none"),
    ),
    "from the SSD": (
        describe_machine(64 * GIB),
        V3,
        "Q4_K_M",
        ("ssd", 32768, F16, 2048, 0, 0, "mmap"),
    ),
    "from the SSD, the rest on a GPU": (
        gpu_of(128, 24),
        V3,
        "Q4_K_M",
        ("ssd", 32768, F16, 2048, 63, about(57), "mmap"),
    ),
    "not even from the SSD": (
        describe_machine(GIB),
        V3,
        "Q4_K_M",
        ("no", 4096, Q4, 64, 0, 0, "mmap"),
    ),
    "Metal, all": (mac_of(16), QWEN_7B, "Q4_K_M", ("gpu", 32768, F16, 512, 29, 0, "mmap")),
    "Metal, experts in RAM": (
        mac_of(36, 9),
        LITE,
        "Q4_K_M",
        ("offload", 32768, Q8, ANY, 28, about(5), "none"),
    ),
    "Metal, layers in RAM": (
        mac_of(64, 16),
        QWEN_32B,
        "Q4_K_M",
        ("offload", 32768, Q8, ANY, about(44), 0, "none"),
    ),
    "Metal, nothing for the GPU": (
        mac_of(16, 0),
        QWEN_7B,
        "Q4_K_M",
        ("cpu", 32768, F16, 512, 0, 0, "mmap"),
    ),
    "Metal, from the SSD": (mac_of(64), V3, "Q4_K_M", ("ssd", 32768, F16, 2048, 0, 0, "mmap")),
}


@pytest.mark.parametrize(("machine", "name", "quant", "expected"), CASES.values(), ids=CASES)
def test_plans(machine: Machine, name: str, quant: str, expected: tuple[Any, ...]) -> None:
    found = make_plan(header(name, quant), machine)
    assert summary(found) == expected
    assert_sound(found, machine, header(name, quant))


GIVEN_UP: dict[str, list[str]] = {
    "all on the GPU": [],
    "a smaller KV cache": ["KV cache in q8_0"],
    "some experts in RAM": ["KV cache in q8_0", "experts of 26 layers on the CPU"],
    "a dense model partly on the GPU": ["KV cache in q8_0", "of 96 layers on the CPU"],
    "a shorter context": ["KV cache in q8_0", "a context of 16,384, not 32,768"],
    "from the SSD, the rest on a GPU": ["experts of 58 layers on the CPU"],
}


@pytest.mark.parametrize("name", GIVEN_UP)
def test_what_is_given_up_and_what_it_saves(name: str) -> None:
    machine, model, quant, _ = CASES[name]
    found, h = make_plan(header(model, quant), machine), header(model, quant)
    steps = [
        step.what for step in found.gave_up if "micro" not in step.what
    ]  # whether they must be smaller hangs on a few MiB
    assert [re.sub("^[0-9]+ of|of [0-9]+ of", "of", what) for what in steps] == GIVEN_UP[name]
    assert all(step.saved > 0 for step in found.gave_up)
    top = h.of_arch("block_count") + 1 if machine.gpus else 0
    n_ctx = min(h.of_arch("context_length"), TARGET_CTX)
    wanted = dataclasses.replace(
        found.load_config,
        n_ctx=n_ctx,
        kv_type=F16,
        n_ubatch=512,
        n_gpu_layers=top,
        cpu_moe_layers=0,
    )
    before, after = footprint(h, wanted).all, found.memory.all
    if found.load_config.stream_experts:  # micro-batches were made larger after that
        after = footprint(h, dataclasses.replace(found.load_config, n_ubatch=512)).all
    assert sum(step.saved for step in found.gave_up) == (
        before.gpu - after.gpu if machine.gpus else before.host - after.host
    )


def test_order_of_giving_up() -> None:
    """On ever smaller machines: micro-batches, the cache, experts, and the context only where RAM
    is short as well.
    """
    h, wanted = header(LITE), LoadConfig(32768, n_gpu_layers=28)
    machines = []
    for n_ubatch, kv_type in ((512, F16), (256, F16), (64, Q8)):
        need = footprint(h, dataclasses.replace(wanted, n_ubatch=n_ubatch, kv_type=kv_type)).all.gpu
        machines.append(gpu_of(64, need / (1 - HEADROOM) / GIB + 0.001))
    machines.append(gpu_of(64, 4))
    short = make_plan(h, machines[-1]).memory.all.host - (100 << 20)
    machines.append(dataclasses.replace(machines[-1], available=short))
    found = [
        (p.verdict, p.load_config.n_ubatch < 512, p.load_config.kv_type, p.load_config.n_ctx)
        for p in (make_plan(h, m) for m in machines)
    ]
    assert found[:3] == [
        ("gpu", False, F16, 32768),
        ("gpu", True, F16, 32768),
        ("gpu", True, Q8, 32768),
    ]
    assert (found[3][0], found[3][2:]) == ("offload", (Q8, 32768))
    assert (found[4][0], found[4][2], found[4][3] < 32768) == ("offload", Q8, True)


def test_what_was_not_needed_is_restored() -> None:
    """Experts had to go, which freed enough for all the rest: the cache and the micro-batches are
    as wanted.
    """
    found = make_plan(header(V3), gpu_of(512, 100))
    assert summary(found)[:4] == ("offload", 32768, F16, 512)
    assert 0 < found.load_config.cpu_moe_layers < 58
    fewer = dataclasses.replace(
        found.load_config,
        cpu_moe_layers=found.load_config.cpu_moe_layers - 1,
        kv_type=Q8,
        n_ubatch=64,
    )
    assert footprint(header(V3), fewer).all.gpu > 98 * GIB  # one layer less would not have done


def test_tied_embeddings_count_twice_on_a_gpu_alone() -> None:
    """The copy that is the output on a GPU must not be what sends the model to the SSD."""
    untied = header(QWEN_1B, "Q8_0")
    tensors = tuple(tensor for tensor in untied.tensors if tensor.name != "output.weight")
    tied = dataclasses.replace(untied, tensors=tensors)
    asked = Overrides(n_ctx=512, n_ubatch=64)
    on_cpu = LoadConfig(512, n_ubatch=64)
    enough = round(footprint(tied, on_cpu).all.total / (1 - HEADROOM)) + 1
    mac = dataclasses.replace(mac_of(64), available=enough)
    on_gpu = dataclasses.replace(on_cpu, n_gpu_layers=99)
    assert footprint(tied, on_gpu, "metal").weights.total > enough
    found = make_plan(tied, mac, asked)
    assert summary(found) == ("cpu", 512, F16, 64, 0, 0, "mmap")
    assert_sound(found, mac, tied)


def test_what_is_rearranged_for_the_cpu_is_read_and_not_there_twice() -> None:
    roomy = make_plan(header(LITE), describe_machine(64 * GIB))
    assert (roomy.load_config.repack, roomy.load_config.load_mode) == (True, "none")
    mapped = dataclasses.replace(roomy.load_config, repack=False, load_mode="mmap")
    assert roomy.memory == footprint(header(LITE), mapped)  # as much as a mapped file
    need = roomy.memory.all.host
    for share, repack in ((0.89, True), (0.95, False)):  # what cannot be dropped leaves more room
        machine = dataclasses.replace(describe_machine(64 * GIB), available=round(need / share))
        found = make_plan(header(LITE), machine)
        assert (found.verdict, found.load_config.repack) == ("cpu", repack)
        assert found.load_config.load_mode == ("none" if repack else "mmap")
    assert not make_plan(header(LITE), gpu_of(64, 24)).load_config.repack
    assert not make_plan(header(V3), describe_machine(64 * GIB)).load_config.repack
    nothing = dataclasses.replace(describe_machine(64 * GIB), repacked=())
    assert not make_plan(header(LITE), nothing).load_config.repack


def test_no_more_context_than_the_model_has() -> None:
    assert make_plan(header("nano", "Q8_0"), describe_machine(64 * GIB)).load_config.n_ctx == 4096
    assert make_plan(header(LLM), describe_machine(256 * GIB)).load_config.n_ctx == 4096
    with pytest.raises(UsageError, match="--ctx: 4097 is out of range"):
        make_plan(header(LLM), describe_machine(256 * GIB), Overrides(n_ctx=4097))


OVERRIDES = [
    Overrides(n_ctx=131072),
    Overrides(n_ctx=512),
    Overrides(kv_type=F16),
    Overrides(kv_type=Q4),
    Overrides(n_ubatch=2048),
    Overrides(flash_attn=False),
    Overrides(n_gpu_layers=0),
    Overrides(n_gpu_layers=9),
    Overrides(n_gpu_layers=999),
    Overrides(cpu_moe_layers=0),
    Overrides(cpu_moe_layers=7),
    Overrides(cpu_moe_layers=999),
    Overrides(8192, Q8, 256, True, 20, 3),
    Overrides(n_ctx=16384, kv_type=F16, n_ubatch=512),
]
MACHINES = {
    "large GPU": gpu_of(64, 80),
    "small GPU": gpu_of(64, 6),
    "no GPU": describe_machine(64 * GIB),
    "small": gpu_of(4, 2),
    "tiny": describe_machine(200 << 20),
    "Mac": mac_of(36),
    "small Mac": mac_of(16, 4),
}


@pytest.mark.parametrize("overrides", OVERRIDES, ids=str)
@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_what_the_user_decided_stays(machine: Machine, overrides: Overrides) -> None:
    found = make_plan(header(LITE), machine, overrides)
    assert_overrides_kept(found, overrides, header(LITE))
    assert_sound(found, machine, header(LITE))


IMPOSSIBLE = [
    (LITE, Overrides(kv_type=Q8, flash_attn=False), "a q8_0 KV cache needs flash attention"),
    (QWEN_7B, Overrides(kv_type=Q4, flash_attn=False), "a q4_0 KV cache needs flash attention"),
]


@pytest.mark.parametrize(("name", "overrides", "said"), IMPOSSIBLE)
@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_what_cannot_be_had_on_any_machine(
    machine: Machine, name: str, overrides: Overrides, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        make_plan(header(name), machine, overrides)


def test_a_refusal_names_the_numbers_and_the_nearest_that_fits() -> None:
    machine, overrides = gpu_of(16, 8), Overrides(n_ctx=131072, kv_type=F16, n_gpu_layers=999)
    found = make_plan(header(QWEN_7B), machine, overrides)
    assert (found.verdict, found.lacking > GIB) == ("no", True)
    suggested = nearest_fit(header(QWEN_7B), machine, overrides)
    assert suggested is not None
    with pytest.raises(DoesNotFitError) as refused:
        require_fit(found, "file.gguf", machine, suggested)
    message = str(refused.value)
    assert message.startswith(
        f"file.gguf needs {found.memory.all.gpu / GIB:.1f} GiB of GPU memory and "
    )
    assert "with 131,072 tokens of context; there are 8.0 GiB and 15.0 GiB" in message
    assert (
        refused.value.hint
        == f"--ctx 32768 --kv f16 fits in {suggested.memory.all.total / GIB:.1f} GiB"
    )
    require_fit(suggested, "file.gguf", machine, None)
    assert nearest_fit(header(V3), machine, overrides) is None  # nothing of it fits
    assert nearest_fit(header(QWEN_7B), machine, NO_OVERRIDES) is None  # nothing is decided


def test_a_suggestion_names_what_was_pinned_otherwise() -> None:
    machine, overrides = gpu_of(64, 4), Overrides(n_gpu_layers=28, cpu_moe_layers=0)
    found = make_plan(header(LITE), machine, overrides)
    with pytest.raises(DoesNotFitError) as refused:
        require_fit(found, "file.gguf", machine, nearest_fit(header(LITE), machine, overrides))
    assert "--cpu-moe 2" in refused.value.hint


def test_legacy_mla_is_planned_with_its_real_size(tmp_path: Any) -> None:
    old, new = (
        read_header(write_header(tmp_path, "v2-lite", legacy=legacy)) for legacy in (True, False)
    )
    machine = gpu_of(64, 16)
    assert make_plan(old, machine).memory.kv.total > 4 * make_plan(new, machine).memory.kv.total
