"""What ``dslocal bench`` found: the figures, their table in 80 columns, and the curves of the
plot.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from dslocal.errors import DslocalError
from dslocal.terminal.sanitise import one_line

What = Literal["load", "cold", "warm", "sampling", "prefill", "decode"]
TITLES: dict[str, str] = {
    "load": "loading",
    "cold": "first token, cold",
    "warm": "first token, prompt cached",
    "sampling": "drawing a token",
    "prefill": "prefill of {size:,} tokens",
    "decode": "decode at {size:,} tokens",
}
RATES = ("prefill", "decode")  # tokens a second; the others are seconds
FigureKey = tuple[str, int, str]


@dataclass
class BenchFigure:
    """One thing that was measured. ``size`` is tokens of prefill or the depth of decoding; ``mtp``
    is "" where that does not matter.

    ``runs`` are seconds, or tokens a second for prefill and decode. ``forecast`` is the plan's, 0
    for none.
    """

    what: What
    size: int = 0
    mtp: str = ""
    runs: list[float] = field(default_factory=list)
    drafted: int = 0
    accepted: int = 0
    forecast: float = 0.0

    @property
    def key(self) -> FigureKey:
        return self.what, self.size, self.mtp

    @property
    def title(self) -> str:
        return TITLES[self.what].format(size=self.size) + (f", MTP {self.mtp}" if self.mtp else "")

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"what": self.what}
        if self.what in RATES:
            shown["size"] = self.size
        if self.mtp:
            shown |= {"mtp": self.mtp, "drafted": self.drafted, "accepted": self.accepted}
        if self.forecast:
            shown["forecast"] = self.forecast
        spread = {
            "median": median(self.runs),
            "low": min(self.runs),
            "high": max(self.runs),
            "runs": self.runs,
        }
        return {**shown, "unit": "tokens/s" if self.what in RATES else "s", **spread}


@dataclass(frozen=True)
class Curve:
    """Tokens a second over depth."""

    label: str
    depths: tuple[int, ...]
    rates: tuple[float, ...]


def table(
    figures: Sequence[BenchFigure], heading: Sequence[str], ratios: Mapping[FigureKey, float]
) -> list[str]:
    """Lines of at most 80 characters. ``ratios`` are to an earlier run, by :attr:`BenchFigure.key`."""
    lines = [one_line(line, 80) for line in heading]
    lines.append(_row("", "median", "lowest to highest", "forecast", "x old" if ratios else ""))
    for figure in figures:
        low, middle, high = (
            _shown(figure, value)
            for value in (min(figure.runs), median(figure.runs), max(figure.runs))
        )
        forecast = _shown(figure, figure.forecast) if figure.forecast else ""
        ratio = ratios.get(figure.key)
        lines.append(
            _row(
                figure.title,
                middle,
                f"{low} to {high}",
                forecast,
                "" if ratio is None else f"{ratio:.2f}",
            )
        )
        if figure.drafted:
            lines.append(
                f"  {figure.accepted:,} of {figure.drafted:,} drafts were right ({figure.accepted / figure.drafted:.0%})"
            )
    lines.append("prefill and decode in tokens a second")
    return lines


def curves(figures: Sequence[BenchFigure]) -> list[Curve]:
    """Decoding over depth, one curve for each way with MTP."""
    decoded = sorted(
        (figure for figure in figures if figure.what == "decode"), key=lambda figure: figure.size
    )
    labels = {"": "decode", "off": "without MTP", "on": "with MTP", "auto": "MTP when it pays"}
    ways = dict.fromkeys(figure.mtp for figure in decoded)
    return [
        Curve(
            labels[way],
            tuple(f.size for f in decoded if f.mtp == way),
            tuple(median(f.runs) for f in decoded if f.mtp == way),
        )
        for way in sorted(ways)
    ]


def require_plotting() -> None:
    """Raises DslocalError without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        raise DslocalError("--plot needs matplotlib", hint="pip install 'dslocal[plot]'")


def save_plot(drawn: Sequence[Curve], title: str, path: Path) -> None:
    """A PNG of ``drawn``. Raises OSError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import BenchFigure as Drawing

    drawing = Drawing(figsize=(7.0, 4.2), dpi=150)
    FigureCanvasAgg(drawing)
    axes = drawing.subplots()
    for curve in drawn:
        axes.plot(curve.depths, curve.rates, marker="o", label=curve.label)
    axes.set(xlabel="tokens in the context", ylabel="tokens a second", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    drawing.savefig(path, format="png", bbox_inches="tight")


def _row(title: str, middle: str, spread: str, forecast: str, ratio: str) -> str:
    return f"{title:<33}{middle:>10}{spread:>22}{forecast:>9}{ratio:>6}".rstrip()


def _shown(figure: BenchFigure, value: float) -> str:
    """With its unit, unless that is tokens a second."""
    if figure.what in RATES:
        return (
            f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
        )
    return (
        f"{value:,.2f} s"
        if value >= 1
        else f"{value * 1e3:.1f} ms"
        if value >= 1e-3
        else f"{value * 1e6:.0f} µs"
    )
