"""Draw the plots of the benchmark pages from the recorded figures, as SVG.

    python docs/tools/plots.py FOLDER

Each plot is drawn twice, for light and dark pages. Nothing is smoothed or interpolated: each bar
and each point is a number of a file in docs/benchmarks/data.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark_pages import recorded

INK = {"light": "#212121", "dark": "#e0e0e0"}
COLOURS = ("#3f51b5", "#ef6c00", "#00897b", "#8e24aa")
STYLES = {"stock": "--", "size": "-"}

Draw = Callable[[Any], None]


def conversion(axes: Any) -> None:
    """Draw processor seconds of a conversion, the two steps of llama.cpp stacked."""
    bars = recorded("conversion")["bars"]
    axes.barh(bars["labels"], bars["first"], color=COLOURS[0], label=bars["first_name"])
    axes.barh(
        bars["labels"],
        bars["second"],
        left=bars["first"],
        color=COLOURS[1],
        label=bars["second_name"],
    )
    axes.invert_yaxis()
    axes.set_xlabel("processor seconds (less is better)")
    axes.legend(frameon=False)


def decoding(axes: Any) -> None:
    """Draw tokens per second with and without drafts."""
    bars = recorded("decoding")["bars"]
    for offset, key, label in ((-0.2, "without", "without drafts"), (0.2, "with", "with MTP")):
        places = [i + offset for i in range(len(bars["labels"]))]
        drawn = axes.barh(places, bars[key], 0.4, color=COLOURS[int(offset > 0)], label=label)
        axes.bar_label(drawn, fmt="%.1f", padding=3, fontsize=8)
    axes.set_yticks(range(len(bars["labels"])), bars["labels"])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(10, 1000)
    axes.set_xticks([10, 100, 1000], ["10", "100", "1,000"])
    axes.set_xlabel("tokens/s, logarithmic (more is better)")
    axes.legend(frameon=False)


def streaming(axes: Any) -> None:
    """Draw tokens per second of each way of reading experts."""
    bars = recorded("streaming")["bars"]
    drawn = axes.barh(bars["labels"], bars["values"], color=COLOURS[0])
    axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=8)
    axes.margins(x=0.1)
    axes.set_xlabel("tokens/s (more is better); the mean where two runs are recorded")


def quality(axes: Any) -> None:
    """Draw KL divergence by recipe, stock recipes beside --size of the same bytes."""
    lines = recorded("quality")["lines"]
    for colour, model in zip(COLOURS, ("nano", "smollm2"), strict=False):
        for kind, style in STYLES.items():
            axes.plot(
                lines["recipes"],
                lines[f"{model}_{kind}"],
                style,
                marker="o",
                color=colour,
                label=f"{model}, {'--size' if kind == 'size' else 'stock'}",
            )
    axes.set_yscale("log")
    axes.set_ylabel("mean KL divergence, nats a token")
    axes.set_xlabel("stock recipe, whose number of bytes --size got too; less is better")
    axes.legend(frameon=False)


def memory(axes: Any) -> None:
    """Draw what the KV cache and the compute buffers take by context."""
    content = recorded("memory")
    for colour, (name, line) in zip(COLOURS, content["lines"].items(), strict=False):
        axes.plot(content["contexts"], line["gib"], marker="o", color=colour, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(content["contexts"], [f"{n // 1024}k" for n in content["contexts"]])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("tokens of context")
    axes.set_ylabel("KV cache in f16, GiB")
    axes.legend(frameon=False)


PLOTS: dict[str, Draw] = {
    "conversion": conversion,
    "decoding": decoding,
    "streaming": streaming,
    "quality": quality,
    "memory": memory,
}


def all_plots() -> Iterator[tuple[str, str]]:
    """Yield the name and the SVG of each plot, in light and in dark."""
    for name, draw in PLOTS.items():
        for mode, ink in INK.items():
            yield f"{name}-{mode}", svg(draw, ink)


def svg(draw: Draw, ink: str, size: Sequence[float] = (7.5, 3.6)) -> str:
    """Return a plot with its text and axes in the colour ``ink``, on no background."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    colours = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor")
    settings: dict[str, Any] = dict.fromkeys(colours, ink)
    settings |= {"svg.fonttype": "none", "svg.hashsalt": "dslocal", "axes.spines.top": False}
    settings |= {"axes.spines.right": False, "font.family": "sans-serif"}
    with mpl.rc_context(settings):
        figure, axes = pyplot.subplots(figsize=size, layout="constrained")
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
        pyplot.close(figure)
    return out.getvalue()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in all_plots():
        (folder / f"{name}.svg").write_text(text, encoding="utf-8")
