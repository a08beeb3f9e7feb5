"""The settings for loading a model, and the memory of each of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from dslocal.gguf.tensor_types import GgmlType

GpuKind: TypeAlias = Literal["cuda", "metal", "other"]
"""Which kernels run on a GPU."""

N_BATCH = 512  # tokens evaluated at a time, unless the micro-batch is larger
# Tokens drafted at a time, which with the token before them are the rows of logits that a context
# has room for (n_outputs).
MAX_MTP_DRAFTS = 3  # one MTP layer, asked again and again, soon loses the thread
MAX_NGRAM_DRAFTS = 7


class DeviceLayers(NamedTuple):
    """A device, and how many layers in a row it gets.

    Attributes:
        endpoint: the worker that it belongs to, as ``HOST:PORT``; empty for a GPU of this machine.
        number: which of the worker's devices, or of this machine's GPUs.
        layers: its layers; the output counts as one.
    """

    endpoint: str
    number: int
    layers: int


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """Settings that memory depends on.

    Attributes:
        n_ctx: tokens of context, of each conversation.
        kv_type: type of the KV cache.
        n_ubatch: tokens of a micro-batch.
        flash_attn: whether attention is computed with flash attention.
        n_gpu_layers: layers on the GPU, counted from the last; as llama.cpp counts, the output is
            one more. With ``split``, all layers that are not on this machine's CPU.
        cpu_moe_layers: layers, counted from the first that has experts, that keep their routed
            experts in RAM though the rest of them is on the GPU.
        n_outputs: rows of logits that one batch may give.
        load_mode: "mmap" maps the file, "none" reads it into memory.
        repack: whether llama.cpp may rearrange weights for the CPU, which it does in memory of
            its own: the file is read then, not mapped.
        mtp: whether the multi-token-prediction layer is loaded as well.
        n_seq: conversations that are kept side by side, each with a cache of its own.
        stream_experts: whether experts in RAM are read ahead, as their layer's router chooses them.
        split: the devices that layers are spread over, in the order of the layers, where other
            machines take part.
    """

    n_ctx: int
    kv_type: GgmlType = GgmlType.F16
    n_ubatch: int = 512
    flash_attn: bool = True
    n_gpu_layers: int = 0
    cpu_moe_layers: int = 0
    n_outputs: int = 1
    load_mode: Literal["mmap", "none"] = "mmap"
    repack: bool = False
    mtp: bool = False
    n_seq: int = 1
    stream_experts: bool = False
    split: tuple[DeviceLayers, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints."""
        return {
            "n_ctx": self.n_ctx,
            "kv_type": self.kv_type.name.lower(),
            "n_ubatch": self.n_ubatch,
            "flash_attn": self.flash_attn,
            "n_gpu_layers": self.n_gpu_layers,
            "cpu_moe_layers": self.cpu_moe_layers,
            "load_mode": self.load_mode,
            "stream_experts": self.stream_experts,
            "split": [device._asdict() for device in self.split],
        }

    @property
    def n_batch(self) -> int:
        """Return the tokens that are evaluated at a time: between two reports of progress."""
        return min(max(N_BATCH, self.n_ubatch), self.n_ctx)


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """Bytes on the GPU and in RAM."""

    gpu: int
    host: int

    @property
    def total(self) -> int:
        """Return the bytes on both."""
        return self.gpu + self.host

    def __add__(self, other: DeviceShare) -> DeviceShare:
        """Return the sum on each device."""
        return DeviceShare(self.gpu + other.gpu, self.host + other.host)


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """The memory that a model takes, by part.

    Attributes:
        weights: the weights.
        kv: the KV cache.
        compute: buffers for intermediate results.
        output: logits as they come out.
        overhead: what the process and the drivers take besides.
    """

    weights: DeviceShare
    kv: DeviceShare
    compute: DeviceShare
    output: DeviceShare
    overhead: DeviceShare

    @property
    def all(self) -> DeviceShare:
        """Return the sum of all parts."""
        return self.weights + self.kv + self.compute + self.output + self.overhead
