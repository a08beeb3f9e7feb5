"""What a token takes: reading weights and KV cache, experts from the SSD, and the layers."""

from __future__ import annotations

from collections.abc import Iterator

from dslocal.plan.speed import EXPERT_MATRICES, LayerCount, TokenTime, WeightReads, WeightRoom

from .figures import Row, figure, gbs, mb, ms, percent, sum_of, tokens_per_second


def end_rows(
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
        terms = sum_of([reads.gpu, reads.gpu_experts * reads.used_share], kv[0])
        yield "GPU:", f"{terms} / {gbs(rates.gpu)} = {ms(time.gpu)}"
    if time.ram:
        terms = _ram_terms(time, reads, room, kv[1], missing)
        yield "RAM:", f"{terms} / {gbs(rates.ram)} = {ms(time.ram)}"
    if time.experts:
        yield "experts:", f"{mb(time.experts)} / {gbs(rates.ram)} = {ms(time.using)}"
    if time.ssd:
        terms = f"{mb(reads.used_in_ram)} × {percent(missing)}"
        if room.dense_missing:
            terms = sum_of([reads.ram, reads.used_in_ram], 0.0)
        yield "SSD:", f"{terms} / {gbs(rates.ssd)} = {ms(time.ssd)}"
        if _is_waited(time) and time.waited_share > 1 / EXPERT_MATRICES and not time.guessed:
            yield "waited:", _waited(time, reads, missing)
    yield from _sum_rows(time)
    reached = tokens_per_second(factor / time.seconds)
    yield "speed:", f"1 / {ms(time.seconds)} × {factor:g} = {reached}"


def layer_row(count: LayerCount) -> Row:
    """Return what the layers of a device take besides reading."""
    return f"{count.device}:", f"{layer_terms(count)} = {ms(count.seconds)}"


def layer_terms(count: LayerCount) -> str:
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


def _ram_terms(
    time: TokenTime, reads: WeightReads, room: WeightRoom, kv: float, missing: float
) -> str:
    """Return what the CPU reads, without experts that are read ahead."""
    if time.experts:
        return sum_of([reads.ram], kv)
    if room.dense_missing:
        return sum_of([], kv)
    if missing and reads.used_in_ram:
        found = f"{mb(reads.used_in_ram)} × {percent(1 - missing)}"
        return sum_of([reads.ram], kv, found)
    return sum_of([reads.ram, reads.used_in_ram], kv)


def _sum_rows(time: TokenTime) -> Iterator[Row]:
    """Yield the sum of a token's parts, where there is more than one."""
    if time.experts and time.guessed and time.ssd:
        yield from _guessed_rows(time)
        return
    parts = [time.gpu, time.ram]
    if not time.experts:
        parts += [time.ssd]
    terms = [ms(part) for part in parts if part]
    if time.experts:
        terms += _expert_terms(time)
    if time.layers:
        terms.append(_layers_term(time))
    if len(terms) > 1:
        yield "together:", f"{' + '.join(terms)} = {ms(time.seconds)}"


def _guessed_rows(time: TokenTime) -> Iterator[Row]:
    """Yield the sum where experts are read while everything else is computed."""
    parts = [ms(part) for part in (time.gpu, time.ram, time.using) if part]
    computing, ssd = ms(time.computing), ms(time.ssd)
    if len(parts) > 1:
        yield "computed:", f"{' + '.join(parts)} = {computing}"
    terms = [f"√({computing} × {computing} + {ssd} × {ssd})"]
    if time.layers:
        terms.append(_layers_term(time))
    yield "together:", f"{' + '.join(terms)} = {ms(time.seconds)}"


def _is_waited(time: TokenTime) -> bool:
    """Return whether using experts takes longer than reading those that are missing."""
    last_used = time.ssd + time.using / EXPERT_MATRICES
    return time.experts > 0 and last_used < time.ssd * time.waited_share + time.using


def _waited(time: TokenTime, reads: WeightReads, missing: float) -> str:
    """Return which share of what is read comes before an expert can be used."""
    pieces = f"{EXPERT_MATRICES} × {reads.used} × {percent(missing)}"
    requests = time.rates.ssd_requests
    if time.waited_share < 1:
        share = f"{requests} / ({pieces}) = {percent(time.waited_share)}"
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
        terms = [(time.using, ""), (time.ssd, f" × {percent(time.waited_share)}")]
    else:
        terms = [(time.using, ""), (time.ssd, third)]
    return [f"{ms(seconds)}{factor}" for seconds, factor in terms if seconds]


def _layers_term(time: TokenTime) -> str:
    return f"{ms(time.layers)} of layers"
