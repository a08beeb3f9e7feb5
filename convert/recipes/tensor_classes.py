"""What is known of each class of tensors: how far an error reaches, and what its input looks like.

It is what ``--size`` knows of a model besides its own weights, and holds for a family, not for one
checkpoint.

Origin of ``reach``: only that class quantized, and mean KL divergence from bf16 divided by the
squared relative error. Two measurements went into it as a geometric mean. The first is nano's, by
small errors; plain attention has the numbers of the parts of MLA there. The second took Q3_K and
Q4_K, or what takes their place, and errors as :mod:`dslocal.convert.sampled_errors` measures them:
nano on 2,000 tokens of its own answers (MLA, experts), SmolLM2-135M on 1,536 tokens of this
project's README (plain attention, tied embeddings), scaled so that attn_output has nano's. What
both models have they agree on within a factor of 3.5. Only ratios count; attn_output is 2.5.

Origin of ``exponent``: llama-imatrix on nano (MLA, experts) and on SmolLM2-135M (plain attention,
dense feed-forward), 1,500 to 2,000 tokens. The mean square of each channel that a matrix reads was
set against the gain of the norm before it, on logarithmic scales; the slope is the exponent, the
mean over all layers. Correlations are 0.74 to 0.95 on nano, 0.28 to 0.37 on SmolLM2. Channels of
other matrices (attn_output, ffn_down) follow no gain: all count alike.
"""

from __future__ import annotations

from typing import NamedTuple

from dslocal.gguf.tensor_names import layer_of, name_in_layer


class TensorClass(NamedTuple):
    """What is known of a class.

    Attributes:
        reach: KL divergence per squared relative error when that class is disturbed in all layers;
            the unit is arbitrary.
        norm: The norm of the same layer whose output the matrix reads; empty where there is none.
        exponent: How the mean square of a channel depends on the square of the norm's gain.
    """

    reach: float
    norm: str = ""
    exponent: float = 0.0


_CLASSES = {
    "output": TensorClass(16.0),
    "token_embd": TensorClass(7.0),
    "ffn_down": TensorClass(11.0),
    "ffn_gate": TensorClass(5.6, "ffn_norm", 0.4),
    "ffn_up": TensorClass(3.7, "ffn_norm", 0.4),
    "ffn_down_exps": TensorClass(8.5),
    "ffn_gate_exps": TensorClass(5.6, "ffn_norm", 0.76),
    "ffn_up_exps": TensorClass(2.1, "ffn_norm", 0.76),
    "ffn_down_shexp": TensorClass(2.5),
    "ffn_gate_shexp": TensorClass(2.1, "ffn_norm", 0.76),
    "ffn_up_shexp": TensorClass(1.3, "ffn_norm", 0.76),
    "attn_output": TensorClass(2.5),
    "attn_kv_a_mqa": TensorClass(2.5, "attn_norm", 1.5),
    "attn_q_a": TensorClass(0.7, "attn_norm", 1.5),
    "attn_q_b": TensorClass(3.0, "attn_q_a_norm", 1.0),
    "attn_k_b": TensorClass(0.5),
    "attn_v_b": TensorClass(1.2, "attn_kv_a_norm", 0.83),
    "attn_q": TensorClass(2.8, "attn_norm", 0.42),
    "attn_k": TensorClass(2.0, "attn_norm", 0.42),
    "attn_v": TensorClass(7.3, "attn_norm", 0.42),
}
_OTHER = TensorClass(1.0)


def class_of(name: str) -> TensorClass:
    """Return the class of a tensor, by its GGUF name."""
    return _CLASSES.get(name_in_layer(name).removesuffix(".weight"), _OTHER)


def norm_before(name: str) -> str:
    """Return the GGUF name of the norm whose output a tensor reads; empty where there is none."""
    norm = class_of(name).norm
    return f"blk.{layer_of(name)}.{norm}.weight" if norm else ""
