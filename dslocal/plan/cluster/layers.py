"""What each layer of a model takes and reads, so that layers can be dealt out to devices."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_names import ROUTED_EXPERTS, layer_of, tensor_class
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.kv_cache import layer_cache_bytes
from dslocal.plan.memory.llamacpp_mirror.micro_batch import GPU_ALIGNMENT
from dslocal.plan.memory.placement import EMBEDDINGS, OUTPUT, padded, placed_tensors
from dslocal.plan.memory.shape import moe_layers, shape_of


@dataclass(frozen=True)
class LayerTable:
    """Sums over layers: entry ``n`` is of the first ``n`` layers; the output is the last layer.

    Attributes:
        weights: bytes of weights.
        kv: bytes of the KV cache.
        read: bytes of weights that a token reads.
        routed: how many of the layers have routed experts.
        compressed: how many are layers of V4, which take more time.
        largest: bytes of the largest tensor of each layer.
        embeddings: bytes of the embeddings, which stay on the machine that runs the model.
    """

    weights: tuple[int, ...]
    kv: tuple[int, ...]
    read: tuple[float, ...]
    routed: tuple[int, ...]
    compressed: tuple[int, ...]
    largest: tuple[int, ...]
    embeddings: int

    @property
    def count(self) -> int:
        """Return the number of layers, the output being one."""
        return len(self.weights) - 1


def layer_table(header: GgufHeader, config: LoadConfig) -> LayerTable:
    """Return the table of a model's layers, as ``config`` loads them."""
    shape = shape_of(header)
    count = shape.n_layer_all + 1
    weights = [0] * count
    read = [0.0] * count
    largest = [0] * count
    embeddings = 0
    experts = header.of_arch("expert_count")
    used = header.of_arch("expert_used_count") / experts if experts else 1.0
    names = {tensor.name for tensor in header.tensors}
    for tensor, _ in placed_tensors(header, config):
        layer = layer_of(tensor.name)
        place = count - 1 if layer < 0 else layer
        nbytes = padded(tensor.nbytes, GPU_ALIGNMENT)
        if tensor.name == EMBEDDINGS:
            embeddings = nbytes
            if OUTPUT in names:
                continue
        weights[place] += nbytes
        is_drafting = place >= shape.n_layer and layer >= 0
        share = used if tensor_class(tensor.name) == ROUTED_EXPERTS else 1.0
        read[place] += 0.0 if is_drafting else tensor.nbytes * share
        largest[place] = max(largest[place], tensor.nbytes)
    with_experts = set(moe_layers(header))
    is_v4 = bool(shape.compress_ratios)
    kv = [layer_cache_bytes(shape, config, layer) for layer in range(shape.n_layer_all)]
    return LayerTable(
        weights=_sums(weights),
        kv=_sums([*kv, 0]),
        read=(0.0, *accumulate(read)),
        routed=_sums([int(layer in with_experts) for layer in range(count)]),
        compressed=_sums([int(layer < shape.n_layer and is_v4) for layer in range(count)]),
        largest=tuple(largest),
        embeddings=embeddings,
    )


def _sums(values: list[int]) -> tuple[int, ...]:
    return (0, *accumulate(values))
