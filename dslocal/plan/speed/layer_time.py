"""What a model's layers take for a token besides reading: small operations, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dslocal.gguf.header import GgufHeader
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.placement import is_on_gpu
from dslocal.plan.memory.shape import moe_layers, shape_of

from .rates import LayerTime, Rates

Device = Literal["GPU", "CPU"]


@dataclass(frozen=True, slots=True)
class LayerCount:
    """How many layers a device computes, and what each takes.

    Attributes:
        device: the device.
        layers: its layers.
        routed: layers whose routed experts it computes.
        compressed: those of its layers that are of V4.
        each: what one takes.
        streamed: layers whose routed experts are read ahead.
    """

    device: Device
    layers: int
    routed: int
    compressed: int
    each: LayerTime
    streamed: int = 0

    @property
    def seconds(self) -> float:
        """Return the seconds that they take for one token."""
        dense, routed = self.layers * self.each.dense, self.routed * self.each.routed
        compressed = self.compressed * self.each.compressed
        return dense + routed + compressed + self.streamed * self.each.streamed


def layer_counts(
    header: GgufHeader, load_config: LoadConfig, rates: Rates
) -> tuple[LayerCount, ...]:
    """Return the layers of each device that has any, or the experts of any."""
    shape = shape_of(header)
    gpu = {layer for layer in range(shape.n_layer) if is_on_gpu(layer, shape, load_config)}
    routed = [layer for layer in moe_layers(header) if layer < shape.n_layer]
    gpu_routed = gpu & set(routed[load_config.cpu_moe_layers :])
    is_compressed = bool(shape.compress_ratios)
    devices: list[tuple[Device, int, int, LayerTime]] = [
        ("GPU", len(gpu), len(gpu_routed), rates.gpu_layer),
        ("CPU", shape.n_layer - len(gpu), len(routed) - len(gpu_routed), rates.ram_layer),
    ]
    return tuple(
        LayerCount(
            device,
            layers,
            with_experts,
            layers if is_compressed else 0,
            each,
            with_experts if device == "CPU" and load_config.stream_experts else 0,
        )
        for device, layers, with_experts, each in devices
        if layers or with_experts
    )


def layer_seconds(header: GgufHeader, load_config: LoadConfig, rates: Rates) -> float:
    """Return the seconds that the layers take for one token besides reading."""
    return sum(count.seconds for count in layer_counts(header, load_config, rates))
