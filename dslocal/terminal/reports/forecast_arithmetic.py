"""How a forecast follows from a plan, line by line, so that a calculator gives its two ends.

Every line that has a "=" is exact within the rounding of what it shows, and uses what the lines
above it show.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from dslocal.gguf.header import GgufHeader
from dslocal.plan.assessment import Assessment
from dslocal.plan.cluster.spread import FILLED, LayerSpread, Share
from dslocal.plan.expert_streaming import harmonic_number
from dslocal.plan.machine.bandwidth import SSD_BANDWIDTH, gpu_bandwidth, one_gpu_bandwidth
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import kv_bytes_per_token
from dslocal.plan.speed import (
    CORE_RATE,
    CPU_EFFICIENCY,
    EXPERT_MATRICES,
    GPU_EFFICIENCY,
    SMALL_READ,
    SPREAD,
    LayerCount,
    Rates,
    TokenTime,
    TypeBytes,
    WeightReads,
    WeightRoom,
    forecast_times,
    layer_counts,
    used_ram_bandwidth,
    weight_reads,
    weight_room,
)
from dslocal.terminal.sanitise import one_line

from .plain_console import print_titled
from .speed_text import forecast_text

TITLE_WIDTH = 11  # cells of a row's title
DIGITS = 4  # significant ones of a figure
REACHED = "that llama.cpp reaches"
Row = tuple[str, str]  # a title, empty for a heading, and a text


def print_rows(console: Console, rows: Iterable[Row]) -> None:
    """Print rows, with titles and texts below each other; a text without a title heads others."""
    for is_heading, group in itertools.groupby(rows, key=lambda row: not row[0]):
        if is_heading:
            for _, text in group:
                console.print(Text(text))
        else:
            print_titled(
                console, [(f"  {title}".ljust(TITLE_WIDTH), text) for title, text in group]
            )


def forecast_rows(found: Assessment, rates: Rates, machine: Machine) -> Iterator[Row]:
    """Yield the lines from a machine's rates to the forecast of a plan that can be run."""
    plan = found.plan
    if plan.verdict == "no":
        return
    if plan.spread is not None:
        yield "", "this machine reads so many bytes a second"
        yield from device_rate_rows(machine, rates)
        yield "", "what a token takes, with the context half full"
        yield from spread_rows(plan.spread)
        return
    header, config = found.model.header, plan.load_config
    reads = weight_reads(header, config)
    room = weight_room(reads, config, plan.memory, machine)
    yield "", "a token reads all weights but the embeddings, of which it reads a row"
    yield from _weight_rows(reads)
    if room.experts_missing:
        yield from _room_rows(room, reads, streams=config.stream_experts)
    yield "", "so many bytes a second are read"
    rows = rate_rows(
        machine, rates, gpu=reads.on_gpu > 0, ssd=room.experts_missing > 0, ram=reads.ram_types
    )
    yield from rows
    counts = [count for count in layer_counts(header, config, rates) if count.seconds]
    if counts:
        yield "", "and the layers take time besides"
        yield from (layer_row(count) for count in counts)
    if len(counts) > 1:
        terms = " + ".join(_ms(count.seconds) for count in counts)
        yield "both:", f"{terms} = {_ms(sum(count.seconds for count in counts))}"
    full, empty = forecast_times(header, config, plan.memory, machine, rates)
    kv = _kv_bytes(found)
    streams = config.stream_experts and room.experts_missing > 0
    if streams:
        yield "", "of an expert's three matrices, one is read while another is used"
        yield "", "experts that are guessed a layer before are read while all else is computed"
    less, more = f"{1 - SPREAD:g}", f"{1 + SPREAD:g}"
    equally = ", experts are equally frequent, none is guessed" if streams else ""
    yield "", f"low end: the context is full{equally}; × {less}, as such forecasts err"
    yield from _end_rows(full, reads, room, kv, 1 - SPREAD, skewed=False)
    some = ", some experts are more frequent, all are guessed a layer before" if streams else ""
    yield "", f"high end: the context is empty{some}; × {more}"
    yield from _end_rows(empty, reads, room, (0.0, 0.0), 1 + SPREAD, skewed=config.stream_experts)
    yield from _middle_rows(found)


def kv_cache_split(found: Assessment) -> Iterator[Row]:
    """Yield what of the KV cache is read on the GPU and in RAM, where it is in both."""
    kv = found.plan.memory.kv
    on_gpu, in_ram = _kv_bytes(found)
    if found.plan.spread is not None or not (on_gpu and in_ram):
        return
    share = f"{_mb(kv.gpu)} / {_mb(kv.total)}"
    yield "GPU:", f"{_mb(on_gpu + in_ram)} × {share} = {_mb(on_gpu)} of it"
    yield "RAM:", f"{_mb(on_gpu + in_ram)} − {_mb(on_gpu)} = {_mb(in_ram)} of it"


def spread_rows(spread: LayerSpread) -> Iterator[Row]:
    """Yield what a token takes on each machine, and the forecast that follows."""
    parts = []
    for share in spread.shares:
        if share.layers:
            yield from _share_rows(share)
            parts.append(_ms(share.seconds))
    if len(parts) > 1:
        yield "together:", f"{' + '.join(parts)} = {_ms(spread.seconds)}"
    low, high = ((1 + side * SPREAD) / spread.seconds for side in (-1, 1))
    yield "low end:", f"1 / {_ms(spread.seconds)} × {1 - SPREAD:g} = {_speed(low)}"
    yield "high end:", f"1 / {_ms(spread.seconds)} × {1 + SPREAD:g} = {_speed(high)}"


def rate_rows(
    machine: Machine, rates: Rates, *, gpu: bool, ssd: bool, ram: Sequence[TypeBytes] = ()
) -> Iterator[Row]:
    """Yield where the rates of a machine come from.

    Args:
        machine: the machine.
        rates: its rates.
        gpu: whether anything is read on the GPU.
        ssd: whether anything is read from the SSD.
        ram: the weights that are read in RAM.
    """
    if gpu:
        yield from _gpu_rate_rows(machine, rates)
    if rates.ram_types and ram:
        yield from _type_rows(rates, ram)
    else:
        yield "RAM:", _ram_rate(machine, rates)
    if ssd:
        yield "SSD:", _ssd_rate(rates)


def device_rate_rows(machine: Machine, rates: Rates) -> Iterator[Row]:
    """Yield the rates of a machine's RAM, and of each GPU that is not like one before."""
    yield "RAM:", _ram_rate(machine, rates)
    for gpu in dict.fromkeys(machine.gpus):
        bandwidth, share = one_gpu_bandwidth(gpu, machine), GPU_EFFICIENCY[gpu.kind].share
        reached = _gbs(bandwidth * share)
        yield "GPU:", f"{_gbs(bandwidth)} × {share:g} {REACHED} = {reached}"


def layer_row(count: LayerCount) -> Row:
    """Return what the layers of a device take besides reading."""
    return f"{count.device}:", f"{_layer_terms(count)} = {_ms(count.seconds)}"


def figure(value: float) -> str:
    """Return a number with four significant digits, or all those before the point."""
    if not value:
        return "0"
    exponent = int(f"{value:.{DIGITS - 1}e}".partition("e")[2])
    return f"{value:,.{max(0, DIGITS - 1 - exponent)}f}"


def _weight_rows(reads: WeightReads) -> Iterator[Row]:
    tiers = (("GPU:", reads.gpu, reads.gpu_experts), ("RAM:", reads.ram, reads.ram_experts))
    for title, always, experts in tiers:
        if always:
            yield title, f"{_mb(always)}" + (" without experts" if reads.experts else "")
        if experts:
            used = f"{_mb(experts)} of experts × {reads.used} / {reads.experts}"
            yield title, f"{used} = {_mb(experts * reads.used_share)}"


def _room_rows(room: WeightRoom, reads: WeightReads, *, streams: bool) -> Iterator[Row]:
    """Yield what of the weights is in memory."""
    yield "", "not all of that is in memory"
    kept_free = f" − {_mb(room.kept_free)} kept free" if room.kept_free else ""
    yield (
        "room:",
        f"{_mb(room.available)} available − {_mb(room.taken)} of KV cache and buffers{kept_free}"
        f" = {_mb(room.size)}",
    )
    if room.dense_missing:
        yield "", "  what every token reads does not fit there: all of it is read again each time"
        return
    held = 1 - room.experts_missing
    yield (
        "experts:",
        f"({_mb(room.size)} − {_mb(reads.ram)}) / {_mb(reads.ram_experts)} = {_percent(held)}"
        " are in memory",
    )
    yield "missing:", _missing(held) + (", if all are chosen equally often" if streams else "")
    if streams:
        yield from _skewed_rows(room, reads, held)


def _skewed_rows(room: WeightRoom, reads: WeightReads, held: float) -> Iterator[Row]:
    """Yield what is missing if the router prefers some experts."""
    count = held * reads.experts
    yield (
        "or:",
        "if the n-th most frequent one is chosen 1/n as often as the first; H(n) is"
        " 1 + 1/2 + … + 1/n",
    )
    yield "held:", f"{_percent(held)} × {reads.experts} experts = {figure(count)}"
    mass, total = harmonic_number(count), harmonic_number(reads.experts)
    found = 1 - room.missing_share(reads.experts, skewed=True)
    yield (
        "found:",
        f"H({figure(count)}) / H({reads.experts}) = {figure(mass)} / {figure(total)}"
        f" = {_percent(found)} are in memory",
    )
    yield "missing:", _missing(found)


def _missing(held: float) -> str:
    return f"100 % − {_percent(held)} = {_percent(1 - held)}"


def _gpu_rate_rows(machine: Machine, rates: Rates) -> Iterator[Row]:
    bandwidth, kernels = gpu_bandwidth(machine), GPU_EFFICIENCY[machine.gpus[0].kind]
    if rates.gpu != bandwidth * kernels.share:
        yield "GPU:", f"{_gbs(rates.gpu)}, measured here"
        return
    each = [(gpu, one_gpu_bandwidth(gpu, machine)) for gpu in machine.gpus]
    if len({rate for _, rate in each}) > 1:
        free = " + ".join(_mb(gpu.free) for gpu, _ in each)
        times = " + ".join(f"{_mb(gpu.free)} / {_gbs(rate)}" for gpu, rate in each)
        yield "GPUs:", f"one after the other, ({free}) / ({times}) = {_gbs(bandwidth)}"
    share = f"{kernels.share:g} {REACHED}"
    yield "GPU:", f"{_gbs(bandwidth)} × {share} = {_gbs(rates.gpu)}"


def _type_rows(rates: Rates, read: Sequence[TypeBytes]) -> Iterator[Row]:
    """Yield what weights of each type take, and the rate of them all."""
    if len(read) > 1:
        for part in read:
            rate = rates.of_types([part])
            took = f"{_mb(part.nbytes)} / {_gbs(rate)} = {_ms(part.nbytes / rate)}"
            yield f"{part.type.name}:", took
        sizes = " + ".join(_mb(part.nbytes) for part in read)
        times = " + ".join(_ms(part.nbytes / rates.of_types([part])) for part in read)
        yield "RAM:", f"({sizes}) / ({times}) = {_gbs(rates.of_types(read))}, measured here"
    else:
        yield "RAM:", f"{_gbs(rates.of_types(read))}, measured here"


def _ram_rate(machine: Machine, rates: Rates) -> str:
    bandwidth, share = used_ram_bandwidth(machine), CPU_EFFICIENCY.share
    by_cores = machine.cores * CORE_RATE
    if rates.ram != min(bandwidth * share, by_cores):
        return f"{_gbs(rates.ram)}, measured here"
    if bandwidth * share <= by_cores:
        return f"{_gbs(bandwidth)} × {share:g} {REACHED} = {_gbs(rates.ram)}"
    return (
        f"{machine.cores} cores × {_gbs(CORE_RATE)} = {_gbs(by_cores)}, which is less than"
        f" {share:g} of the memory's {_gbs(bandwidth)}"
    )


def _ssd_rate(rates: Rates) -> str:
    if rates.ssd == SSD_BANDWIDTH:
        return f"{_gbs(rates.ssd)}, assumed"
    if rates.ssd == SSD_BANDWIDTH * SMALL_READ:
        read = f"{_gbs(SSD_BANDWIDTH)} × {SMALL_READ:g} of it in small pieces"
        return f"{read} = {_gbs(rates.ssd)}, assumed"
    return f"{_gbs(rates.ssd)}, measured here"


def _layer_terms(count: LayerCount) -> str:
    """Return layers times microseconds, such as ``61 × 30 µs + 58 with experts × 40 µs``."""
    each = count.each
    terms = (
        (count.layers, "", each.dense),
        (count.routed, " with experts", each.routed),
        (count.compressed, " of V4", each.compressed),
        (count.streamed, " with experts read ahead", each.streamed),
    )
    return " + ".join(
        f"{number}{what} × {1e6 * seconds:g} µs" for number, what, seconds in terms if number
    )


def _end_rows(
    time: TokenTime,
    reads: WeightReads,
    room: WeightRoom,
    kv: tuple[float, float],
    factor: float,
    *,
    skewed: bool,
) -> Iterator[Row]:
    """Yield one end of a forecast: what is read where, the sum, and the tokens a second."""
    missing = room.missing_share(reads.experts, skewed=skewed)
    rates = time.rates
    if time.gpu:
        terms = _sum([reads.gpu, reads.gpu_experts * reads.used_share], kv[0])
        yield "GPU:", f"{terms} / {_gbs(rates.gpu)} = {_ms(time.gpu)}"
    if time.ram:
        terms = _ram_terms(time, reads, room, kv[1], missing)
        yield "RAM:", f"{terms} / {_gbs(rates.ram)} = {_ms(time.ram)}"
    if time.experts:
        yield "experts:", f"{_mb(time.experts)} / {_gbs(rates.ram)} = {_ms(time.using)}"
    if time.ssd:
        terms = f"{_mb(reads.used_in_ram)} × {_percent(missing)}"
        if room.dense_missing:
            terms = _sum([reads.ram, reads.used_in_ram], 0.0)
        yield "SSD:", f"{terms} / {_gbs(rates.ssd)} = {_ms(time.ssd)}"
        if _is_waited(time) and time.waited_share > 1 / EXPERT_MATRICES and not time.guessed:
            yield "waited:", _waited(time, reads, missing)
    yield from _sum_rows(time)
    yield "speed:", f"1 / {_ms(time.seconds)} × {factor:g} = {_speed(factor / time.seconds)}"


def _ram_terms(
    time: TokenTime, reads: WeightReads, room: WeightRoom, kv: float, missing: float
) -> str:
    """Return what the CPU reads, without experts that are read ahead."""
    if time.experts:
        return _sum([reads.ram], kv)
    if room.dense_missing:
        return _sum([], kv)
    if missing and reads.used_in_ram:
        found = f"{_mb(reads.used_in_ram)} × {_percent(1 - missing)}"
        return _sum([reads.ram], kv, found)
    return _sum([reads.ram, reads.used_in_ram], kv)


def _sum_rows(time: TokenTime) -> Iterator[Row]:
    """Yield the sum of a token's parts, where there is more than one."""
    if time.experts and time.guessed and time.ssd:
        yield from _guessed_rows(time)
        return
    parts = [time.gpu, time.ram]
    if not time.experts:
        parts += [time.ssd]
    terms = [_ms(part) for part in parts if part]
    if time.experts:
        terms += _expert_terms(time)
    if time.layers:
        terms.append(_layers_term(time))
    if len(terms) > 1:
        yield "together:", f"{' + '.join(terms)} = {_ms(time.seconds)}"


def _guessed_rows(time: TokenTime) -> Iterator[Row]:
    """Yield the sum where experts are read while everything else is computed."""
    parts = [_ms(part) for part in (time.gpu, time.ram, time.using) if part]
    computing, ssd = _ms(time.computing), _ms(time.ssd)
    if len(parts) > 1:
        yield "computed:", f"{' + '.join(parts)} = {computing}"
    terms = [f"√({computing} × {computing} + {ssd} × {ssd})"]
    if time.layers:
        terms.append(_layers_term(time))
    yield "together:", f"{' + '.join(terms)} = {_ms(time.seconds)}"


def _is_waited(time: TokenTime) -> bool:
    """Return whether using experts takes longer than reading those that are missing."""
    last_used = time.ssd + time.using / EXPERT_MATRICES
    return time.experts > 0 and last_used < time.ssd * time.waited_share + time.using


def _waited(time: TokenTime, reads: WeightReads, missing: float) -> str:
    """Return which share of what is read comes before an expert can be used."""
    pieces = f"{EXPERT_MATRICES} × {reads.used} × {_percent(missing)}"
    requests = time.rates.ssd_requests
    if time.waited_share < 1:
        share = f"{requests} / ({pieces}) = {_percent(time.waited_share)}"
        return f"{share} of it comes at once, before an expert is used"
    count = figure(EXPERT_MATRICES * reads.used * missing)
    return f"{pieces} = {count} matrices of a layer, which all come at once"


def _expert_terms(time: TokenTime) -> list[str]:
    """Return what reading experts takes, and using them."""
    third = f" / {EXPERT_MATRICES}"
    if not _is_waited(time):
        terms = [(time.ssd, ""), (time.using, third)]
    elif time.waited_share == 1:
        terms = [(time.using, ""), (time.ssd, "")]
    elif time.waited_share > 1 / EXPERT_MATRICES:
        terms = [(time.using, ""), (time.ssd, f" × {_percent(time.waited_share)}")]
    else:
        terms = [(time.using, ""), (time.ssd, third)]
    return [f"{_ms(seconds)}{factor}" for seconds, factor in terms if seconds]


def _layers_term(time: TokenTime) -> str:
    return f"{_ms(time.layers)} of layers"


def _middle_rows(found: Assessment) -> Iterator[Row]:
    speed = found.speed
    product = f"√({_speed(speed.low)} × {_speed(speed.high)}) = {_speed(speed.middle)}"
    yield "middle:", product
    yield "forecast:", forecast_text(speed)


def _share_rows(share: Share) -> Iterator[Row]:
    """Yield what a token takes on one machine of several."""
    place = share.place
    weights, kv = share.read - FILLED * share.kv, FILLED * share.kv
    where = one_line(place.endpoint.rpartition(":")[0]) or "here"
    last = share.first + share.layers - 1
    terms = [f"{_sum([weights], kv)} / {_gbs(place.rate)}"]
    if share.count.seconds:
        terms.append(_layer_terms(share.count))
    if place.round_trip:
        terms.append(f"{figure(1000 * place.round_trip)} ms there and back")
    yield f"{where}, {share.first}–{last}:", f"{' + '.join(terms)} = {_ms(share.seconds)}"


def _kv_bytes(found: Assessment) -> tuple[float, float]:
    """Return the bytes of a full KV cache that a token reads on the GPU, and in RAM."""
    header: GgufHeader = found.model.header
    config, kv = found.plan.load_config, found.plan.memory.kv
    total = kv_bytes_per_token(header, config.kv_type) * config.n_ctx
    on_gpu = total * kv.gpu / kv.total if kv.total else 0.0
    return on_gpu, total - on_gpu


def _sum(weights: Iterable[float], kv: float, more: str = "") -> str:
    """Return a sum of megabytes, in parentheses where it has several terms."""
    terms = [_mb(nbytes) for nbytes in weights if nbytes]
    terms += [more] if more else []
    terms += [f"{_mb(kv)} of KV cache"] if kv else []
    return terms[0] if len(terms) == 1 and "×" not in terms[0] else f"({' + '.join(terms)})"


def _mb(nbytes: float) -> str:
    return f"{figure(nbytes / 1e6)} MB"


def _gbs(bytes_per_s: float) -> str:
    return f"{figure(bytes_per_s / 1e9)} GB/s"


def _ms(seconds: float) -> str:
    return f"{figure(1000 * seconds)} ms"


def _percent(share: float) -> str:
    return f"{figure(100 * share)} %"


def _speed(tokens_per_s: float) -> str:
    return f"{figure(tokens_per_s)} tokens/s"
