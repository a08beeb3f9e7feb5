"""What ``dslocal fit MODEL`` shows people: one model's plan on a machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from dslocal.files import binary_size, decimal_size
from dslocal.plan.assessment import Assessment
from dslocal.plan.cluster.spread import Share
from dslocal.plan.machine.bandwidth import SSD_NOTE
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import kv_bytes_per_token, modern_kv_bytes_per_token
from dslocal.plan.memory.shape import is_legacy_mla
from dslocal.plan.placement_words import placement_words
from dslocal.plan.search import Plan
from dslocal.terminal.sanitise import one_line

from .plain_console import plain_console, print_titled
from .speed_text import forecast_text, recommendation_text, speed_text

if TYPE_CHECKING:
    from dslocal.api.planning.recommendation import RecommendedModel

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
    found: Assessment,
    machine: Machine,
    others: Sequence[tuple[str, Assessment]],
    instead: RecommendedModel | None = None,
) -> None:
    """Print how a model runs, what that takes, what was given up, and what would change it.

    Args:
        found: The model's plan on the machine.
        machine: The machine.
        others: Plans with something changed, each with what that is.
        instead: The model that runs better there, if there is one.
    """
    console = plain_console()
    name = one_line(found.model.name, MAX_MODEL)
    console.print(Text(f"{name}, {found.model.quant}", style="bold"))
    console.print(Text(machine_line(machine)))
    print_titled(console, _plan_rows(found, machine, others, instead))


def memory_bytes(plan: Plan) -> int:
    """Return the bytes of memory that a plan takes, without what it reads from the SSD."""
    total = plan.memory.all.total
    return total - plan.lacking if plan.verdict == "ssd" else total


def _plan_rows(
    found: Assessment,
    machine: Machine,
    others: Sequence[tuple[str, Assessment]],
    instead: RecommendedModel | None,
) -> Iterator[Row]:
    """Yield titles and texts; lines below a title have none."""
    plan, memory = found.plan, found.plan.memory
    yield "runs", _how_it_runs(found)
    yield from _memory_rows(found)
    if plan.spread is not None:
        yield from _titled("machines", [share_line(share) for share in plan.spread.shares])
    if memory.all.gpu:
        gpu, host = binary_size(memory.all.gpu), binary_size(memory.all.host)
        yield "", f"{gpu} on the GPU, {host} in RAM"
    if plan.verdict != "no":
        yield "settings", _settings(found)
        yield "forecast", forecast_text(found.speed)
    if faster := _faster_quant(found, others):
        yield "faster", f"{faster.model.quant}, {speed_text(faster.speed.middle)}"
    if instead is not None:
        yield "instead", f"{instead.command}: {recommendation_text(instead)}"
    if found.model.download:
        download = decimal_size(found.model.download, mb_decimals=0)
        yield from _titled("download", [f"{download}, {_method(found)}", *_disk_lines(found)])
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


def _disk_lines(found: Assessment) -> Iterator[str]:
    """Yield why a conversion takes less disk than is downloaded, where it does."""
    if found.model.method == "converted" and found.model.disk < found.model.download:
        yield "less disk than is fetched: pull converts a shard at a time, then deletes it"


def _titled(title: str, texts: Sequence[str]) -> Iterator[Row]:
    """Yield rows of which the first one has the title."""
    for number, text in enumerate(texts):
        yield "" if number else title, text


def machine_line(machine: Machine) -> str:
    """Return what a machine has, in a line."""
    counts = Counter(
        f"{one_line(gpu.name, MAX_GPU)} with {binary_size(gpu.free)} free" for gpu in machine.gpus
    )
    gpus = [gpu if count == 1 else f"{count} × {gpu}" for gpu, count in counts.items()]
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
            return f"from the SSD: the weights are {lacking} too large for the RAM, {how}"
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


def _memory_rows(found: Assessment) -> Iterator[Row]:
    """Yield what the model takes of the memory, and what stays on the SSD."""
    plan = found.plan
    parts = _memory_parts(found)
    if plan.verdict != "ssd":
        yield "memory", f"{binary_size(plan.memory.all.total)}: {', '.join(parts)}"
        return
    weights = plan.memory.weights.total
    held = binary_size(weights - plan.lacking)
    parts[0] = f"{held} of the weights"
    yield "memory", f"{binary_size(memory_bytes(plan))}: {', '.join(parts)}"
    lacking, total = binary_size(plan.lacking), binary_size(weights)
    yield "SSD", f"{lacking}: the rest of the {total} of weights, read as needed"


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
    where, memory = placement_words(plan.verdict), f", {binary_size(plan.memory.all.total)}"
    if plan.verdict == "ssd":
        where, memory = f"{binary_size(plan.lacking)} {where}", ""
    context = f"{context_size(plan.load_config.n_ctx)} context"
    return f"{where}, {context}{memory}, {speed_text(found.speed.middle)}"


def context_size(n_ctx: int) -> str:
    """Return the size of a context in four characters."""
    return f"{n_ctx // 1024}k" if n_ctx >= 1024 else str(n_ctx)
