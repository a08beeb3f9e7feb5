"""Which models are taken back by checkpoints, and how many of those a context keeps.

Most caches can be cut anywhere: what lies behind a position is removed, and evaluation continues
there. DeepSeek-V4's cannot. It keeps keys of whole groups of tokens in place of single ones, a
window of the newest tokens, and the running sums of the group at work, and these last two hold the
end of the sequence alone. So copies of them, checkpoints, are made on the way, and the sequence can
be taken back to a position that has one. Source: llama.cpp, src/llama-kv-cache-dsv4.cpp,
``llama_kv_cache_dsv4::seq_rm`` and ``state_write``.
"""

from __future__ import annotations

from dslocal.gguf.header import GgufHeader

CHECKPOINT_ARCHITECTURES = frozenset({"deepseek4"})
CHECKPOINT_SPACING = 1024  # tokens between two of a long text, evaluated again at most
MAX_CHECKPOINTS = 16  # of a context, over all its conversations
MIN_CHECKPOINTS = 4  # of a conversation: both ends of the last two prompts


def needs_checkpoints(header: GgufHeader) -> bool:
    """Return whether a conversation with this model is taken back by checkpoints."""
    return header.architecture in CHECKPOINT_ARCHITECTURES


def checkpoints_per_sequence(n_seq: int) -> int:
    """Return how many checkpoints each of ``n_seq`` conversations may keep."""
    return max(MIN_CHECKPOINTS, MAX_CHECKPOINTS // n_seq)
