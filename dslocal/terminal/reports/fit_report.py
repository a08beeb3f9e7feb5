"""What ``dslocal fit MODEL`` shows people: one model's plan on a machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from dslocal.files import binary_size, decimal_size
from dslocal.plan.assessment import Assessment
from dslocal.plan.cluster.spread import Share
from dslocal.plan.machine.bandwidth import SSD_NOTE
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import kv_bytes_per_token, modern_kv_bytes_per_token
from dslocal.plan.memory.shape import is_legacy_mla
from dslocal.plan.speed import Speed
from dslocal.terminal.sanitise import one_line

from .plain_console import plain_console

SHORT_VERDICTS = {
    "gpu": "on the GPU",
    "offload": "experts or layers in RAM",
    "cpu": "on the CPU",
    "workers": "on several machines",
    "ssd": "from the SSD",
}
MEMORY_PARTS = {
    "weights": "weights",
    "kv": "KV",
    "compute": "compute",
    "output": "output",
    "overhead": "overhead",
}
MIN_PART = 1 << 20  # bytes of a part of the memory that is named
MAX_MODEL = 60  # characters of a model's name
MAX_CPU = 50
MAX_GPU = 40
MIN_USABLE_SPEED = 1.0  # tokens a second
Row = tuple[str, str]


def print_plan(
    found: Assessment, machine: Machine, others: Sequence[tuple[str, Assessment]]
) -> None:
    """Print how a model runs, what that takes, what was given up, and what would change it.

    Args:
        found: The model's plan on the machine.
        machine: The machine.
        others: Plans with something changed, each with what that is.
    """
    console = plain_console()
    name = one_line(found.model.name, MAX_MODEL)
    console.print(Text(f"{name}, {found.model.quant}", style="bold"))
    console.print(Text(machine_line(machine)))
    rows = list(_plan_rows(found, machine, others))
    grid = Table.grid(padding=(0, 0))
    grid.add_column(width=max(len(title) for title, _ in rows) + 2)
    grid.add_column(overflow="fold")
    for title, text in rows:
        grid.add_row(Text(title, style="dim"), Text(text))
    console.print(grid)


def _plan_rows(
    found: Assessment, machine: Machine, others: Sequence[tuple[str, Assessment]]
) -> Iterator[Row]:
    """Yield titles and texts; lines below a title have none."""
    plan, memory = found.plan, found.plan.memory
    yield "runs", _how_it_runs(found)
    yield "memory", f"{binary_size(memory.all.total)}: {', '.join(_memory_parts(found))}"
    if plan.spread is not None:
        yield from _titled("machines", [share_line(share) for share in plan.spread.shares])
    if memory.all.gpu:
        gpu, host = binary_size(memory.all.gpu), binary_size(memory.all.host)
        yield "", f"{gpu} on the GPU, {host} in RAM"
    if plan.verdict != "no":
        yield "settings", _settings(found)
        yield "forecast", f"{_speed_range(found.speed)} tokens/s"
    if faster := _faster_quant(found, others):
        yield "faster", f"{faster.model.quant}, {_speed_range(faster.speed)} tokens/s"
    if found.model.download:
        download = decimal_size(found.model.download, mb_decimals=0)
        yield "download", f"{download}, {_method(found)}"
    yield from _titled(
        "gave up", [f"{step.what}: saved {binary_size(step.saved)}" for step in plan.gave_up]
    )
    if is_legacy_mla(found.model.header):
        yield "old file", _legacy_note(found)
    yield from _titled("with", [f"{change}: {_short_plan(other)}" for change, other in others])
    notes = list(machine.notes)
    if plan.verdict == "ssd" and not found.model.file:
        notes.append(SSD_NOTE)
    yield from _titled("note", notes)


def share_line(share: Share) -> str:
    """Return what one machine gets of a model that is spread over several."""
    place = share.place
    where = f"{place.endpoint}, " if place.endpoint else "here, "
    last = share.first + share.layers - 1
    what = f"layers {share.first} to {last}" if share.layers else "the embeddings alone"
    milliseconds = 1000 * share.seconds
    return (
        f"{where}{one_line(place.name, MAX_CPU)}: {what}, {binary_size(share.total)} of"
        f" {binary_size(max(0, place.free))} free, {milliseconds:.1f} ms a token"
    )


def _method(found: Assessment) -> str:
    """Return in words how a model that is to be fetched comes here."""
    disk = decimal_size(found.model.disk, mb_decimals=0)
    match found.model.method:
        case "ready-made":
            return "a ready-made file"
        case "converted":
            return f"the checkpoint, which is converted; {disk} of disk at most"
        case "" if found.model.obstacle == "imatrix":
            return "the checkpoint, by dslocal convert --imatrix auto; dslocal pull cannot"
        case "":
            return "none: the checkpoint has only pickled weights, which are never opened"


def _titled(title: str, texts: Sequence[str]) -> Iterator[Row]:
    """Yield rows of which the first one has the title."""
    for number, text in enumerate(texts):
        yield "" if number else title, text


def machine_line(machine: Machine) -> str:
    """Return what a machine has, in a line."""
    gpus = [
        f"{one_line(gpu.name, MAX_GPU)} with {binary_size(gpu.free)} free" for gpu in machine.gpus
    ]
    limit = f" ({machine.limited_by})" if machine.limited_by else ""
    parts = [
        machine.os,
        one_line(machine.cpu, MAX_CPU),
        f"{machine.cores} cores",
        f"{binary_size(machine.available)} of {binary_size(machine.ram)} RAM available{limit}",
        *(gpus or ["no GPU"]),
    ]
    return ", ".join(parts)


def _how_it_runs(found: Assessment) -> str:
    plan, load_config = found.plan, found.plan.load_config
    lacking = binary_size(plan.lacking)
    match plan.verdict:
        case "gpu":
            return "on the GPU"
        case "offload" if load_config.cpu_moe_layers:
            return f"on the GPU, with the experts of {_layers(load_config.cpu_moe_layers)} in RAM"
        case "offload":
            return f"{_layers(load_config.n_gpu_layers)} on the GPU, the rest on the CPU"
        case "cpu":
            return "on the CPU"
        case "workers":
            return "on this machine and its workers together"
        case "ssd":
            how = "and are read as they are needed"
            if load_config.stream_experts:
                how = "and the experts are read as the router chooses them"
            return f"from the SSD: the weights are {lacking} too large for the RAM {how}"
        case "no":
            return f"not here: {lacking} are missing"


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _settings(found: Assessment) -> str:
    load_config = found.plan.load_config
    parts = [
        f"{load_config.n_ctx:,} tokens of context",
        f"{load_config.kv_type.name.lower()} KV cache",
        f"micro-batches of {load_config.n_ubatch}",
    ]
    if not load_config.flash_attn:
        parts.append("no flash attention")
    return ", ".join(parts)


def _memory_parts(found: Assessment) -> list[str]:
    sizes = {title: getattr(found.plan.memory, part).total for part, title in MEMORY_PARTS.items()}
    return [f"{title} {binary_size(size)}" for title, size in sizes.items() if size >= MIN_PART]


def _faster_quant(found: Assessment, others: Sequence[tuple[str, Assessment]]) -> Assessment | None:
    """Return a faster quantization for a plan that reads from the SSD and is slow.

    It is the first one that gives a token a second, or else the fastest there is.
    """
    if found.plan.verdict != "ssd" or found.speed.middle >= MIN_USABLE_SPEED:
        return None
    faster = [
        other
        for _, other in others
        if other.model.quant != found.model.quant and other.speed.middle > found.speed.middle
    ]
    for other in faster:
        if other.speed.middle >= MIN_USABLE_SPEED:
            return other
    return max(faster, key=lambda other: other.speed.middle, default=None)


def _legacy_note(found: Assessment) -> str:
    header, load_config = found.model.header, found.plan.load_config
    tokens = load_config.n_ctx
    old = binary_size(kv_bytes_per_token(header, load_config.kv_type) * tokens)
    new = binary_size(modern_kv_bytes_per_token(header, load_config.kv_type) * tokens)
    return (
        f"made before llama.cpp kept MLA's cache compressed: {old} for {tokens:,} tokens;"
        f" a file made today takes {new}: convert or fetch it again"
    )


def _short_plan(found: Assessment) -> str:
    plan = found.plan
    if plan.verdict == "no":
        return f"not here, {binary_size(plan.lacking)} are missing"
    parts = [
        SHORT_VERDICTS[plan.verdict],
        f"{context_size(plan.load_config.n_ctx)} context",
        binary_size(plan.memory.all.total),
        f"{_speed_range(found.speed)} tokens/s",
    ]
    return ", ".join(parts)


def context_size(n_ctx: int) -> str:
    """Return the size of a context in four characters."""
    return f"{n_ctx // 1024}k" if n_ctx >= 1024 else str(n_ctx)


def _speed_range(speed: Speed) -> str:
    """Return the lowest and the highest speed, or one number where they look the same."""
    if speed.high < 0.05:
        return "< 0.1"
    low, high = _speed(speed.low), _speed(speed.high)
    return low if low == high else f"{low}–{high}"


def _speed(tokens_per_s: float) -> str:
    return f"{tokens_per_s:.1f}" if tokens_per_s < 9.95 else f"{tokens_per_s:,.0f}"
