"""The special tokens of nano's vocabulary, and what a family's prompts need beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from dslocal.home.paths import bundled
from dslocal.prompts import Family, Message, Segment, Special

from .dialogues import TOKYO, WEATHER, assistant, output, system, user

NANO_TOKENS: tuple[str, ...] = tuple(
    token["content"]
    for token in json.loads((bundled("nano") / "tokenizer.json").read_text("utf-8"))["added_tokens"]
)


def missing_tokens(family: Family) -> set[str]:
    """Return the special tokens of ``family`` that nano's vocabulary lacks, but for those that are
    written as text there.
    """
    written = [segment for prompt in _prompts(family) for segment in prompt]
    needed = {s.token for s in written if isinstance(s, Special) and not s.or_text}
    return needed - set(NANO_TOKENS)


def _prompts(family: Family) -> Iterator[list[Segment]]:
    """Yield prompts with everything that the family can write."""
    before = [system("Be brief.")]
    if not family.is_base:
        before += [user("a"), assistant("b", reasoning="c"), system("d")]
    for way in family.thinking_modes:
        yield family.render([*before, user("e")], way)
        if family.format.tools:
            after: list[Message] = [user("e"), assistant("", "f", TOKYO), output("g")]
            yield family.render([*before, *after], way, [WEATHER])
    if family.fim:
        yield family.render_fim("a", "b")
