"""What ``dslocal bench`` measured: the figures, their table in 80 columns, the curves of a plot."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from dslocal.errors import DslocalError
from dslocal.terminal.sanitise import one_line
from dslocal.types import StreamingUse

from .speed_text import duration_text, streaming_lines

MAX_LINE = 80  # characters
What = Literal["load", "cold", "warm", "sampling", "prefill", "decode"]
TITLES: dict[str, str] = {
    "load": "loading",
    "cold": "first token, cold",
    "warm": "first token, prompt cached",
    "sampling": "sampling a token",
    "prefill": "prefill of {size:,} tokens",
    "decode": "decode at {size:,} tokens",
}
RATES = ("prefill", "decode")  # tokens a second; the others are seconds
MTP_LABELS = {
    "": "decode",
    "off": "without MTP",
    "on": "with MTP",
    "auto": "MTP when it pays",
}
FigureKey = tuple[str, int, str]


@dataclass
class BenchFigure:
    """One thing that was measured.

    Attributes:
        what: What was measured.
        size: Tokens of a prefill, or the depth of decoding.
        mtp: Whether MTP drafted: on, off or auto; empty where that does not matter.
        runs: Seconds; tokens a second for prefill and decode.
        drafted: Tokens that were drafted in all runs.
        accepted: Drafts that were right.
        forecast: What the plan expected, 0 for nothing.
        streaming: What was read of experts, where the model is larger than the memory.
    """

    what: What
    size: int = 0
    mtp: str = ""
    runs: list[float] = field(default_factory=list)
    drafted: int = 0
    accepted: int = 0
    forecast: float = 0.0
    streaming: StreamingUse | None = None

    @property
    def key(self) -> FigureKey:
        """What tells a figure from the others, in an earlier run as well."""
        return self.what, self.size, self.mtp

    @property
    def title(self) -> str:
        """What was measured, for people."""
        title = TITLES[self.what].format(size=self.size)
        return f"{title}, MTP {self.mtp}" if self.mtp else title

    def as_json(self) -> dict[str, Any]:
        """Return the figure as ``--json`` prints it."""
        fields: dict[str, Any] = {"what": self.what}
        if self.what in RATES:
            fields["size"] = self.size
        if self.mtp:
            fields |= {"mtp": self.mtp, "drafted": self.drafted, "accepted": self.accepted}
        if self.forecast:
            fields["forecast"] = self.forecast
        if self.streaming:
            fields["streaming"] = self.streaming.as_json()
        return fields | {
            "unit": "tokens/s" if self.what in RATES else "s",
            "median": median(self.runs),
            "low": min(self.runs),
            "high": max(self.runs),
            "runs": self.runs,
        }


@dataclass(frozen=True)
class Curve:
    """Tokens a second over depth."""

    label: str
    depths: tuple[int, ...]
    rates: tuple[float, ...]


def table(
    figures: Iterable[BenchFigure], heading: Iterable[str], ratios: Mapping[FigureKey, float]
) -> list[str]:
    """Return lines of at most 80 characters.

    Args:
        figures: What was measured.
        heading: Lines above the table.
        ratios: How many times as fast as in an earlier run, by :attr:`BenchFigure.key`.
    """
    lines = [one_line(line, MAX_LINE) for line in heading]
    lines.append(_row("", "median", "lowest to highest", "forecast", "x old" if ratios else ""))
    for figure in figures:
        ratio = ratios.get(figure.key)
        lines.append(
            _row(
                figure.title,
                _value(figure, median(figure.runs)),
                f"{_value(figure, min(figure.runs))} to {_value(figure, max(figure.runs))}",
                _value(figure, figure.forecast) if figure.forecast else "",
                "" if ratio is None else f"{ratio:.2f}",
            )
        )
        if figure.drafted:
            share = figure.accepted / figure.drafted
            lines.append(
                f"  {figure.accepted:,} of {figure.drafted:,} drafts were accepted ({share:.0%})"
            )
        if use := figure.streaming:
            lines += (f"  {line}" for line in streaming_lines(use))
    lines.append("prefill and decode in tokens per second")
    return lines


def _row(title: str, middle: str, spread: str, forecast: str, ratio: str) -> str:
    return f"{title:<33}{middle:>10}{spread:>22}{forecast:>9}{ratio:>6}".rstrip()


def _value(figure: BenchFigure, value: float) -> str:
    """Return a value with its unit, which is left out for tokens a second."""
    return _rate(value) if figure.what in RATES else duration_text(value)


def _rate(tokens_per_s: float) -> str:
    if tokens_per_s >= 100:
        return f"{tokens_per_s:,.0f}"
    return f"{tokens_per_s:.1f}" if tokens_per_s >= 10 else f"{tokens_per_s:.2f}"


def curves(figures: Iterable[BenchFigure]) -> list[Curve]:
    """Return decoding over depth, a curve for each way with MTP."""
    decoded = sorted(
        (figure for figure in figures if figure.what == "decode"), key=lambda figure: figure.size
    )
    found: list[Curve] = []
    for mtp in sorted({figure.mtp for figure in decoded}):
        own = [figure for figure in decoded if figure.mtp == mtp]
        depths = tuple(figure.size for figure in own)
        rates = tuple(median(figure.runs) for figure in own)
        found.append(Curve(MTP_LABELS[mtp], depths, rates))
    return found


def require_plotting() -> None:
    """Raise DslocalError where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise DslocalError("--plot needs matplotlib", hint="pip install 'dslocal[plot]'")


def save_plot(drawn: Sequence[Curve], title: str, path: Path) -> None:
    """Write a PNG of ``drawn``. Raises OSError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    plot = Figure(figsize=(7.0, 4.2), dpi=150)
    FigureCanvasAgg(plot)
    axes = plot.subplots()
    for curve in drawn:
        axes.plot(curve.depths, curve.rates, marker="o", label=curve.label)
    axes.set(xlabel="tokens in the context", ylabel="tokens a second", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    plot.savefig(path, format="png", bbox_inches="tight")
