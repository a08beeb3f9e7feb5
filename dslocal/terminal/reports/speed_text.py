"""Numbers, times and speeds in words, which are the same wherever they are shown.

The figure of a forecast is its middle (:attr:`dslocal.plan.speed.Speed.middle`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dslocal.files import decimal_size

if TYPE_CHECKING:
    from dslocal.api.planning.recommendation import RecommendedModel
    from dslocal.plan.speed import Speed
    from dslocal.types import StreamingUse

SMALLEST = 0.01  # that is shown as a number


def short_number(value: float) -> str:
    """Return a number in at most five characters, up to a million."""
    if value >= 9999.5:
        return f"{value / 1000:,.0f}k"
    if value >= 9.95:
        return f"{value:,.0f}"
    if value >= 0.05:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= SMALLEST or not value else f"<{SMALLEST}"


def duration_text(seconds: float) -> str:
    """Return a time, such as ``1.25 s``, ``12.0 ms`` or ``80 µs``."""
    if seconds >= 1:
        return f"{seconds:,.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def speed_text(tokens_per_s: float) -> str:
    """Return a speed, such as ``6.7 tokens/s``."""
    return f"{short_number(tokens_per_s)} tokens/s"


def forecast_text(speed: Speed) -> str:
    """Return a forecast with its range, such as ``6.7 tokens/s (3.5–13)``."""
    low, high = short_number(speed.low), short_number(speed.high)
    range_text = f" ({low}–{high})" if low != high else ""
    return f"{speed_text(speed.middle)}{range_text}"


def recommendation_text(best: RecommendedModel) -> str:
    """Return what is recommended: the quantization, its speed and the size of the download."""
    size = decimal_size(best.download, mb_decimals=0)
    return f"{best.quant}, {speed_text(best.tokens_per_s)}, {size}"


def streaming_lines(use: StreamingUse) -> tuple[str, str]:
    """Return what each token needed and read, and what it waited for, in two short lines."""
    needed, read = use.needed_bytes_per_token, use.read_bytes_per_token
    return (
        f"each token needed {decimal_size(needed)} of experts, and read {decimal_size(read)}",
        f"{use.hit_rate:.0%} were in memory in time; each token waited "
        f"{duration_text(use.waited_s_per_token)} for the disk",
    )
