"""Check the load settings that a user chose, and return them as :class:`Overrides`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dslocal.errors import UsageError
from dslocal.files import whole_number
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.overrides import Overrides
from dslocal.rpc.endpoint import parse_endpoints

from .arguments.argument_types import TEXT, TEXTS, WHOLE_NUMBER, require

KV_TYPES = {"f16": GgmlType.F16, "q8_0": GgmlType.Q8_0, "q4_0": GgmlType.Q4_0}
MTP_MODES = {"auto": None, "on": True, "off": False}
STREAM_MODES = {"auto": None, "on": True, "off": False}
MIN_CTX, MAX_CTX = 256, 1 << 24
MAX_UBATCH = 1 << 14
ALL_LAYERS = 1 << 10

FLAG_NAMES = {
    "n_ctx": "--ctx",
    "kv_type": "--kv",
    "n_ubatch": "--ubatch",
    "n_gpu_layers": "--n-gpu-layers",
    "cpu_moe": "--cpu-moe",
    "mtp": "--mtp",
}


def overrides(
    n_ctx: int | None = None,
    kv_type: str | None = None,
    n_ubatch: int | None = None,
    flash_attn: bool | None = None,
    n_gpu_layers: int | None = None,
    cpu_moe: int | str | None = None,
    mtp: str = "off",
    names: Mapping[str, str] = {},
) -> Overrides:
    """Return the overrides for the given settings; None leaves a setting to the plan.

    Args:
        n_ctx: tokens of context.
        kv_type: "f16", "q8_0" or "q4_0".
        n_ubatch: tokens of a micro-batch.
        flash_attn: whether flash attention is used.
        n_gpu_layers: layers on the GPU.
        cpu_moe: layers whose experts stay in RAM: a number, "all" or "auto".
        mtp: "auto", "on", "off", or a GGUF file with an MTP layer.
        names: what errors call a parameter, where that is not its own name.

    Raises:
        UsageError: a value is not allowed; the message names it.
    """

    def named(parameter: str) -> str:
        return names.get(parameter, parameter)

    require(TEXT.or_none, **{named("kv_type"): kv_type})
    if kv_type is not None and kv_type.lower() not in KV_TYPES:
        raise UsageError(
            f"{named('kv_type')}: {kv_type!r:.20} is not known", hint=", ".join(KV_TYPES)
        )
    mtp_file = Path(mtp).expanduser() if mtp.lower().endswith(".gguf") else None
    if mtp.lower() not in MTP_MODES and not mtp_file:
        raise UsageError(
            f"{named('mtp')}: {mtp!r:.20} is not known",
            hint=f"{', '.join(MTP_MODES)}, or FILE.gguf, the layer alone",
        )
    _check_range(named("n_ctx"), n_ctx, MIN_CTX, MAX_CTX)
    _check_range(named("n_ubatch"), n_ubatch, 1, MAX_UBATCH)
    _check_range(named("n_gpu_layers"), n_gpu_layers, 0, ALL_LAYERS)
    return Overrides(
        n_ctx,
        KV_TYPES[kv_type.lower()] if kv_type else None,
        n_ubatch,
        flash_attn,
        n_gpu_layers,
        _moe_layers(cpu_moe, named("cpu_moe")),
        MTP_MODES.get(mtp.lower()),
        sidecar=mtp_file,
    )


def streams_experts(mode: str, name: str = "stream_experts") -> bool | None:
    """Return whether experts are streamed from the SSD; None leaves that to the plan.

    Args:
        mode: "auto", "on" or "off".
        name: what errors call the setting.

    Raises:
        UsageError: it is none of these.
    """
    require(TEXT, **{name: mode})
    if mode.lower() not in STREAM_MODES:
        raise UsageError(f"{name}: {mode!r:.20} is not known", hint=", ".join(STREAM_MODES))
    return STREAM_MODES[mode.lower()]


def workers(rpc: str | Sequence[str], name: str = "rpc") -> tuple[str, ...]:
    """Return the machines that hold a part of a model, each as ``HOST:PORT``.

    Args:
        rpc: the machines, separated by commas or as a list.
        name: what errors call the setting.

    Raises:
        UsageError: one of them is not ``HOST:PORT``.
    """
    require(TEXTS, **{name: rpc})
    named = rpc if isinstance(rpc, str) else ",".join(rpc)
    return tuple(map(str, parse_endpoints(named, name))) if named else ()


def _check_range(name: str, value: int | None, least: int, most: int) -> None:
    require(WHOLE_NUMBER.or_none, **{name: value})
    if value is not None and not least <= value <= most:
        raise UsageError(f"{name}: {value} is out of range", hint=f"{least} to {most}")


def _moe_layers(value: int | str | None, name: str) -> int | None:
    text = str(value).lower()
    if value is None or text == "auto":
        return None
    if text == "all":
        return ALL_LAYERS
    layers = whole_number(text)
    if layers is None or layers > ALL_LAYERS:
        raise UsageError(
            f"{name}: {value!r:.20} is not a number of layers", hint="a number, all or auto"
        )
    return layers
