"""Generate the text of a gap, as it comes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from dslocal.prompts.families import Family
from dslocal.prompts.fim import Gap
from dslocal.prompts.settings import Settings

from .answer import stream_answer
from .reasoning import Text
from .turn import Turn

if TYPE_CHECKING:
    from dslocal.engine import EngineContext


def fill_gap(
    turn: Turn,
    context: EngineContext,
    family: Family,
    settings: Settings,
    gap: Gap,
    *,
    on_prefill: Callable[[int, int], None] | None = None,
) -> Generator[str]:
    """Generate what belongs into ``gap`` into ``turn``, and yield its text, white space and all.

    Args:
        turn: Where the answer is collected.
        context: The model's context.
        family: Says how a gap is written.
        settings: How tokens are sampled.
        gap: The text before and after.
        on_prefill: Called with the tokens of the prompt that are evaluated, and their number.

    Raises:
        UsageError: If the family cannot fill gaps.
        ContextOverflowError: If the prompt leaves no room for an answer.
        KeyboardInterrupt: On Ctrl-C. What came until then is in ``turn``.
    """
    prompt = family.render_fim(gap.prefix, gap.suffix)
    for event in stream_answer(turn, context, family, settings, prompt, on_prefill=on_prefill):
        if isinstance(event, Text):
            yield event.text
