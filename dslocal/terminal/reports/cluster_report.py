"""What ``dslocal fit MODEL --machines FILE`` shows: the ways to run a model on several machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dslocal.api.cluster import ClusterMachine, ClusterWays, GpuWay, RpcWay
from dslocal.files import binary_size
from dslocal.plan.assessment import Assessment
from dslocal.plan.cluster.spread import Share
from dslocal.terminal.sanitise import one_line

from .arithmetic.forecast_rows import forecast_rows, kv_cache_split, spread_rows
from .arithmetic.rate_rows import device_rate_rows
from .fit_arithmetic import kv_cache_lines
from .fit_report import machine_line

INDENT = "  "
GB = 1e9
MIB = 1 << 20
WIRED_LIMIT = (
    "a Mac lends its GPU more after sudo sysctl iogpu.wired_limit_mb=122880; vram: 120GB in the "
    "file plans with that"
)


def print_ways(name: str, ways: ClusterWays) -> None:
    """Print every way, with its arithmetic, forecast and command lines."""
    for line in _lines(name, ways):
        print(line)


def ways_json(name: str, ways: ClusterWays) -> dict[str, Any]:
    """Return what ``--json`` prints; sizes in bytes."""
    found, fit = ways.rpc.assessment, ways.gpus.fit
    plan = found.plan
    return {
        "model": name,
        "machines": [machine.host for machine in ways.machines],
        "rpc": {
            "fits": plan.verdict not in ("no", "ssd"),
            "quant": found.model.quant,
            "verdict": plan.verdict,
            "lacking": plan.lacking,
            "n_ctx": plan.load_config.n_ctx,
            "shares": plan.spread.as_json() if plan.spread else [],
            "tokens_per_s": {"low": round(found.speed.low, 2), "high": round(found.speed.high, 2)},
            "load_s": round(ways.rpc.load_s, 1),
            "commands": list(ways.rpc.commands),
            "llama_cpp": list(ways.rpc.llama_cpp),
        },
        "gpu_engines": {
            "fits": bool(fit and fit.fits),
            "obstacle": ways.gpus.obstacle,
            "arithmetic": list(fit.arithmetic) if fit else [],
            "launch": {
                engine: {
                    "how": launch.how,
                    "commands": list(launch.commands),
                    "sources": list(launch.sources),
                }
                for engine, launch in ways.gpus.launches
            },
        },
    }


def _lines(name: str, ways: ClusterWays) -> Iterator[str]:
    yield f"{one_line(name)} on {len(ways.machines)} machines"
    for machine in ways.machines:
        link = f"{machine.link * 8 / GB:g} Gbit/s, {1000 * machine.round_trip:g} ms"
        yield f"{INDENT}{one_line(machine.host)}: {machine_line(machine.machine)}; {link}"
    yield from _rate_lines(ways.machines)
    yield ""
    yield from _rpc_lines(ways.rpc, ways.machines)
    yield ""
    yield from _gpu_lines(ways.gpus, [machine.host for machine in ways.machines])


def _rate_lines(machines: Sequence[ClusterMachine]) -> Iterator[str]:
    """Yield how fast memories are read, each line once, with the machines that it is of."""
    hosts: dict[tuple[str, str], list[str]] = {}
    for machine in machines:
        for row in device_rate_rows(machine.machine, machine.rates):
            hosts.setdefault(row, []).append(one_line(machine.host))
    for (title, text), names in hosts.items():
        first, *others = dict.fromkeys(names)
        where = f"{first} to {others[-1]}" if len(others) > 1 else " and ".join([first, *others])
        yield f"{INDENT}{title} {text}, on {where}"


def _rpc_lines(way: RpcWay, machines: Sequence[ClusterMachine]) -> Iterator[str]:
    plan = way.assessment.plan
    title = f"llama.cpp's RPC, {way.assessment.model.quant}"
    if plan.verdict in ("no", "ssd"):
        total = binary_size(plan.memory.all.total)
        missing = f"{binary_size(plan.lacking)} are missing"
        if plan.lacking < MIB:
            missing = "and no split by whole layers fits"
        yield f"{title}: does not fit: {total} are needed, {missing}"
        if any(machine.machine.unified for machine in machines):
            yield f"{INDENT}{WIRED_LIMIT}"
        return
    speed = way.assessment.speed
    forecast = f"{speed.low:.1f}–{speed.high:.1f} tokens/s"
    if plan.spread is None:
        yield f"{title}: the first machine alone is fastest, {forecast}"
        yield from _alone_lines(way.assessment, machines[0])
        return
    yield f"{title}: fits, {plan.load_config.n_ctx:,} tokens of context, {forecast}"
    for share in plan.spread.shares:
        yield INDENT + _share_memory(share)
    yield f"{INDENT}a token, with the context half full:"
    for title, text in spread_rows(plan.spread):
        yield f"{INDENT}{INDENT}{title} {text}"
    yield f"{INDENT}sending the weights once takes {way.load_s:,.0f} s over these links"
    for command in (*way.commands, "or with llama.cpp's own programs:", *way.llama_cpp):
        yield INDENT + one_line(command, 1000)


def _alone_lines(found: Assessment, machine: ClusterMachine) -> Iterator[str]:
    """Yield how a forecast for one machine follows from what it reads."""
    for line in kv_cache_lines(found):
        yield INDENT + line
    rows = (*kv_cache_split(found), *forecast_rows(found, machine.rates, machine.machine))
    for title, text in rows:
        yield f"{INDENT}{INDENT}{title} {text}" if title else INDENT + text


def _share_memory(share: Share) -> str:
    place = share.place
    where = place.endpoint.rpartition(":")[0] if place.endpoint else "here"
    head = f"{one_line(where)}, {one_line(place.name, 40)}"
    sizes = (
        f"{binary_size(share.weights)} + KV {binary_size(share.kv)} + {binary_size(share.compute)}"
        f" of {binary_size(max(0, place.free))}"
    )
    if not share.layers:
        return f"{head}: the embeddings alone, {sizes}"
    return f"{head}: layers {share.first}–{share.first + share.layers - 1}, {sizes}"


def _gpu_lines(way: GpuWay, hosts: Sequence[str]) -> Iterator[str]:
    title = "vLLM and SGLang, the checkpoint as published"
    if way.fit is None:
        yield f"{title}: no: {way.obstacle}"
        return
    yield f"{title}: {'fits' if way.fit.fits else 'does not fit'}"
    for line in way.fit.arithmetic:
        yield INDENT + line
    for engine, launch in way.launches:
        yield f"{INDENT}{engine}: {launch.how}"
        for number, command in enumerate(launch.commands):
            where = f"{hosts[number]}$ " if len(launch.commands) > 1 else ""
            yield f"{INDENT}{INDENT}{one_line(where + command, 1000)}"
        for source in launch.sources:
            yield f"{INDENT}{INDENT}source: {source}"
