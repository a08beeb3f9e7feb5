"""Proves how layers are dealt out to machines: within what each has, fastest, in llama.cpp's order,
and that each layer is somewhere exactly once.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from support.machines.planning import GIB, LITE, QWEN_7B, V3, gpu_of, header, mac_of

from dslocal.errors import DoesNotFitError, UsageError
from dslocal.plan.cluster.gpu_engines import GpuGroup, gpu_fit
from dslocal.plan.cluster.launch_lines import GpuBoxes, sglang_launch, vllm_launch
from dslocal.plan.cluster.layers import layer_table
from dslocal.plan.cluster.spread import HEADROOM, LayerSpread, best_spread, places_of
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.machine.machine import Machine
from dslocal.plan.machine.remote import RemoteDevice
from dslocal.plan.memory.footprint import cpu_work_bytes, footprint, largest_batch
from dslocal.plan.memory.llamacpp_mirror.graph import reserve_inputs
from dslocal.plan.memory.shape import shape_of
from dslocal.plan.overrides import Overrides
from dslocal.plan.refusal import require_fit
from dslocal.plan.search import Plan, make_plan

CONFIG = LoadConfig(4096)


def worker(gib: float, name: str = "a", *, rate: float = 20e9, trip: float = 0.0) -> RemoteDevice:
    free = round(gib * GIB)
    return RemoteDevice(f"{name}:50052", 0, f"CPU of {name}", "cpu", free, free, rate, trip)


def here(gib: float, *workers: RemoteDevice, rate: float = 20e9) -> Machine:
    alone = describe_machine(round(gib * GIB))
    return replace(alone, available=alone.ram, rate=rate, workers=workers)


def spread(name: str, machine: Machine, pinned: int | None = None) -> LayerSpread | None:
    return best_spread(header(name), CONFIG, machine, pinned)


def assert_whole(found: LayerSpread, name: str) -> None:
    """Every layer is in one place, in a row, and no place has more than it has room for."""
    shares = found.shares
    count = header(name).of_arch("block_count") + 1
    assert sum(share.layers for share in shares) == count
    for before, after in itertools.pairwise(share for share in shares if share.layers):
        assert before.first + before.layers == after.first
    for share in shares:
        room = share.place.free + (share.weights if not share.layers else 0)
        taken = share.total - (shares[0].weights if share is shares[0] else 0)
        assert taken <= room
    split = [share.layers for share in shares if share.place.number >= 0]
    assert [device.layers for device in found.config.split] == split
    assert found.config.n_gpu_layers == sum(split)


MACHINES = [
    ("one worker", here(3, worker(4))),
    ("two workers", here(3, worker(2), worker(2, "b"))),
    ("a fast worker", here(8, worker(8, rate=200e9))),
    ("a far one", here(3, worker(4, trip=0.01))),
    ("many", here(1.5, *(worker(1.2, f"w{n}") for n in range(8)))),
    ("a GPU here", replace(gpu_of(3, 2), workers=(worker(3),))),
]


@pytest.mark.parametrize("machine", [row[1] for row in MACHINES], ids=[row[0] for row in MACHINES])
def test_each_layer_is_in_one_place_that_has_room(machine: Machine) -> None:
    found = spread(QWEN_7B, machine)
    assert found is not None
    assert_whole(found, QWEN_7B)


def test_no_other_way_of_dealing_is_faster() -> None:
    """All ways over three places are tried, by hand, against the dynamic programme."""
    machine = here(4, worker(3, "a", rate=30e9, trip=0.002), worker(4, "b", rate=25e9))
    found = spread(QWEN_7B, machine)
    assert found is not None
    table = layer_table(header(QWEN_7B), CONFIG)
    places = {place.endpoint: place for place in places_of(header(QWEN_7B), CONFIG, machine, table)}
    order = [places[""], places["a:50052"], places["b:50052"]]
    least = float("inf")
    for first, second in itertools.combinations_with_replacement(range(table.count + 1), 2):
        ends = (0, first, second, table.count)
        seconds = 0.0
        for place, start, end in zip(order, ends, ends[1:], strict=False):
            if start == end:
                continue
            weights = table.weights[end] - table.weights[start]
            kept = table.kv[end] - table.kv[start] + place.fixed
            arriving = max(table.largest[start:end]) if place.receives else 0
            if weights + max(kept, arriving) > place.free * (1 - HEADROOM):
                break
            read = table.read[end] - table.read[start]
            read += (table.kv[end] - table.kv[start]) / 2
            layers = min(end, table.count - 1) - start  # the output is none
            seconds += read / place.rate + layers * place.layer.dense + place.round_trip
        else:
            least = min(least, seconds)
    assert found.seconds == pytest.approx(least)


def test_a_far_worker_gets_nothing_if_the_model_fits_here() -> None:
    found = spread(QWEN_7B, here(16, worker(16, trip=0.05)))
    assert found is not None
    assert not found.uses_workers


def test_a_faster_worker_gets_all_layers() -> None:
    found = spread(QWEN_7B, here(16, worker(16, rate=200e9, trip=0.001)))
    assert found is not None
    assert [share.layers for share in found.shares] == [
        0,
        header(QWEN_7B).of_arch("block_count") + 1,
    ]


def test_without_a_layer_here_the_plan_has_no_buffer_for_one() -> None:
    """Proves that this machine then takes the embeddings, the graph's inputs and the process.

    nano with 107 layers of ballast took 91 MiB here where three workers had all of it
    (tests/benchmarks/rpc_namespaces.py): one layer's buffer alone is 198 MiB.
    """
    model, machine = header(QWEN_7B), here(16, worker(16))
    plans = [make_plan(model, machine, Overrides(n_ctx=4096, n_gpu_layers=n)) for n in (999, 5)]
    away, shared = (plan.memory for plan in plans)
    assert all(plan.verdict == "workers" for plan in plans)
    assert away.kv.host == 0
    batch = largest_batch(plans[0].load_config)
    assert away.compute.host == reserve_inputs(shape_of(model), batch) < shared.compute.host
    assert away.overhead.host == shared.overhead.host - cpu_work_bytes(model, plans[0].load_config)


def test_the_layers_that_the_user_sends_away_are_kept_to() -> None:
    found = spread(QWEN_7B, here(16, worker(16)), pinned=5)
    assert found is not None
    assert found.config.n_gpu_layers == 5


def test_each_types_own_rate_decides_the_forecast() -> None:
    """Proves it for both machines: a CPU takes longer to unpack some types than others."""
    kinds = {tensor.type for tensor in header(QWEN_7B).tensors}
    halves = tuple((kind, 10e9) for kind in kinds)
    fast, slow = here(3, worker(4)), replace(here(3, worker(4)), type_rates=halves)
    slower = replace(slow, workers=(replace(worker(4), type_rates=halves),))
    seconds = []
    for machine in (fast, slow, slower):
        found = spread(QWEN_7B, machine)
        assert found is not None
        assert found.uses_workers
        seconds.append(found.seconds)
    assert seconds[0] < seconds[1] < seconds[2] == pytest.approx(2 * seconds[0], rel=0.05)


def test_a_round_trip_counts_once_for_each_worker() -> None:
    near = spread(QWEN_7B, here(2, worker(5), worker(5, "b")))
    far = spread(QWEN_7B, here(2, worker(5, trip=0.01), worker(5, "b", trip=0.01)))
    assert near is not None
    assert far is not None
    used = sum(1 for share in far.shares if share.place.endpoint and share.layers)
    assert far.seconds == pytest.approx(near.seconds + 0.01 * used, rel=0.05)


def test_parts_add_up_to_the_model() -> None:
    found = spread(QWEN_7B, here(3, worker(4)))
    assert found is not None
    alone = footprint(header(QWEN_7B), CONFIG)
    assert sum(share.weights for share in found.shares) == pytest.approx(
        alone.weights.total, rel=1e-3
    )
    assert sum(share.kv for share in found.shares) == alone.kv.total


@pytest.mark.parametrize("name", [QWEN_7B, LITE])
def test_context_is_given_up_before_the_model_is(name: str) -> None:
    machine = here(3, worker(4.5))
    if name == LITE:
        machine = here(6, worker(6))
    found = make_plan(header(name), machine)
    assert found.verdict == "workers"
    assert found.spread is not None
    assert_whole(found.spread, name)
    assert found.memory.all.host <= machine.available


def no_room(machine: Machine) -> Plan:
    return make_plan(header(V3), machine)


def test_what_fits_nowhere_says_what_is_free_where() -> None:
    machine = here(8, worker(8), worker(4, "b"))
    found = no_room(machine)
    assert found.verdict == "no"
    assert found.lacking > 300 * GIB
    with pytest.raises(DoesNotFitError, match=r"8\.0 GiB here, 8\.0 GiB at a:50052"):
        require_fit(found, "v3.gguf", machine, None)


def test_the_memory_of_a_mac_is_counted_once() -> None:
    machine = replace(mac_of(128), workers=(worker(8),))
    found = no_room(machine)
    need = found.memory.all.total
    assert found.lacking == need - machine.available - 8 * GIB


@pytest.mark.parametrize(
    ("overrides", "option"),
    [(Overrides(cpu_moe_layers=3), "--cpu-moe"), (Overrides(stream_experts=True), "--stream")],
)
def test_what_excludes_workers_is_refused(overrides: Overrides, option: str) -> None:
    with pytest.raises(UsageError, match=option):
        make_plan(header(LITE), here(3, worker(4)), overrides)


H200 = GpuGroup("H200", 141 * GIB, 4.8e12, 8, ("n1", "n2"))


def test_gpus_hold_what_the_arithmetic_says() -> None:
    found = gpu_fit(689_000_000_000, 37e9, 70_272, H200)
    assert (found.fits, found.fits_one) == (True, True)
    room = 0.9 * H200.memory - 689e9 / 8
    assert found.cache_tokens == int(room / 70_272)
    assert found.ceiling == pytest.approx(8 * 4.8e12 / 37e9)
    small = replace(H200, memory=24 * GIB)
    assert not gpu_fit(689_000_000_000, 37e9, 70_272, small).fits


@pytest.mark.parametrize("is_v4", [False, True])
@pytest.mark.parametrize("fits_one", [False, True])
@pytest.mark.parametrize("hosts", [("n1",), ("n1", "n2", "n3")])
def test_launch_lines_use_every_gpu_and_name_their_source(
    *, is_v4: bool, fits_one: bool, hosts: tuple[str, ...]
) -> None:
    boxes = GpuBoxes(hosts, 8, "H200")
    for launch in (vllm_launch, sglang_launch):
        found = launch("deepseek-ai/X", boxes, is_v4=is_v4, fits_one=fits_one or len(hosts) == 1)
        assert all("deepseek-ai/X" in command for command in found.commands)
        assert all(source.startswith("https://") for source in found.sources)
        assert len(found.commands) in (1, len(hosts))
        if len(found.commands) > 1:
            assert all("n1" in command for command in found.commands)
            assert len(set(found.commands)) == len(hosts)


# Published: vLLM's docs/serving/parallelism_scaling.md, "Running vLLM with MultiProcessing".
def test_vllm_joins_machines_that_hold_the_model_together_as_published() -> None:
    boxes = GpuBoxes(("n1", "n2"), 8, "H100")
    first, second = vllm_launch("d/X", boxes, is_v4=False, fits_one=False).commands
    shared = "--tensor-parallel-size 8 --pipeline-parallel-size 2 --nnodes 2 --master-addr n1"
    assert first == f"vllm serve d/X --trust-remote-code {shared} --node-rank 0"
    assert second == f"vllm serve d/X --trust-remote-code {shared} --node-rank 1 --headless"


# Published: the cells of SGLang's docs_new/src/snippets/configs/deepseek-ai/deepseek-v4.jsx.
@pytest.mark.parametrize(
    ("gpu", "kernels"),
    [
        ("H100 80 GB", "marlin"),
        ("NVIDIA H200", "marlin"),
        ("GH200", "marlin"),
        ("B200", "flashinfer_mxfp4"),
        ("GB300", "flashinfer_mxfp4"),
        ("RTX 4090", ""),
    ],
)
def test_sglang_runs_the_experts_of_v4_with_the_gpus_kernels(gpu: str, kernels: str) -> None:
    boxes = GpuBoxes(("n1",), 8, gpu)
    line = sglang_launch("d/V4", boxes, is_v4=True, fits_one=True).commands[0]
    ending = f" --moe-runner-backend {kernels} --tp 8" if kernels else " --tp 8"
    assert line.endswith(f"--trust-remote-code{ending}")
    v3 = sglang_launch("d/V3", boxes, is_v4=False, fits_one=True).commands[0]
    assert "--moe-runner-backend" not in v3
