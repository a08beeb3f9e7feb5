"""The arithmetic behind a plan, for ``dslocal fit --explain``."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from dslocal.files import binary_size
from dslocal.plan.assessment import Assessment
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import kv_bytes_per_token
from dslocal.plan.memory.kv_cache import OVERLAPPING_RATIO
from dslocal.plan.memory.model_shape import ModelShape
from dslocal.plan.memory.placement import weights_by_class
from dslocal.plan.memory.published_attention import LLM_67B, PUBLISHED, V2, saved_share
from dslocal.plan.memory.shape import shape_of
from dslocal.plan.speed import Rates

from .arithmetic.figures import figure, print_rows
from .arithmetic.forecast_rows import forecast_rows, kv_cache_split
from .plain_console import plain_console, print_unpadded

ATTENTION_KINDS = ("MHA", "GQA", "MQA", "MLA", "CSA")
LEGEND = """bold: how it is built. What a layer keeps of a token:
  MHA  multi-head attention: a key and a value of every head
  GQA  grouped-query attention: those of a few heads, which others share
  MQA  multi-query attention: those of one head, which all share
  MLA  multi-head latent attention: one compressed row, kv_lora + rope values
  CSA  compressed sparse attention: one row for several tokens (in V4-Flash
       21 layers keep 512 + 128 values for 4 tokens, and 20 keep 512 for 128)
"""
DEPLOYED_BITS = 6  # of a value in V2's KV cache, by its paper


def print_arithmetic(found: Assessment, rates: Rates, machine: Machine) -> None:
    """Print a plan's figures: weights by class, the KV cache by token, what a token reads."""
    console = plain_console()
    print_unpadded(console, _weights_table(found))
    for line in kv_cache_lines(found):
        console.print(Text(line))
    rows = (*kv_cache_split(found), *forecast_rows(found, rates, machine))
    print_rows(console, rows)
    print_attention_kinds()


def print_attention_kinds() -> None:
    """Print what each kind of attention keeps of a token, on models with published numbers."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title="bytes of fp16 KV cache per token, for each way to build it",
        title_justify="left",
    )
    table.add_column("model", no_wrap=True)
    for kind in ATTENTION_KINDS:
        table.add_column(kind, justify="right", no_wrap=True)
    for name, own_kind, attention in PUBLISHED:
        costs = attention.per_token()
        cells = [
            Text(f"{costs[kind]:,.0f}" if kind in costs else "", _kind_style(kind, own_kind))
            for kind in ATTENTION_KINDS
        ]
        table.add_row(name, *cells)
    console = plain_console()
    print_unpadded(console, table)
    compressed, dense = V2.per_token(DEPLOYED_BITS)["MLA"], LLM_67B.per_token()["GQA"]
    saved = (
        f"V2's cache at {DEPLOYED_BITS} bits, as it is deployed, is {compressed:,.0f} bytes a"
        f" token: {saved_share(compressed, dense):.1%} less than the 67B's {dense:,.0f}."
    )
    console.print(Text(LEGEND + saved))


def _kind_style(kind: str, own_kind: str) -> str:
    return "bold" if kind == own_kind else "dim"


def _weights_table(found: Assessment) -> Table:
    header = found.model.header
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="weights", title_justify="left")
    table.add_column("what")
    table.add_column("RAM", justify="right")
    table.add_column("GPU", justify="right")
    sizes = weights_by_class(header, shape_of(header), found.plan.load_config)
    for name, size in sorted(sizes.items(), key=lambda item: -item[1].total):
        table.add_row(name, binary_size(size.host), binary_size(size.gpu) if size.gpu else "")
    return table


def kv_cache_lines(found: Assessment) -> list[str]:
    """Return what the KV cache takes for a token, and for a full context."""
    header, load_config = found.model.header, found.plan.load_config
    shape = shape_of(header)
    per_token = kv_bytes_per_token(header, load_config.kv_type)
    name = load_config.kv_type.name.lower()
    total = found.plan.memory.kv.total
    if shape.compress_ratios:
        values = _compressed_values(shape)
    else:
        parts = (shape.n_embd_k_gqa, shape.n_embd_v_gqa, shape.indexer_head_size)
        sizes = [f"{part:,}" for part in parts if part]
        row = sizes[0] if len(sizes) == 1 else f"({' + '.join(sizes)})"
        values = f"{shape.n_layer} layers × {row} values"
    lines = [f"KV cache ({shape.kind}): {values} in {name} = {per_token:,} bytes a token"]
    read = per_token * load_config.n_ctx
    lines.append(f"  {per_token:,} bytes × {load_config.n_ctx:,} tokens = {figure(read / 1e6)} MB")
    rest = ", with a window and running sums that do not grow" if shape.compress_ratios else ""
    return [*lines, f"  {binary_size(total)} are reserved for it{rest}"]


def _compressed_values(shape: ModelShape) -> str:
    """Return what V4's layers keep of groups of tokens, such as "20 layers × 512 / 128"."""
    parts = []
    for ratio in sorted(set(shape.compress_ratios) - {0}):
        count = shape.compress_ratios.count(ratio)
        indexer = f" + {shape.indexer_head_size:,}" if ratio == OVERLAPPING_RATIO else ""
        values = f"({shape.n_embd_k_gqa:,}{indexer})" if indexer else f"{shape.n_embd_k_gqa:,}"
        parts.append(f"{count} layers × {values} values / {ratio} tokens")
    return " + ".join(parts)
