"""Published figures of attention: what a token costs in the KV cache under each kind.

The arithmetic behind ``--explain``; what a file really takes is in :mod:`.footprint`. Published
figures that it gives: GPT-3 (96 layers of 96 heads of 128, fp16) takes 4.7 MB a token. DeepSeek-V2
takes 93.3 % less than DeepSeek 67B: 60 layers of 512 + 64 elements at 6 bits, as V2 is deployed
with its cache quantized to 6 bits on average (arXiv:2405.04434, 3.2.3), against 95 layers of 2 x 8
x 128 at 16: 25,920 bytes against 389,120. At equal precision it is 82.2 %.

V4-Flash keeps a key of 512 elements and an indexer's of 128 for each 4 tokens in 21 layers, and a
key of 512 for each 128 tokens in 20 (compress_ratios in its config.json): 6,880 bytes a token. Its
window of 128 tokens does not grow with the context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

FP16_BITS = 16.0


class GroupedKeys(NamedTuple):
    """Layers that keep ``values`` numbers for each group of ``ratio`` tokens."""

    layers: int
    ratio: int
    values: int


@dataclass(frozen=True, slots=True)
class Attention:
    """The numbers of one model's attention.

    Attributes:
        layers: its layers.
        heads: heads of queries.
        head: length of a head.
        kv_heads: heads of keys and values.
        kv_rank: width of MLA's compressed part; 0 without MLA.
        rope: width of the positional part of MLA's keys.
        groups: what V4's layers keep of groups of tokens; empty elsewhere.
    """

    layers: int
    heads: int
    head: int
    kv_heads: int = 1
    kv_rank: int = 0
    rope: int = 0
    groups: tuple[GroupedKeys, ...] = ()

    def per_token(self, bits: float = FP16_BITS) -> dict[str, float]:
        """Return the bytes a token by kind, were the model built that way.

        The kinds are MHA, GQA, MQA, and MLA or CSA if their numbers are given.

        Args:
            bits: bits an element.
        """
        elements = {
            "MHA": 2 * self.heads * self.head,
            "GQA": 2 * self.kv_heads * self.head,
            "MQA": 2 * self.head,
        }
        if self.kv_rank:
            elements["MLA"] = self.kv_rank + self.rope
        found = {kind: self.layers * count * bits / 8 for kind, count in elements.items()}
        if self.groups:
            values = sum(part.layers * part.values / part.ratio for part in self.groups)
            found["CSA"] = values * bits / 8
        return found


class PublishedAttention(NamedTuple):
    """A published model: its name, the kind that it is built with, and its numbers."""

    name: str
    kind: str
    attention: Attention


def saved_share(smaller: float, larger: float) -> float:
    """Return the share of ``larger`` that is saved, from 0 to 1."""
    return 1 - smaller / larger


GPT_3 = Attention(layers=96, heads=96, head=128, kv_heads=96)
LLM_67B = Attention(layers=95, heads=64, head=128, kv_heads=8)
V2 = Attention(layers=60, heads=128, head=128, kv_heads=128, kv_rank=512, rope=64)
V3 = Attention(layers=61, heads=128, head=128, kv_heads=128, kv_rank=512, rope=64)
V4_FLASH = Attention(
    layers=43, heads=64, head=512, groups=(GroupedKeys(21, 4, 640), GroupedKeys(20, 128, 512))
)
PUBLISHED = (
    PublishedAttention("GPT-3 175B", "MHA", GPT_3),
    PublishedAttention("DeepSeek LLM 67B", "GQA", LLM_67B),
    PublishedAttention("DeepSeek-V2", "MLA", V2),
    PublishedAttention("DeepSeek-V3", "MLA", V3),
    PublishedAttention("DeepSeek-V4-Flash", "CSA", V4_FLASH),
)
