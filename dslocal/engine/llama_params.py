"""llama.cpp's parameters for a load config: the one place where a plan becomes fields of structs.

Sets the fields that memory and placement depend on. A caller sets callbacks, threads and whatever
else it needs on the result.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from dslocal.gguf import libraries
from dslocal.gguf.header import GgufHeader
from dslocal.plan.load_config import DeviceLayers, LoadConfig
from dslocal.plan.memory.kv_cache import kv_cells, n_snapshots
from dslocal.plan.memory.shape import moe_layers

LOAD_MODES = {"none": 0, "mmap": 1}  # enum llama_load_mode of llama.h
PLAIN_CONTEXT, MTP_CONTEXT = 0, 1  # enum llama_context_type
FLASH_ATTN = {False: 0, True: 1}  # enum llama_flash_attn_type


class _BufferOverride(ctypes.Structure):
    """llama.h's ``llama_model_tensor_buft_override``.

    Tensors whose names match the regular expression ``pattern`` go to ``buffer_type``.
    """

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def model_params(header: GgufHeader, load_config: LoadConfig) -> Any:
    """Return ``llama_model_params`` for the model that ``header`` describes.

    The result owns arrays that the struct points to, so it must live as long as the model. Without
    layers on the GPU, llama.cpp gets an empty list of devices: otherwise it would open the GPU all
    the same, and use it for large batches.
    """
    params = libraries.require().llama_model_default_params()
    params.n_gpu_layers = load_config.n_gpu_layers
    params.load_mtp = load_config.mtp
    params.use_extra_bufts = load_config.repack
    params.load_mode = LOAD_MODES[load_config.load_mode]
    experts_in_ram = moe_layers(header)[: load_config.cpu_moe_layers]
    if load_config.split:
        _place_on_devices(params, load_config.split)
    elif load_config.n_gpu_layers == 0:
        params.owned = (ctypes.c_void_p * 1)()  # a list ends with a null pointer
        params.devices = ctypes.addressof(params.owned)
    elif experts_in_ram:
        params.owned = _overrides_to_cpu(_experts_pattern(experts_in_ram))
        params.tensor_buft_overrides = ctypes.addressof(params.owned)
    return params


def _place_on_devices(params: Any, split: Sequence[DeviceLayers]) -> None:
    """Give each device as many layers as planned; llama.cpp connects to workers here.

    ``tensor_split`` has shares, which llama.cpp compares with a layer's number over all layers: so
    many layers each come out exactly. Source: src/llama-model.cpp, ``get_layer_buft_list``.
    """
    from dslocal.rpc.connection import device_handle

    handles = [
        device_handle(device.endpoint, device.number)
        if device.endpoint
        else libraries.gpu_handle(device.number)
        for device in split
    ]
    devices = (ctypes.c_void_p * (len(handles) + 1))(*handles)  # ends with a null pointer
    low = libraries.require()
    shares = (ctypes.c_float * low.llama_max_devices())(*[device.layers for device in split])
    params.owned = (devices, shares)
    params.devices = ctypes.addressof(devices)
    params.tensor_split = shares


def _experts_pattern(layers: list[int]) -> str:
    """Return the names of the routed experts' tensors, as ``--n-cpu-moe`` of llama.cpp has it."""
    numbers = "|".join(str(layer) for layer in layers)
    return rf"blk\.({numbers})\.ffn_(up|down|gate|gate_up)_(ch|)exps"


def _overrides_to_cpu(pattern: str) -> Any:
    cpu = libraries.symbol("ggml_backend_cpu_buffer_type", ctypes.c_void_p)()
    end_of_list = _BufferOverride(None, None)
    return (_BufferOverride * 2)(_BufferOverride(pattern.encode(), cpu), end_of_list)


def context_params(load_config: LoadConfig) -> Any:
    """Return ``llama_context_params``.

    Several sequences get a cache each: none takes another's room or changes its sums.
    """
    params = libraries.require().llama_context_default_params()
    params.n_ctx = (
        load_config.n_seq * kv_cells(load_config) if load_config.n_seq > 1 else load_config.n_ctx
    )
    params.n_seq_max = load_config.n_seq
    params.n_batch = load_config.n_batch
    params.n_ubatch = min(load_config.n_ubatch, load_config.n_ctx)
    params.type_k = params.type_v = int(load_config.kv_type)
    params.flash_attn_type = FLASH_ATTN[load_config.flash_attn]
    params.n_outputs_max = load_config.n_outputs
    params.n_rs_seq = n_snapshots(load_config)  # drafts that may be taken back in one go
    params.swa_full = False
    params.no_perf = True
    return params


def draft_context_params(load_config: LoadConfig, target: Any, kind: int, outputs: int) -> Any:
    """Return ``llama_context_params`` of a context that drafts.

    Args:
        load_config: The target's load config.
        target: llama.cpp's context that is drafted for.
        kind: A number of ``enum llama_context_type``.
        outputs: The most rows of a batch that give logits.
    """
    params = context_params(load_config)
    params.ctx_type, params.ctx_other = kind, target
    params.n_outputs_max = params.n_outputs_max_per_seq = outputs
    params.n_rs_seq = 0
    return params
