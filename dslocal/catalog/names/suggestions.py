"""Suggest known names that are similar to an unknown one, for messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher

from dslocal.gguf.architectures import INSTEAD

PREFIX = "deepseek-"
MAX_SUGGESTED = 3
MIN_LIKENESS = 0.6
WORD_BONUS = 0.1  # for each word of the text that a name has as well

# What people ask for that cannot be fetched by this name, by the plain name's beginning.
KNOWN_ELSEWHERE = {
    "chat": "it is a name of DeepSeek's hosted API, which always means its newest model",
    "reasoner": "it is a name of DeepSeek's hosted API, which always means its newest model",
    "vl": "it reads images, which dslocal does not; the models that it runs read text",
    "ocr": "it reads images, which dslocal does not; the models that it runs read text",
    "v4.1": f"llama-cpp-python does not run V4.1 yet; {INSTEAD}",
    "janus": "it makes images, which dslocal does not; the models that it runs write text",
}
FOREIGN = re.compile(r"(llama|codellama|qwen|qwq|mistral|mixtral|gemma|phi|gpt|kimi|glm|granite)")
OF_OTHERS = "dslocal runs only DeepSeek's models; Ollama or llama.cpp run others"


def why_not(text: str) -> str:
    """Return why a well-known name does not name a model here; empty for other names."""
    if text.lower().endswith(".gguf") or text.startswith((".", "/", "~")):
        return ""  # a file
    plain = _plain(text)
    is_deepseek = "deepseek" in text.lower() or plain.startswith("janus")
    if not is_deepseek:
        return OF_OTHERS if FOREIGN.match(plain) else ""
    for beginning, reason in KNOWN_ELSEWHERE.items():
        if re.match(rf"{re.escape(beginning)}(\d|-|$)", plain):
            return reason
    return ""


def nearest_names(text: str, known: Mapping[str, str]) -> list[str]:
    """Return up to three models that ``text`` may be meant as, the nearest first.

    Args:
        text: What was written.
        known: For each name that a model has, the one to suggest.
    """
    wanted = _plain(text)
    words = set(wanted.split("-"))
    scores: dict[str, float] = {}
    for name, suggested in known.items():
        plain = _plain(name)
        likeness = max(
            SequenceMatcher(None, wanted, plain).ratio(),
            SequenceMatcher(None, wanted, PREFIX + plain).ratio(),
        )
        if likeness >= MIN_LIKENESS:
            score = likeness + WORD_BONUS * len(words & set(plain.split("-")))
            scores[suggested] = max(score, scores.get(suggested, 0.0))
    return sorted(scores, key=lambda name: (-scores[name], len(name)))[:MAX_SUGGESTED]


def _plain(text: str) -> str:
    """Return a text without owner and case, its words separated by '-'."""
    last = text.rstrip("/").rpartition("/")[2]
    plain = re.sub(r"[\s_:@-]+", "-", last.lower()).strip("-")
    return plain.removesuffix(".gguf").removesuffix("-gguf").removeprefix(PREFIX)
