"""What of a plan the user decides, from the options of ``fit``, ``ask`` and ``chat``."""

from __future__ import annotations

from pathlib import Path

from dslocal.errors import UsageError
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.search import Overrides

KV_TYPES = {"f16": GgmlType.F16, "q8_0": GgmlType.Q8_0, "q4_0": GgmlType.Q4_0}
MTP = {"auto": None, "on": True, "off": False}
MOST_CTX = 1 << 24
MOST_UBATCH = 1 << 14
ALL_LAYERS = 1 << 10


def pins(
    ctx: int | None,
    kv: str | None = None,
    ubatch: int | None = None,
    flash_attn: bool | None = None,
    n_gpu_layers: int | None = None,
    cpu_moe: str | None = None,
    mtp: str = "off",
) -> Overrides:
    """Raises UsageError naming the option."""
    if kv is not None and kv.lower() not in KV_TYPES:
        raise UsageError(f"--kv: {kv!r:.20} is not known", hint=", ".join(KV_TYPES))
    sidecar = Path(mtp).expanduser() if mtp.lower().endswith(".gguf") else None
    if mtp.lower() not in MTP and not sidecar:
        raise UsageError(
            f"--mtp: {mtp!r:.20} is not known",
            hint=f"{', '.join(MTP)}, or FILE.gguf, the layer alone",
        )
    for name, value, least, most in (
        ("--ctx", ctx, 256, MOST_CTX),
        ("--ubatch", ubatch, 1, MOST_UBATCH),
        ("--n-gpu-layers", n_gpu_layers, 0, ALL_LAYERS),
    ):
        if value is not None and not least <= value <= most:
            raise UsageError(f"{name}: {value} is out of range", hint=f"{least} to {most}")
    kv_type = KV_TYPES[kv.lower()] if kv else None
    return Overrides(
        ctx,
        kv_type,
        ubatch,
        flash_attn,
        n_gpu_layers,
        _cpu_moe(cpu_moe),
        MTP.get(mtp.lower()),
        sidecar=sidecar,
    )


def _cpu_moe(text: str | None) -> int | None:
    if text is None or text.lower() == "auto":
        return None
    if text.lower() == "all":
        return ALL_LAYERS
    if not text.isdecimal() or int(text) > ALL_LAYERS:
        raise UsageError(
            f"--cpu-moe: {text!r:.20} is no number of layers", hint="a number, all or auto"
        )
    return int(text)
