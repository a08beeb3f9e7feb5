"""The lines from a machine's rates to the forecast of a plan."""

from __future__ import annotations

from collections.abc import Iterator

from dslocal.gguf.header import GgufHeader
from dslocal.plan.assessment import Assessment
from dslocal.plan.cluster.spread import FILLED, LayerSpread, Share
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import kv_bytes_per_token
from dslocal.plan.speed import (
    SPREAD,
    Rates,
    forecast_times,
    layer_counts,
    weight_reads,
    weight_room,
)
from dslocal.terminal.reports.speed_text import forecast_text
from dslocal.terminal.sanitise import one_line

from .figures import Row, figure, gbs, mb, ms, sum_of, tokens_per_second
from .rate_rows import device_rate_rows, rate_rows
from .token_rows import end_rows, layer_row, layer_terms
from .weight_rows import room_rows, weight_rows


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
    yield from weight_rows(reads)
    if room.experts_missing:
        yield from room_rows(room, reads, streams=config.stream_experts)
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
        terms = " + ".join(ms(count.seconds) for count in counts)
        yield "both:", f"{terms} = {ms(sum(count.seconds for count in counts))}"
    full, empty = forecast_times(header, config, plan.memory, machine, rates)
    kv = _kv_bytes(found)
    streams = config.stream_experts and room.experts_missing > 0
    if streams:
        yield "", "of an expert's three matrices, one is read while another is used"
        yield "", "experts that are guessed a layer before are read while all else is computed"
    less, more = f"{1 - SPREAD:g}", f"{1 + SPREAD:g}"
    equally = ", experts are equally frequent, none is guessed" if streams else ""
    yield "", f"low end: the context is full{equally}; × {less}, as such forecasts err"
    yield from end_rows(full, reads, room, kv, 1 - SPREAD, skewed=False)
    some = ", some experts are more frequent, all are guessed a layer before" if streams else ""
    yield "", f"high end: the context is empty{some}; × {more}"
    yield from end_rows(empty, reads, room, (0.0, 0.0), 1 + SPREAD, skewed=config.stream_experts)
    yield from _middle_rows(found)


def kv_cache_split(found: Assessment) -> Iterator[Row]:
    """Yield what of the KV cache is read on the GPU and in RAM, where it is in both."""
    kv = found.plan.memory.kv
    on_gpu, in_ram = _kv_bytes(found)
    if found.plan.spread is not None or not (on_gpu and in_ram):
        return
    share = f"{mb(kv.gpu)} / {mb(kv.total)}"
    yield "GPU:", f"{mb(on_gpu + in_ram)} × {share} = {mb(on_gpu)} of it"
    yield "RAM:", f"{mb(on_gpu + in_ram)} − {mb(on_gpu)} = {mb(in_ram)} of it"


def spread_rows(spread: LayerSpread) -> Iterator[Row]:
    """Yield what a token takes on each machine, and the forecast that follows."""
    parts = []
    for share in spread.shares:
        if share.layers:
            yield from _share_rows(share)
            parts.append(ms(share.seconds))
    if len(parts) > 1:
        yield "together:", f"{' + '.join(parts)} = {ms(spread.seconds)}"
    low, high = ((1 + side * SPREAD) / spread.seconds for side in (-1, 1))
    yield "low end:", f"1 / {ms(spread.seconds)} × {1 - SPREAD:g} = {tokens_per_second(low)}"
    yield "high end:", f"1 / {ms(spread.seconds)} × {1 + SPREAD:g} = {tokens_per_second(high)}"


def _middle_rows(found: Assessment) -> Iterator[Row]:
    speed = found.speed
    low, high = tokens_per_second(speed.low), tokens_per_second(speed.high)
    yield "middle:", f"√({low} × {high}) = {tokens_per_second(speed.middle)}"
    yield "forecast:", forecast_text(speed)


def _share_rows(share: Share) -> Iterator[Row]:
    """Yield what a token takes on one machine of several."""
    place = share.place
    weights, kv = share.read - FILLED * share.kv, FILLED * share.kv
    where = one_line(place.endpoint.rpartition(":")[0]) or "here"
    last = share.first + share.layers - 1
    terms = [f"{sum_of([weights], kv)} / {gbs(place.rate)}"]
    if share.count.seconds:
        terms.append(layer_terms(share.count))
    if place.round_trip:
        terms.append(f"{figure(1000 * place.round_trip)} ms there and back")
    yield f"{where}, {share.first}–{last}:", f"{' + '.join(terms)} = {ms(share.seconds)}"


def _kv_bytes(found: Assessment) -> tuple[float, float]:
    """Return the bytes of a full KV cache that a token reads on the GPU, and in RAM."""
    header: GgufHeader = found.model.header
    config, kv = found.plan.load_config, found.plan.memory.kv
    total = kv_bytes_per_token(header, config.kv_type) * config.n_ctx
    on_gpu = total * kv.gpu / kv.total if kv.total else 0.0
    return on_gpu, total - on_gpu
