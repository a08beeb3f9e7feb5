"""The ways in which a model can be loaded, and the memory that each part of it takes then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dslocal.gguf.tensor_types import GgmlType

N_BATCH = 512  # tokens evaluated at a time, unless the micro-batch is larger
# tokens drafted at a time, which with the token before them are the rows of logits that a context
# has room for (n_outputs)
MAX_MTP_DRAFTS = 3  # one MTP layer, asked again and again, soon loses the thread
MAX_NGRAM_DRAFTS = 7


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """Settings that memory depends on. ``n_gpu_layers`` counts from the last layer, the output
    being one more, as llama.cpp does.

    ``cpu_moe_layers`` layers, counted from the first that has experts, keep their routed experts in
    RAM though the rest of them is on the GPU. ``load_mode`` "mmap" maps the file, "none" reads it
    into memory. ``repack`` lets llama.cpp lay weights out anew for the CPU, a copy that is not
    shared with the file. ``mtp`` loads the multi-token-prediction layer as well. ``n_seq``
    conversations are kept side by side, each with a cache of ``n_ctx`` of its own.
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

    def as_json(self) -> dict[str, int | str | bool]:
        """What ``--json`` says of it."""
        return {
            "n_ctx": self.n_ctx,
            "kv_type": self.kv_type.name.lower(),
            "n_ubatch": self.n_ubatch,
            "flash_attn": self.flash_attn,
            "n_gpu_layers": self.n_gpu_layers,
            "cpu_moe_layers": self.cpu_moe_layers,
            "load_mode": self.load_mode,
        }

    @property
    def n_batch(self) -> int:
        """Tokens that are evaluated at a time: between two reports of progress."""
        return min(max(N_BATCH, self.n_ubatch), self.n_ctx)


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """Bytes on the GPU and in RAM."""

    gpu: int
    host: int

    @property
    def total(self) -> int:
        return self.gpu + self.host

    def __add__(self, other: DeviceShare) -> DeviceShare:
        return DeviceShare(self.gpu + other.gpu, self.host + other.host)


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes by part. ``overhead`` is what the process and the drivers take besides."""

    weights: DeviceShare
    kv: DeviceShare
    compute: DeviceShare
    output: DeviceShare
    overhead: DeviceShare

    @property
    def all(self) -> DeviceShare:
        return self.weights + self.kv + self.compute + self.output + self.overhead
