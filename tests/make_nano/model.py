"""nano as a PyTorch module for training: DeepSeek-V3's architecture, small.

Multi-head latent attention with V3's own head sizes, a mixture of experts routed by sigmoid scores,
in groups, whose load is balanced by a bias instead of a loss, and one multi-token-prediction module
that shares embeddings and head with the trunk. All experts are computed for every token and
weighted, which at this size costs less than sorting tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Sizes:
    """The fields of config.json that say how large the model is; the defaults are nano's."""

    vocab_size: int = 4096
    hidden_size: int = 256
    intermediate_size: int = 1024
    moe_intermediate_size: int = 256
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    n_routed_experts: int = 16
    num_experts_per_tok: int = 4
    n_shared_experts: int = 1
    n_group: int = 4
    topk_group: int = 2
    routed_scaling_factor: float = 2.5
    first_k_dense_replace: int = 1
    q_lora_rank: int = 128
    kv_lora_rank: int = 512
    qk_nope_head_dim: int = 128
    qk_rope_head_dim: int = 64
    v_head_dim: int = 128
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    max_position_embeddings: int = 4096
    num_nextn_predict_layers: int = 1


class Rotation(NamedTuple):
    """Cosines and sines of every position, for the rotary part of the heads."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, sizes: Sizes, length: int, device: str) -> Rotation:
        width = sizes.qk_rope_head_dim
        frequencies = sizes.rope_theta ** (
            -torch.arange(0, width, 2, device=device).float() / width
        )
        angles = torch.outer(torch.arange(length, device=device).float(), frequencies)
        return cls(angles.cos(), angles.sin())


class Module(nn.Module):  # type: ignore[misc]
    """The one class whose base is untyped where torch is not installed."""


class RMSNorm(Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), (x.size(-1),), self.weight.float(), self.eps).type_as(x)


class Attention(Module):
    """Multi-head latent attention; names are those of the checkpoint."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = s = sizes
        heads = s.num_attention_heads
        width = s.hidden_size
        eps = s.rms_norm_eps
        self.q_a_proj = _linear(width, s.q_lora_rank)
        self.q_a_layernorm = RMSNorm(s.q_lora_rank, eps)
        self.q_b_proj = _linear(s.q_lora_rank, heads * (s.qk_nope_head_dim + s.qk_rope_head_dim))
        self.kv_a_proj_with_mqa = _linear(width, s.kv_lora_rank + s.qk_rope_head_dim)
        self.kv_a_layernorm = RMSNorm(s.kv_lora_rank, eps)
        self.kv_b_proj = _linear(s.kv_lora_rank, heads * (s.qk_nope_head_dim + s.v_head_dim))
        self.o_proj = _linear(heads * s.v_head_dim, width)

    def forward(self, x: Tensor, rotation: Rotation) -> Tensor:
        s = self.sizes
        batch, length = x.shape[:2]
        heads = s.num_attention_heads
        nope = s.qk_nope_head_dim
        rope = s.qk_rope_head_dim
        value = s.v_head_dim
        q = (
            self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
            .view(batch, length, heads, nope + rope)
            .transpose(1, 2)
        )
        q_nope, q_rope = q.split((nope, rope), -1)
        latent, k_rope = self.kv_a_proj_with_mqa(x).split((s.kv_lora_rank, rope), -1)
        kv = (
            self.kv_b_proj(self.kv_a_layernorm(latent))
            .view(batch, length, heads, nope + value)
            .transpose(1, 2)
        )
        k_nope, v = kv.split((nope, value), -1)
        q_rope = _rotated(q_rope, rotation)
        k_rope = _rotated(k_rope.view(batch, 1, length, rope), rotation).expand(
            batch, heads, length, rope
        )
        q, k = torch.cat((q_nope, q_rope), -1), torch.cat((k_nope, k_rope), -1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=(nope + rope) ** -0.5)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, heads * value))


class FeedForward(Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = _linear(width, inner)
        self.up_proj = _linear(width, inner)
        self.down_proj = _linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(Module):
    """Routed experts, one tensor for each of their three matrices, and the shared one."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        count = sizes.n_routed_experts
        width = sizes.hidden_size
        inner = sizes.moe_intermediate_size
        self.gate = _linear(width, count)
        self.register_buffer("bias", torch.zeros(count))
        self.register_buffer("load", torch.zeros(count))
        self.gates = nn.Parameter(torch.randn(count, width, inner) * width**-0.5)
        self.ups = nn.Parameter(torch.randn(count, width, inner) * width**-0.5)
        self.downs = nn.Parameter(torch.randn(count, inner, width) * inner**-0.5)
        self.shared_experts = FeedForward(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(-1, x.size(-1))
        scores = F.linear(tokens.float(), self.gate.weight.float()).sigmoid()
        chosen = self._chosen(scores)
        weights = scores * chosen
        weights = (
            weights / (weights.sum(-1, keepdim=True) + 1e-20) * self.sizes.routed_scaling_factor
        )
        if self.training:
            self.load += chosen.sum(0).detach()
        gated = F.silu(torch.einsum("nd,edm->enm", tokens, self.gates.type_as(tokens)))
        inner = gated * torch.einsum("nd,edm->enm", tokens, self.ups.type_as(tokens))
        inner = inner * weights.t().unsqueeze(-1).type_as(inner)
        return torch.einsum("enm,emd->nd", inner, self.downs.type_as(inner)).view(
            x.shape
        ) + self.shared_experts(x)

    def balance(self, rate: float) -> None:
        """Makes experts that got more than their share less likely, and the others more."""
        with torch.no_grad():
            self.bias += rate * torch.sign(self.load.mean() - self.load)
            self.load.zero_()

    def _chosen(self, scores: Tensor) -> Tensor:
        """1 for each token's experts: the best of the best groups, a group being as good as its
        best two; the bias counts here alone.
        """
        s = self.sizes
        biased = scores + self.bias
        size = s.n_routed_experts // s.n_group
        groups = biased.view(-1, s.n_group, size).topk(2, -1)[0].sum(-1)
        best = torch.zeros_like(groups).scatter_(1, groups.topk(s.topk_group, -1)[1], 1.0)
        biased = biased.masked_fill(best.repeat_interleave(size, 1) == 0, float("-inf"))
        return torch.zeros_like(scores).scatter_(1, biased.topk(s.num_experts_per_tok, -1)[1], 1.0)


class Block(Module):
    def __init__(self, sizes: Sizes, *, dense: bool) -> None:
        super().__init__()
        width, eps = sizes.hidden_size, sizes.rms_norm_eps
        self.input_layernorm, self.post_attention_layernorm = (
            RMSNorm(width, eps),
            RMSNorm(width, eps),
        )
        self.self_attn = Attention(sizes)
        self.mlp = FeedForward(width, sizes.intermediate_size) if dense else Experts(sizes)

    def forward(self, x: Tensor, rotation: Rotation) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotation)
        return x + self.mlp(self.post_attention_layernorm(x))


class Nano(Module):
    """Trunk and multi-token-prediction module; gives the logits of the next token and of the one
    after it.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        width, eps = sizes.hidden_size, sizes.rms_norm_eps
        self.embed_tokens = nn.Embedding(sizes.vocab_size, width)
        self.layers = nn.ModuleList(
            Block(sizes, dense=i < sizes.first_k_dense_replace)
            for i in range(sizes.num_hidden_layers)
        )
        self.norm = RMSNorm(width, eps)
        self.lm_head = _linear(width, sizes.vocab_size)
        self.enorm = RMSNorm(width, eps)
        self.hnorm = RMSNorm(width, eps)
        self.eh_proj = _linear(2 * width, width)
        self.mtp, self.mtp_norm = Block(sizes, dense=False), RMSNorm(width, eps)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(
                    weight, 0, 0.02 if "embed" in name else 0.5 * weight.size(1) ** -0.5
                )

    def forward(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        hidden = self.embed_tokens(x)
        for block in self.layers:
            hidden = block(hidden, rotation)
        hidden = self.norm(hidden)
        following = self.embed_tokens(x.roll(-1, 1))
        joined = self.eh_proj(torch.cat((self.enorm(following), self.hnorm(hidden)), -1))
        return self.lm_head(hidden), self.lm_head(self.mtp_norm(self.mtp(joined, rotation)))

    def routers(self) -> list[Experts]:
        return [block.mlp for block in (*self.layers, self.mtp) if isinstance(block.mlp, Experts)]


def _linear(columns: int, rows: int) -> nn.Linear:
    return nn.Linear(columns, rows, bias=False)


def _rotated(x: Tensor, rotation: Rotation) -> Tensor:
    """Pairs of neighbours turned by the angle of their position; ``x`` is batch, heads, positions,
    width.
    """
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = rotation.cos, rotation.sin
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)
