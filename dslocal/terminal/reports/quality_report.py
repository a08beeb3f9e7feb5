"""What ``dslocal quality`` measured: one model line by line, several as rows, a plot of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from dslocal.errors import UsageError
from dslocal.files import decimal_size
from dslocal.terminal.sanitise import one_line

from .bench_report import require_plotting
from .plain_console import PIPE_WIDTH, plain_console, print_unpadded

if TYPE_CHECKING:
    from dslocal.api.quality import Quality
    from dslocal.api.quality.table import MeasuredModels
    from dslocal.evaluation.divergence.figures import Estimate

LABEL_WIDTH = 26
PLOT_KINDS = (".svg", ".png")
COLUMNS = ("size", "bits", "KL", "99 %", "max", "top %", "Δp %", "PPL")
LEGEND = (
    "bits per weight; KL divergence in nats: mean, 99th percentile, maximum; top: share of tokens "
    "for which both models rank the same token first; Δp: RMS change of a token's probability"
)


def print_quality(measured: MeasuredModels) -> None:
    """Print what was measured."""
    tokens = measured.models[0].figures.tokens
    text = f" of {', '.join(map(one_line, measured.text))}" if measured.text else ""
    print(
        f"against {one_line(measured.reference)}: {tokens:,} tokens scored, in {measured.chunks:,} "
        f"chunk{'' if measured.chunks == 1 else 's'} of {measured.n_ctx:,}{text}\n"
    )
    if len(measured.models) == 1:
        for label, value in _lines(measured.models[0]):
            print(f"{label:<{LABEL_WIDTH}} {value}")
    else:
        _print_table(measured)


def _lines(model: Quality) -> Iterator[tuple[str, str]]:
    figures = model.figures
    kl, change = figures.kl, figures.probability_change
    yield "model", one_line(model.name)
    yield "size", f"{decimal_size(model.nbytes)}, {model.bits_per_weight:z.2f} bits a weight"
    yield "KL divergence, mean", f"{kl.mean:z.6f} ± {kl.error:z.6f} nats"
    yield "  median", f"{kl.median:z.6f}"
    yield "  90, 95, 99, 99.9 %", f"{kl.p90:z.6f}  {kl.p95:z.6f}  {kl.p99:z.6f}  {kl.p99_9:z.6f}"
    yield "  maximum", f"{kl.maximum:z.6f}"
    yield "same likeliest token", _percent(figures.same_top)
    yield "probability change, RMS", _percent(figures.rms_probability_change)
    yield "  mean", f"{100 * change.mean:z.3f} ± {100 * change.error:z.3f} %"
    yield "perplexity", _plain(figures.perplexity)
    yield "  of the reference", _plain(figures.reference_perplexity)
    ratio = figures.log_perplexity_ratio
    yield "  logarithm of the ratio", f"{ratio.value:z.6f} ± {ratio.error:z.6f}"


def _print_table(measured: MeasuredModels) -> None:
    console = plain_console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("model", overflow="fold")
    for title in COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    for model in measured.models:
        figures = model.figures
        table.add_row(
            Text(one_line(model.name)),
            decimal_size(model.nbytes),
            f"{model.bits_per_weight:z.2f}",
            f"{figures.kl.mean:z.5f}",
            f"{figures.kl.p99:z.4f}",
            f"{figures.kl.maximum:z.3f}",
            f"{100 * figures.same_top.value:z.2f}",
            f"{100 * figures.rms_probability_change.value:z.2f}",
            f"{figures.perplexity.value:z.3f}",
        )
    print_unpadded(console, table)
    reference = _plain(measured.models[0].figures.reference_perplexity)
    console.print(Text(f"\nthe reference's perplexity (PPL) is {reference}"))
    console.print(Text(LEGEND, style="dim"))


def _plain(estimate: Estimate) -> str:
    return f"{estimate.value:z.4f} ± {estimate.error:z.4f}"


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:z.3f} ± {100 * estimate.error:z.3f} %"


def require_plot(path: Path) -> None:
    """Check that a plot can be drawn into a file.

    Raises:
        UsageError: Its name ends in neither .svg nor .png.
        DslocalError: matplotlib is missing.
    """
    if path.suffix.lower() not in PLOT_KINDS:
        raise UsageError(
            f"--plot: {path.name!r:.80} is neither SVG nor PNG", hint="such as quality.svg"
        )
    require_plotting()


def save_plot(measured: MeasuredModels, path: Path) -> None:
    """Draw the mean KL divergence over the size of each model. Raises OSError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    models = sorted(measured.models, key=lambda model: model.nbytes)
    unit, name_of_unit = (1e9, "GB") if models[-1].nbytes >= 1e9 else (1e6, "MB")
    sizes = [model.nbytes / unit for model in models]
    divergences = [model.figures.kl.mean for model in models]
    plot = Figure(figsize=(7.0, 4.6), dpi=150)
    FigureCanvasAgg(plot)
    axes = plot.subplots()
    axes.plot(sizes, divergences, marker="o")
    for model, size, divergence in zip(models, sizes, divergences, strict=True):
        name = one_line(model.name).replace("$", r"\$")  # which would begin a formula
        axes.annotate(name, (size, divergence), xytext=(5, 5), textcoords="offset points")
    reference = one_line(measured.reference).replace("$", r"\$")
    axes.set(xlabel=name_of_unit, ylabel="mean KL divergence, nats", title=f"against {reference}")
    if min(divergences) > 0:
        axes.set_yscale("log")
    axes.grid(alpha=0.3, which="both")
    plot.savefig(path, format=path.suffix[1:].lower(), bbox_inches="tight")
