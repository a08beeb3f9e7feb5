"""The load settings that a user decided; the search decides all others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dslocal.gguf.tensor_types import GgmlType


@dataclass(frozen=True)
class Overrides:
    """What the user decided. None leaves the choice to the plan.

    Attributes:
        n_ctx: tokens of context.
        kv_type: type of the KV cache.
        n_ubatch: tokens of a micro-batch.
        flash_attn: whether attention is computed with flash attention.
        n_gpu_layers: layers on the GPU, the output being one of them.
        cpu_moe_layers: layers whose routed experts stay in RAM.
        mtp: whether the multi-token-prediction layer is loaded; with False nothing is drafted.
        n_seq: conversations that are kept side by side; with more than one nothing is drafted.
        sidecar: a file with the MTP layer that the model's own file lacks.
        stream_experts: whether experts in RAM are read ahead, as their router chooses them.
        max_ram: bytes of RAM that the model may take, of those that are free.
        rpc: the machines that lend their memory, each as ``HOST:PORT``.
    """

    n_ctx: int | None = None
    kv_type: GgmlType | None = None
    n_ubatch: int | None = None
    flash_attn: bool | None = None
    n_gpu_layers: int | None = None
    cpu_moe_layers: int | None = None
    mtp: bool | None = False
    n_seq: int = 1
    sidecar: Path | None = None
    stream_experts: bool | None = None
    max_ram: int | None = None
    rpc: tuple[str, ...] = ()


NO_OVERRIDES = Overrides()
