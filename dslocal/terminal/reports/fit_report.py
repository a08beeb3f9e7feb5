"""What ``dslocal fit`` shows people: the table of all models, one model's plan, and the arithmetic
behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dslocal.files import binary_size, decimal_size
from dslocal.plan.assessment import VERDICT_LABELS, Assessment
from dslocal.plan.machine.bandwidth import SSD_NOTE
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import (
    kv_bytes_per_token,
    modern_kv_bytes_per_token,
    weights_by_class,
)
from dslocal.plan.memory.kv_per_token import LLM_67B, PUBLISHED, V2, saved_share
from dslocal.plan.memory.shape import is_legacy_mla, shape_of
from dslocal.plan.speed import Rates, Speed, bytes_by_tier, traffic, weight_bytes_per_token
from dslocal.terminal.sanitise import one_line

STYLES = {"gpu": "green", "offload": "green", "cpu": "green", "ssd": "yellow", "no": "dim"}
PARTS = ("weights", "kv", "compute", "output", "overhead")


def print_table(rows: Sequence[Assessment], machine: Machine) -> None:
    """One line a model, in 80 columns."""
    console = _console()
    console.print(Text(_machine_line(machine)))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for name, width in (("model", 31), ("quant", 6), ("runs on", 8)):
        table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=width, max_width=width)
    for name, width in (("RAM+GPU", 7), ("ctx", 4), ("t/s", 5), ("fetch", 5), ("disk", 5)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width, max_width=width)
    for row in rows:
        runs = row.plan.verdict != "no"
        table.add_row(
            one_line(row.model.name, 60),
            row.model.quant,
            VERDICT_LABELS[row.plan.verdict],
            _number(row.plan.memory.all.total / 2**30),
            _tokens(row.plan.load_config.n_ctx) if runs else "",
            _number(row.speed.middle) if runs else "",
            _number(row.model.download / 1e9) if row.model.download else "here",
            _number(row.disk / 1e9),
            style=STYLES[row.plan.verdict],
        )
    console.print(table)
    console.print(Text(LEGEND, style="dim"))


LEGEND = (
    "RAM+GPU in GiB; t/s: tokens a second, a forecast; fetch: the checkpoint in GB; disk: that and the file it becomes, in GB.\n"
    "Each model in the best of its quantizations that runs from memory. dslocal fit MODEL shows its plan; --quant, --ctx, --ram …"
)


def _number(value: float) -> str:
    """At most five characters, up to a million."""
    if value >= 9999.5:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.05 else f"{value:.2f}"


def _tokens(n_ctx: int) -> str:
    return f"{n_ctx // 1024}k" if n_ctx >= 1024 else str(n_ctx)


def print_plan(
    found: Assessment, machine: Machine, others: Sequence[tuple[str, Assessment]]
) -> None:
    """One model: how it runs, what that takes, what was given up, and what would change it."""
    console = _console()
    plan, memory = found.plan, found.plan.memory
    console.print(Text(f"{one_line(found.model.name, 60)}, {found.model.quant}", style="bold"))
    console.print(Text(_machine_line(machine)))
    rows = [
        ("runs", _how(found)),
        ("memory", f"{binary_size(memory.all.total)}: " + ", ".join(_parts(found))),
    ]
    if memory.all.gpu:
        rows.append(
            ("", f"{binary_size(memory.all.gpu)} on the GPU, {binary_size(memory.all.host)} in RAM")
        )
    if plan.verdict != "no":
        rows.append(("settings", _settings(found)))
        rows.append(("forecast", f"{_speed(found.speed)} tokens/s"))
    if faster := _faster(found, others):
        rows.append(("faster", faster))
    if found.model.download:
        rows.append(
            (
                "download",
                f"{decimal_size(found.model.download, mb_decimals=0)}; {decimal_size(found.disk, mb_decimals=0)} of disk with the file it becomes",
            )
        )
    rows += [
        ("gave up" if not number else "", f"{step.what}: saved {binary_size(step.saved)}")
        for number, step in enumerate(plan.gave_up)
    ]
    if is_legacy_mla(found.model.header):
        rows.append(("old file", _legacy(found)))
    for number, (what, other) in enumerate(others):
        rows.append(("with" if not number else "", f"{what}: {_short(other)}"))
    assumed = [SSD_NOTE] if plan.verdict == "ssd" and not found.model.file else []
    rows += [
        ("note" if not number else "", note)
        for number, note in enumerate([*machine.notes, *assumed])
    ]
    width = max(len(name) for name, _ in rows) + 2
    grid = Table.grid(padding=(0, 0))
    grid.add_column(width=width)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(Text(name, style="dim"), Text(text))
    console.print(grid)


def print_arithmetic(found: Assessment, rates: Rates, machine: Machine) -> None:
    """The figures behind a plan: weights by class, the cache by token, the bytes that a token
    reads.
    """
    console = _console()
    header, load_config = found.model.header, found.plan.load_config
    shape = shape_of(header)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="weights", title_justify="left")
    for name in ("what", "RAM", "GPU"):
        table.add_column(name, justify="left" if name == "what" else "right")
    shares = sorted(
        weights_by_class(header, shape, load_config).items(), key=lambda item: -item[1].total
    )
    for kind, share in shares:
        table.add_row(kind, binary_size(share.host), binary_size(share.gpu) if share.gpu else "")
    console.print(table)
    per_token = kv_bytes_per_token(header, load_config.kv_type)
    each = f"{shape.cache_k:,}" + (f" + {shape.cache_v:,}" if shape.cache_v else "")
    values = f"{shape.layers} layers × {each} values in {load_config.kv_type.name.lower()}"
    console.print(Text(f"KV cache ({shape.kind}): {values} = {per_token:,} bytes a token"))
    console.print(
        Text(f"  × {load_config.n_ctx:,} tokens = {binary_size(found.plan.memory.kv.total)}")
    )
    read = traffic(header, load_config, found.plan.memory, machine)
    console.print(
        Text(
            f"a token reads {weight_bytes_per_token(header, load_config) / 1e6:,.0f} MB of weights; with the context half full:"
        )
    )
    given = {"GPU": rates.gpu, "RAM": rates.ram, "SSD": rates.ssd}
    for tier, nbytes in bytes_by_tier(read).items():
        console.print(
            Text(
                f"  {tier}: {nbytes / 1e6:,.0f} MB at {given[tier] / 1e9:,.1f} GB/s = {nbytes / given[tier] * 1e3:,.1f} ms"
            )
        )
    print_kinds()


def print_kinds() -> None:
    """What attention of each kind keeps of a token, side by side, on models whose numbers are
    published.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title="bytes of KV cache a token, fp16, were it built that way",
        title_justify="left",
    )
    table.add_column("model", no_wrap=True)
    for kind in ("MHA", "GQA", "MQA", "MLA"):
        table.add_column(kind, justify="right", no_wrap=True)
    for name, own, attention in PUBLISHED:
        costs = attention.per_token()
        table.add_row(
            name,
            *(
                Text(f"{costs[k]:,.0f}" if k in costs else "", "bold" if k == own else "dim")
                for k in ("MHA", "GQA", "MQA", "MLA")
            ),
        )
    console = _console()
    console.print(table)
    v2, dense = V2.per_token(6)["MLA"], LLM_67B.per_token()["GQA"]
    kinds = "MHA: layers × 2 × heads × head; GQA and MQA with fewer key-value heads; MLA: layers × (kv_lora + rope)"
    deployed = f"V2's cache at 6 bits, as it is deployed, is {v2:,.0f} bytes a token: {saved_share(v2, dense):.1%} less than the 67B's"
    console.print(Text(f"bold: how it is built. {kinds}.\n{deployed} {dense:,.0f}."))


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def _machine_line(machine: Machine) -> str:
    gpus = (
        ", ".join(
            f"{one_line(gpu.name, 40)} with {binary_size(gpu.free)} free" for gpu in machine.gpus
        )
        or "no GPU"
    )
    limit = f" ({machine.limited_by})" if machine.limited_by else ""
    ram = f"{binary_size(machine.available)} of {binary_size(machine.ram)} RAM available{limit}"
    return f"{machine.os}, {one_line(machine.cpu, 50)}, {machine.cores} cores, {ram}, {gpus}"


def _how(found: Assessment) -> str:
    plan, load_config = found.plan, found.plan.load_config
    match plan.verdict:
        case "gpu":
            return "on the GPU"
        case "offload" if load_config.cpu_moe_layers:
            return f"on the GPU, with the experts of {_layers(load_config.cpu_moe_layers)} in RAM"
        case "offload":
            return f"{_layers(load_config.n_gpu_layers)} on the GPU, the rest on the CPU"
        case "cpu":
            return "on the CPU"
        case "ssd":
            return f"from the SSD: the weights are {binary_size(plan.lacking)} too large for the RAM and are read as they are needed"
    return f"not here: {binary_size(plan.lacking)} are missing"


def _layers(count: int) -> str:
    return f"{count} layer{'s' * (count != 1)}"


def _settings(found: Assessment) -> str:
    load_config = found.plan.load_config
    attention = "" if load_config.flash_attn else ", no flash attention"
    return f"{load_config.n_ctx:,} tokens of context, {load_config.kv_type.name.lower()} KV cache, micro-batches of {load_config.n_ubatch}{attention}"


def _parts(found: Assessment) -> list[str]:
    named = [(part, getattr(found.plan.memory, part).total) for part in PARTS]
    return [
        f"{'KV' if part == 'kv' else part} {binary_size(nbytes)}"
        for part, nbytes in named
        if nbytes >= 1 << 20
    ]


def _faster(found: Assessment, others: Sequence[tuple[str, Assessment]]) -> str:
    """The best quantization that gives a token a second where this one does not, or the fastest
    there is; nothing when none is faster.
    """
    if found.plan.verdict != "ssd" or found.speed.middle >= 1:
        return ""
    quants = [
        other
        for _, other in others
        if other.model.quant != found.model.quant and other.speed.middle > found.speed.middle
    ]
    usable = [other for other in quants if other.speed.middle >= 1]
    best = usable[0] if usable else max(quants, key=lambda other: other.speed.middle, default=None)
    return f"{best.model.quant}, {_speed(best.speed)} tokens/s" if best else ""


def _legacy(found: Assessment) -> str:
    header, kind = found.model.header, found.plan.load_config.kv_type
    old, new = kv_bytes_per_token(header, kind), modern_kv_bytes_per_token(header, kind)
    tokens = found.plan.load_config.n_ctx
    return (
        f"made before llama.cpp kept MLA's cache compressed: {binary_size(old * tokens)} for {tokens:,} tokens, of which a file made today "
        f"takes {binary_size(new * tokens)}; convert or fetch it anew"
    )


def _short(found: Assessment) -> str:
    load_config, verdict = found.plan.load_config, found.plan.verdict
    if verdict == "no":
        return f"not here, {binary_size(found.plan.lacking)} are missing"
    where = {
        "gpu": "on the GPU",
        "offload": "experts or layers in RAM",
        "cpu": "on the CPU",
        "ssd": "from the SSD",
    }[verdict]
    return f"{where}, {_tokens(load_config.n_ctx)} context, {binary_size(found.plan.memory.all.total)}, {_speed(found.speed)} tokens/s"


def _speed(speed: Speed) -> str:
    if speed.high < 0.05:
        return "< 0.1"
    low, high = (
        f"{value:.1f}" if value < 9.95 else f"{value:,.0f}" for value in (speed.low, speed.high)
    )
    return low if low == high else f"{low}–{high}"
