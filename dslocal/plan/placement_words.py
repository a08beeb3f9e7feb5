"""Where a plan runs a model, in words: the same ones wherever that is shown."""

from __future__ import annotations

from .search import Verdict

_WORDS: dict[Verdict, tuple[str, str]] = {
    "gpu": ("GPU", "on the GPU"),
    "offload": ("both", "on both the GPU and the CPU"),
    "cpu": ("CPU", "on the CPU"),
    "workers": ("RPC", "on several machines"),
    "ssd": ("SSD", "from the SSD"),
    "no": ("–", "not here"),
}


def placement_words(verdict: Verdict, *, short: bool = False) -> str:
    """Return where a model runs, such as "on the GPU"; ``short`` for a table, such as "GPU"."""
    word, phrase = _WORDS[verdict]
    return word if short else phrase
