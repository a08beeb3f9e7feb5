"""The bytes of the cache of a conversation: keys and values, or what stands for them.

Most models keep a row for each token and layer. V3.2 keeps the keys of its indexer as well. V4
keeps rows of a window, one row for each group of 4 or 128 tokens, the keys of its indexer for the
groups of 4, and the running sums of the group at work (llama.cpp, src/llama-kv-cache-dsv4.cpp and
src/llama-kv-cache-iswa.cpp, the constructors).
"""

from __future__ import annotations

from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import DeviceShare, LoadConfig

from .dspark import MAX_ROWS
from .model_shape import ModelShape
from .placement import is_on_gpu, padded

CTX_MULTIPLE = 256  # llama.cpp rounds a context up to it (src/llama-context.cpp, constructor)
ROWS_MULTIPLE = 256  # and the rows of V4's caches
FLOAT_BYTES = 4  # V4's running sums are F32
OVERLAPPING_RATIO = 4  # groups of so many tokens overlap: their sums are twice as many and as wide


def kv_cells(load_config: LoadConfig) -> int:
    """Return the tokens that the cache of one conversation has room for."""
    return padded(load_config.n_ctx, CTX_MULTIPLE)


def kv_cache(shape: ModelShape, load_config: LoadConfig) -> DeviceShare:
    """Return the bytes of the cache of all layers.

    That of the MTP layer or DSpark, if it is loaded, belongs to a context of its own. Source:
    llama.cpp, src/llama-kv-cache.cpp, constructor of ``llama_kv_cache``.
    """
    on_gpu = in_ram = 0
    for layer in range(shape.n_layer_all):
        nbytes = layer_cache_bytes(shape, load_config, layer)
        if is_on_gpu(layer, shape, load_config):
            on_gpu += nbytes
        else:
            in_ram += nbytes
    kept = DeviceShare(on_gpu, in_ram)
    return kept + _dspark_cache(shape, load_config) if load_config.mtp else kept


def layer_cache_bytes(shape: ModelShape, load_config: LoadConfig, layer: int) -> int:
    """Return the bytes of one layer's cache, of all conversations; 0 for one that has none."""
    has_mtp_layer = load_config.mtp or shape.compress_ratios
    if layer >= shape.n_layer and not has_mtp_layer:
        return 0
    return load_config.n_seq * _layer_bytes(shape, load_config, layer)


def _dspark_cache(shape: ModelShape, load_config: LoadConfig) -> DeviceShare:
    """Return the bytes of the windows of DSpark's layers: keys, and values that are not used."""
    n_ubatch = min(MAX_ROWS, load_config.n_ubatch, load_config.n_ctx)
    rows = window_rows(shape, kv_cells(load_config), n_ubatch)
    layer_bytes = 2 * rows * load_config.kv_type.nbytes(shape.n_embd_k_gqa)
    n_layer = shape.dspark_layers
    n_on_gpu = min(max(0, load_config.n_gpu_layers - 1), n_layer)
    return DeviceShare(n_on_gpu * layer_bytes, (n_layer - n_on_gpu) * layer_bytes)


def bytes_per_token(shape: ModelShape, kv_type: GgmlType) -> int:
    """Return the bytes that one more token takes over all layers, on average."""
    if not shape.compress_ratios:
        return shape.n_layer * _row_bytes(shape, kv_type)
    return sum(
        _compressed_row_bytes(shape, kv_type, ratio) // ratio
        for ratio in shape.compress_ratios
        if ratio
    )


def checkpoint_bytes(shape: ModelShape, load_config: LoadConfig) -> int:
    """Return the bytes of one checkpoint of a conversation with V4.

    It holds the rows of the window and the running sums of all layers. Source: llama.cpp,
    src/llama-kv-cache-dsv4.cpp, ``llama_kv_cache_dsv4::state_write``.
    """
    window = len(shape.compress_ratios) * shape.n_swa
    rows = window * load_config.kv_type.nbytes(shape.n_embd_k_gqa)
    return rows + sum(_state_bytes(shape, ratio) for ratio in shape.compress_ratios)


def _layer_bytes(shape: ModelShape, load_config: LoadConfig, layer: int) -> int:
    """Return the bytes of one conversation's cache in one layer."""
    cells = kv_cells(load_config)
    if not shape.compress_ratios:
        row = _row_bytes(shape, load_config.kv_type)
        if layer >= shape.n_layer:  # an MTP layer has no indexer
            row -= load_config.kv_type.nbytes(shape.indexer_head_size)
        return cells * row
    n_ubatch = min(load_config.n_ubatch, load_config.n_ctx)
    nbytes = window_rows(shape, cells, n_ubatch) * load_config.kv_type.nbytes(shape.n_embd_k_gqa)
    if layer >= shape.n_layer:  # unused rows, and keys and values of the context that drafts
        return nbytes * (3 if load_config.mtp else 1)
    ratio = shape.compress_ratios[layer]
    if not ratio:
        return nbytes
    rows = compressed_rows(cells, ratio)
    states = (1 + n_snapshots(load_config)) * _state_bytes(shape, ratio)
    return nbytes + rows * _compressed_row_bytes(shape, load_config.kv_type, ratio) + states


def window_rows(shape: ModelShape, cells: int, n_ubatch: int) -> int:
    """Return the rows of V4's window, which a micro-batch must fit into."""
    return padded(min(cells, shape.n_swa + n_ubatch), ROWS_MULTIPLE)


def compressed_rows(cells: int, ratio: int) -> int:
    """Return the rows of V4's cache for groups of ``ratio`` tokens."""
    return padded(-(-cells // ratio), ROWS_MULTIPLE)


def n_snapshots(load_config: LoadConfig) -> int:
    """Return how many earlier states V4 keeps, so that as many drafts can be taken back."""
    return load_config.n_outputs - 1 if load_config.n_seq == 1 else 0


def _row_bytes(shape: ModelShape, kv_type: GgmlType) -> int:
    """Return the bytes of one token in one layer of the cache."""
    keys_and_values = kv_type.nbytes(shape.n_embd_k_gqa) + kv_type.nbytes(shape.n_embd_v_gqa)
    return keys_and_values + kv_type.nbytes(shape.indexer_head_size)


def _compressed_row_bytes(shape: ModelShape, kv_type: GgmlType, ratio: int) -> int:
    """Return the bytes of one group of ``ratio`` tokens in one layer."""
    indexer = shape.indexer_head_size if ratio == OVERLAPPING_RATIO else 0
    return kv_type.nbytes(shape.n_embd_k_gqa) + kv_type.nbytes(indexer)


def _state_bytes(shape: ModelShape, ratio: int) -> int:
    """Return the bytes of the running sums of one layer: of keys, and of their weights."""
    if not ratio:
        return 0
    if ratio != OVERLAPPING_RATIO:
        return 2 * ratio * shape.n_embd_k_gqa * FLOAT_BYTES
    widths = 2 * shape.n_embd_k_gqa + 2 * shape.indexer_head_size
    return 2 * 2 * ratio * widths * FLOAT_BYTES
