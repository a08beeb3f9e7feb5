"""nano as a PyTorch module for training: DeepSeek-V3's architecture, small.

Multi-head latent attention with V3's own head sizes, a mixture of experts routed by sigmoid scores,
in groups, whose load is balanced by a bias instead of a loss, and one multi-token-prediction module
that shares embeddings and head with the trunk. Examples lie one after the other in a window and do
not see each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Documents(NamedTuple):
    """Where examples begin in a batch of windows, for attention that stays within each.

    Attributes:
        mask: Which positions see which, of shape [batch, 1, length, length]; None where ends are.
        ends: Where examples begin in the windows laid end to end, and the end, as often as it
            takes to have a fixed size: what the kernel for GPUs wants; None elsewhere.
        longest: The most tokens that one example has.
    """

    mask: Tensor | None
    ends: Tensor | None
    longest: int

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return what each head gathers; shapes are [batch, length, heads, width]."""
        q, k = q.type_as(v), k.type_as(v)
        if self.ends is None:
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            mixed = F.scaled_dot_product_attention(q, k, v, self.mask)
            return mixed.transpose(1, 2)
        from torch.nn.attention.varlen import varlen_attn

        batch, length = q.shape[:2]
        width = v.size(-1)
        v = F.pad(v, (0, q.size(-1) - width))  # the kernel wants one width
        mixed = varlen_attn(
            q.flatten(0, 1),
            k.flatten(0, 1),
            v.flatten(0, 1),
            self.ends,
            self.ends,
            self.longest,
            self.longest,
            **CAUSAL,
        )
        return mixed[..., :width].unflatten(0, (batch, length))


CAUSAL: dict[str, Any] = {"window_size": (-1, 0)}


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

    def forward(self, x: Tensor, rotation: Rotation, documents: Documents) -> Tensor:
        s = self.sizes
        batch, length = x.shape[:2]
        heads = s.num_attention_heads
        nope = s.qk_nope_head_dim
        rope = s.qk_rope_head_dim
        value = s.v_head_dim
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))).view(
            batch, length, heads, nope + rope
        )
        q_nope, q_rope = q.split((nope, rope), -1)
        latent, k_rope = self.kv_a_proj_with_mqa(x).split((s.kv_lora_rank, rope), -1)
        kv = self.kv_b_proj(self.kv_a_layernorm(latent)).view(batch, length, heads, nope + value)
        k_nope, v = kv.split((nope, value), -1)
        q_rope = _rotated(q_rope, rotation)
        k_rope = _rotated(k_rope.unsqueeze(2), rotation).expand(batch, length, heads, rope)
        q, k = torch.cat((q_nope, q_rope), -1), torch.cat((k_nope, k_rope), -1)
        mixed = documents.attend(q, k, v)
        return self.o_proj(mixed.reshape(batch, length, heads * value))


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
        self.sorts = False
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
        experts = self._chosen(scores)
        weights = scores.gather(1, experts)
        weights = (
            weights / (weights.sum(-1, keepdim=True) + 1e-20) * self.sizes.routed_scaling_factor
        )
        if self.training:
            self.load += F.one_hot(experts, self.sizes.n_routed_experts).sum((0, 1)).detach()
        routed = self._sorted if self.sorts else self._all
        return routed(tokens, experts, weights).view(x.shape) + self.shared_experts(x)

    def _all(self, tokens: Tensor, experts: Tensor, weights: Tensor) -> Tensor:
        """Every expert computed for every token and weighted, mostly with 0."""
        spread = torch.zeros_like(tokens[:, : self.sizes.n_routed_experts], dtype=weights.dtype)
        spread = spread.scatter(1, experts, weights)
        gated = F.silu(torch.einsum("nd,edm->enm", tokens, self.gates.type_as(tokens)))
        inner = gated * torch.einsum("nd,edm->enm", tokens, self.ups.type_as(tokens))
        inner = inner * spread.t().unsqueeze(-1).type_as(inner)
        return torch.einsum("enm,emd->nd", inner, self.downs.type_as(inner))

    def _sorted(self, tokens: Tensor, experts: Tensor, weights: Tensor) -> Tensor:
        """Every token copied to its experts, which work on their own tokens alone.

        Each expert's tokens begin at a multiple of 8, as the kernel wants it.
        """
        tokens = tokens.bfloat16()  # all that the kernel takes
        count, used = experts.shape
        flat = experts.flatten()
        sizes = F.one_hot(flat, self.sizes.n_routed_experts).sum(0)
        padded = (sizes + 7) // 8 * 8
        ends = padded.cumsum(0)
        order = flat.argsort(stable=True)
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(len(flat), device=flat.device)
        slots = ranks - (sizes.cumsum(0) - sizes)[flat] + (ends - padded)[flat]
        room = count * used + 8 * self.sizes.n_routed_experts
        sources = torch.full((room,), len(flat), device=flat.device)
        sources[slots] = torch.arange(len(flat), device=flat.device)
        copies = Moved.apply(
            tokens.unsqueeze(1).expand(-1, used, -1).reshape(-1, tokens.size(-1)), sources, slots
        )
        offsets = ends.int()
        gated = F.silu(_grouped(copies, self.gates, offsets))
        inner = gated * _grouped(copies, self.ups, offsets)
        outputs = Moved.apply(_grouped(inner, self.downs, offsets), slots, sources)
        return (outputs.unflatten(0, (count, used)) * weights.unsqueeze(-1).type_as(outputs)).sum(1)

    def balance(self, rate: float) -> None:
        """Makes experts that got more than their share less likely, and the others more."""
        with torch.no_grad():
            self.bias += rate * torch.sign(self.load.mean() - self.load)
            self.load.zero_()

    def _chosen(self, scores: Tensor) -> Tensor:
        """Each token's experts: the best of the best groups, a group being as good as its best
        two; the bias counts here alone.
        """
        s = self.sizes
        biased = scores + self.bias
        size = s.n_routed_experts // s.n_group
        in_groups = biased.view(-1, s.n_group, size)
        groups = in_groups.gather(-1, _largest(in_groups, 2)).sum(-1)
        places = torch.arange(s.n_group, device=scores.device)
        best = (_largest(groups, s.topk_group).unsqueeze(-1) == places).any(1)
        biased = in_groups.masked_fill(~best.unsqueeze(-1), float("-inf")).flatten(1)
        return _largest(biased, s.num_experts_per_tok)


def _largest(values: Tensor, count: int) -> Tensor:
    """Return the places of the largest values of every row, one after the other: for so few,
    compiled code is faster than ``topk``.
    """
    places = torch.arange(values.size(-1), device=values.device)
    found = []
    for _ in range(count):
        found.append(values.argmax(-1, keepdim=True))
        values = values.masked_fill(places == found[-1], float("-inf"))
    return torch.cat(found, -1)


class Moved(torch.autograd.Function):  # type: ignore[misc]
    """Rows picked by ``where``, 0 where it points behind the last; ``back`` is its inverse."""

    @staticmethod
    def forward(context: Any, rows: Tensor, where: Tensor, back: Tensor) -> Tensor:
        context.save_for_backward(where, back)
        return _picked(rows, where)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        _, back = context.saved_tensors
        return _picked(gradient, back), None, None


def _picked(rows: Tensor, where: Tensor) -> Tensor:
    inside = where < len(rows)
    return rows[torch.where(inside, where, 0)] * inside.unsqueeze(-1).type_as(rows)


def _grouped(rows: Tensor, matrices: Tensor, ends: Tensor) -> Tensor:
    """Return each group's rows times its own matrix; matrices go column by column."""
    columns = matrices.type_as(rows).transpose(1, 2).contiguous().transpose(1, 2)
    return torch._grouped_mm(rows, columns, offs=ends)


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

    def forward(self, x: Tensor, rotation: Rotation, documents: Documents) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotation, documents)
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

    def forward(
        self, x: Tensor, rotation: Rotation, documents: Documents, places: Tensor, drafted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return logits of the trunk at ``places`` and of the MTP module at ``drafted``, which
        count positions of all windows laid end to end: logits are the largest tensors by far, and
        most are never looked at.
        """
        hidden = self.embed_tokens(x)
        for block in self.layers:
            hidden = block(hidden, rotation, documents)
        hidden = self.norm(hidden)
        following = self.embed_tokens(x.roll(-1, 1))
        joined = self.eh_proj(torch.cat((self.enorm(following), self.hnorm(hidden)), -1))
        draft = self.mtp_norm(self.mtp(joined, rotation, documents))
        return (
            self.lm_head(hidden.flatten(0, 1)[places]),
            self.lm_head(draft.flatten(0, 1)[drafted]),
        )

    def routers(self) -> list[Experts]:
        return [block.mlp for block in (*self.layers, self.mtp) if isinstance(block.mlp, Experts)]


def _linear(columns: int, rows: int) -> nn.Linear:
    return nn.Linear(columns, rows, bias=False)


def _rotated(x: Tensor, rotation: Rotation) -> Tensor:
    """Pairs of neighbours turned by the angle of their position; ``x`` is batch, positions, heads,
    width.
    """
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = rotation.cos[:, None], rotation.sin[:, None]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)
