"""llama.cpp's parameters for a :class:`LoadConfig`: the one place where a plan's settings become
fields of its structs.

Knows the fields that memory and placement depend on. Callbacks, threads and whatever else a caller
needs it sets on the result.
"""

from __future__ import annotations

import ctypes
from typing import Any

from dslocal.gguf import libraries
from dslocal.gguf.header import GgufHeader
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.footprint import kv_cells
from dslocal.plan.memory.shape import moe_layers

LOAD_MODES = {"none": 0, "mmap": 1}  # enum llama_load_mode
FLASH_ATTN = {False: 0, True: 1}  # enum llama_flash_attn_type
MTP_CONTEXT = 1  # enum llama_context_type


class _Override(ctypes.Structure):
    """struct llama_model_tensor_buft_override: tensors whose names match ``pattern`` go to
    ``buffer_type``.
    """

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def model_params(header: GgufHeader, load_config: LoadConfig) -> Any:
    """``llama_model_params`` for the model that ``header`` describes. Must live as long as the
    model: arrays hang on it.

    Without layers on the GPU no device is handed over: llama.cpp would open it, and use it for
    large batches, all the same.
    """
    params = libraries.require().llama_model_default_params()
    params.n_gpu_layers, params.load_mtp, params.use_extra_bufts = (
        load_config.n_gpu_layers,
        load_config.mtp,
        load_config.repack,
    )
    params.load_mode = LOAD_MODES[load_config.load_mode]
    if load_config.n_gpu_layers == 0:
        params.kept = (ctypes.c_void_p * 1)()
        params.devices = ctypes.addressof(params.kept)
    elif layers := moe_layers(header)[: load_config.cpu_moe_layers]:
        pattern = rf"blk\.({'|'.join(map(str, layers))})\.ffn_(up|down|gate|gate_up)_(ch|)exps"
        to_cpu = libraries.symbol("ggml_backend_cpu_buffer_type", ctypes.c_void_p)()
        params.kept = (_Override * 2)(_Override(pattern.encode(), to_cpu), _Override(None, None))
        params.tensor_buft_overrides = ctypes.addressof(params.kept)
    return params


def context_params(load_config: LoadConfig) -> Any:
    """``llama_context_params``. Several sequences have a cache each, so that none takes another's
    place or changes its sums.
    """
    params = libraries.require().llama_context_default_params()
    params.n_ctx, params.n_seq_max = (
        load_config.n_seq * kv_cells(load_config) if load_config.n_seq > 1 else load_config.n_ctx,
        load_config.n_seq,
    )
    params.n_batch, params.n_ubatch = (
        load_config.n_batch,
        min(load_config.n_ubatch, load_config.n_ctx),
    )
    params.type_k = params.type_v = int(load_config.kv_type)
    params.flash_attn_type = FLASH_ATTN[load_config.flash_attn]
    params.n_outputs_max, params.swa_full, params.no_perf = load_config.n_outputs, False, True
    return params
