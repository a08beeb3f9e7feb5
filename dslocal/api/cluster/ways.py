"""Plan the ways in which a model can run on several machines: llama.cpp's RPC, vLLM, SGLang."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dslocal.plan.cluster.gpu_engines import GpuFit, GpuGroup, gpu_fit
from dslocal.plan.cluster.launch_lines import GpuBoxes, Launch, sglang_launch, vllm_launch
from dslocal.plan.machine.bandwidth import one_gpu_bandwidth
from dslocal.plan.machine.remote import RemoteDevice
from dslocal.plan.speed import GPU_EFFICIENCY

from .machines_file import ClusterMachine

if TYPE_CHECKING:
    from dslocal.plan.assessment import Assessment, PlannedModel
    from dslocal.plan.overrides import Overrides

DEFAULT_PORT = 50052
MAX_WORKERS = 16  # of llama.cpp
V4_ARCHITECTURE = "deepseek4"


@dataclass(frozen=True, slots=True)
class RpcWay:
    """A model over llama.cpp's RPC.

    Attributes:
        assessment: its plan and forecast; the first machine runs it.
        workers: the other machines.
        commands: the command lines of dslocal.
        llama_cpp: the command lines of llama.cpp's own programs.
        load_s: seconds to send the weights.
    """

    assessment: Assessment
    workers: tuple[str, ...]
    commands: tuple[str, ...]
    llama_cpp: tuple[str, ...]
    load_s: float


@dataclass(frozen=True, slots=True)
class GpuWay:
    """A model on vLLM or SGLang.

    Attributes:
        obstacle: why neither can run the model; empty if only its size decides.
        fit: how the memory is computed.
        launches: the command lines by engine, where it fits.
    """

    obstacle: str
    fit: GpuFit | None = None
    launches: tuple[tuple[str, Launch], ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterWays:
    """The ways in which a model can run on several machines."""

    machines: tuple[ClusterMachine, ...]
    rpc: RpcWay
    gpus: GpuWay


def cluster_ways(
    name: str, quant: str | None, machines: Sequence[ClusterMachine], chosen: Overrides
) -> ClusterWays:
    """Return the ways in which the model called ``name`` can run on ``machines``.

    Raises:
        NotFoundError: the model does not exist.
        UsageError: the chosen settings are not possible.
    """
    from dslocal.api.planning.planned_models import planned_model, quantizations

    quants = [planned_model(name, quant, 8)] if quant else list(quantizations(name, 8))
    return ClusterWays(
        tuple(machines), _rpc_way(quants, machines, chosen), _gpu_way(name, quants[0], machines)
    )


def _rpc_way(
    models: Sequence[PlannedModel], machines: Sequence[ClusterMachine], chosen: Overrides
) -> RpcWay:
    """Return the best quantization that fits all machines together, else the smallest."""
    from dslocal.plan.assessment import assess

    head, *others = machines[: MAX_WORKERS + 1]
    workers = tuple(device for other in others for device in _devices(other, head))
    machine = replace(head.machine, workers=workers, rate=head.rates.ram)
    assessments = [assess(model, machine, head.rates, chosen) for model in models]
    fitting = [one for one in assessments if one.plan.verdict not in ("no", "ssd")]
    smallest = min(assessments, key=lambda one: one.plan.memory.all.total)
    best = fitting[0] if fitting else smallest
    return _described_way(best, head, others)


def _described_way(
    found: Assessment, head: ClusterMachine, others: Sequence[ClusterMachine]
) -> RpcWay:
    """Return a way with its command lines."""
    spread = found.plan.spread
    if spread is None:
        return RpcWay(found, (), (), (), 0.0)
    used = [share.place.endpoint for share in spread.shares if share.place.endpoint]
    endpoints = list(dict.fromkeys(used))
    hosts = [endpoint.rpartition(":")[0] for endpoint in endpoints]
    model, config = found.model, found.plan.load_config
    rpc = ",".join(endpoints)
    name = f"{model.name}:{model.quant}"
    commands = [f"{host}$ dslocal worker --host {host} --port {DEFAULT_PORT}" for host in hosts]
    commands.append(f"{head.host}$ dslocal chat {name} --rpc {rpc} --ctx {config.n_ctx}")
    split = ",".join(str(device.layers) for device in config.split)
    server = (
        f"llama-server -m {model.name}-{model.quant}.gguf --rpc {rpc} -c {config.n_ctx} "
        f"-ngl {config.n_gpu_layers} --tensor-split {split} -ub {config.n_ubatch} "
        f"-ctk {config.kv_type.name.lower()} -ctv {config.kv_type.name.lower()}"
    )
    native = [f"{host}$ rpc-server --host {host} --port {DEFAULT_PORT}" for host in hosts]
    link = {other.host: other.link for other in others}
    sent = sum(
        share.weights / link[share.place.endpoint.rpartition(":")[0]]
        for share in spread.shares
        if share.place.endpoint
    )
    return RpcWay(found, tuple(hosts), tuple(commands), (*native, f"{head.host}$ {server}"), sent)


def _devices(other: ClusterMachine, head: ClusterMachine) -> list[RemoteDevice]:
    """Return the devices that a machine would lend as a worker."""
    machine = other.machine
    endpoint = f"{other.host}:{DEFAULT_PORT}"
    round_trip = max(other.round_trip, head.round_trip)
    if not machine.gpus:
        cpu = machine.cpu
        return [
            RemoteDevice(
                endpoint,
                0,
                cpu,
                "cpu",
                machine.ram,
                machine.available,
                other.rates.ram,
                round_trip,
                type_rates=other.rates.ram_types,
            )
        ]
    return [
        RemoteDevice(
            endpoint,
            number,
            gpu.name,
            gpu.kind,
            gpu.total,
            gpu.free,
            one_gpu_bandwidth(gpu, machine) * GPU_EFFICIENCY[gpu.kind].share,
            round_trip,
        )
        for number, gpu in enumerate(machine.gpus)
    ]


def _gpu_way(name: str, model: PlannedModel, machines: Sequence[ClusterMachine]) -> GpuWay:
    """Return whether vLLM and SGLang run the published checkpoint."""
    import dslocal.convert as converter
    from dslocal.api.planning.planned_models import registered_entry
    from dslocal.plan.memory.footprint import kv_bytes_per_token
    from dslocal.plan.speed import published_bytes_per_token

    entry = registered_entry(name)
    if entry is None or not entry.repository:
        return GpuWay("both need a checkpoint of the Hugging Face Hub, and models.yaml names none")
    group = _gpu_group(machines)
    if isinstance(group, str):
        return GpuWay(group)
    weights = converter.checkpoint_bytes(entry.config, entry.dtype)
    read = published_bytes_per_token(model.header, weights)
    fit = gpu_fit(weights, read, kv_bytes_per_token(model.header), group)
    if not fit.fits:
        return GpuWay("", fit)
    boxes = GpuBoxes(group.hosts, group.per_box, group.name)
    is_v4 = model.header.architecture == V4_ARCHITECTURE
    lines: list[tuple[str, Callable[..., Launch]]] = [
        ("vLLM", vllm_launch),
        ("SGLang", sglang_launch),
    ]
    launches = tuple(
        (engine, launch(entry.repository, boxes, is_v4=is_v4, fits_one=fit.fits_one))
        for engine, launch in lines
    )
    return GpuWay("", fit, launches)


def _gpu_group(machines: Sequence[ClusterMachine]) -> GpuGroup | str:
    """Return the GPUs of all machines, or why they cannot be used as a group."""
    gpus = [gpu for each in machines for gpu in each.machine.gpus]
    if not gpus or any(not each.machine.gpus for each in machines):
        return "both need GPUs in every machine, and one has none"
    if any(gpu.kind != "cuda" for gpu in gpus):
        return "dslocal plans them only for NVIDIA's GPUs (they also run on AMD's)"
    counts = {len(each.machine.gpus) for each in machines}
    if len({gpu.name for gpu in gpus}) > 1 or len(counts) > 1:
        return "both need the same GPUs, and the same number of them, in every machine"
    first = machines[0].machine
    bandwidth = one_gpu_bandwidth(gpus[0], first)
    hosts = tuple(each.host for each in machines)
    return GpuGroup(gpus[0].name, gpus[0].total, bandwidth, counts.pop(), hosts)
