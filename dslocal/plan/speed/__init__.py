"""How fast a plan will be: the bytes that a token reads from each tier, over what that tier gives.

A decoded token reads all dense, attention and shared weights, the experts that it is routed to, and
the KV cache. :mod:`.rates` says what a machine gives, :mod:`.traffic` what is read, and
:mod:`.forecast` puts them together, in parts that ``dslocal fit --explain`` prints.
tests/benchmarks/published_speeds.py compares the forecasts with published measurements.
"""

from .forecast import (
    EXPERT_MATRICES,
    SPREAD,
    Speed,
    TokenTime,
    forecast,
    forecast_times,
    tokens_per_s,
    waited_share,
)
from .layer_time import LayerCount, layer_counts, layer_seconds
from .rates import (
    CORE_RATE,
    CPU_EFFICIENCY,
    GPU_EFFICIENCY,
    NO_LAYER_TIME,
    OTHER_RAM,
    SMALL_READ,
    LayerTime,
    Rates,
    TypeBytes,
    TypeRate,
    rates_for,
    used_ram_bandwidth,
)
from .traffic import (
    Traffic,
    WeightReads,
    WeightRoom,
    published_bytes_per_token,
    traffic,
    weight_bytes_per_token,
    weight_reads,
    weight_room,
)

__all__ = [
    "CORE_RATE",
    "CPU_EFFICIENCY",
    "EXPERT_MATRICES",
    "GPU_EFFICIENCY",
    "NO_LAYER_TIME",
    "OTHER_RAM",
    "SMALL_READ",
    "SPREAD",
    "LayerCount",
    "LayerTime",
    "Rates",
    "Speed",
    "TokenTime",
    "Traffic",
    "TypeBytes",
    "TypeRate",
    "WeightReads",
    "WeightRoom",
    "forecast",
    "forecast_times",
    "layer_counts",
    "layer_seconds",
    "published_bytes_per_token",
    "rates_for",
    "tokens_per_s",
    "traffic",
    "used_ram_bandwidth",
    "waited_share",
    "weight_bytes_per_token",
    "weight_reads",
    "weight_room",
]
