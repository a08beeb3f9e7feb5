"""A turn as JSON and back, so that ``dslocal ask`` has it as if it had been generated there.

Needs nothing of the extra ``server``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dslocal import output, prompts

COUNTS = (
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "drafted_tokens",
    "accepted_tokens",
    "seed",
)


def turn_as_json(turn: output.Turn) -> dict[str, Any]:
    """Return all of ``turn`` that :func:`turn_from_json` needs."""
    fields: dict[str, Any] = {name: getattr(turn, name) for name in COUNTS}
    fields["reasoning"] = turn.reasoning
    fields["answer"] = turn.text
    fields["calls"] = [[call.name, call.arguments] for call in turn.calls]
    fields["ids"] = turn.ids
    fields["finish_reason"] = turn.finish_reason.value if turn.finish_reason else None
    fields["timings"] = asdict(turn.timings) if turn.timings else None
    fields["logprobs"] = [
        [entry.id, entry.logprob, [list(pair) for pair in entry.top]] for entry in turn.logprobs
    ]
    fields["loop"] = [turn.loop.text, turn.loop.times] if turn.loop else None
    return fields


def turn_from_json(sent: dict[str, Any]) -> output.Turn:
    """Return the turn as it was where it was generated.

    Raises:
        LookupError, TypeError, ValueError or OverflowError: ``sent`` is not a turn.
    """
    from dslocal.output.loops import Loop
    from dslocal.types import FinishReason, Timings, TokenLogprobs

    counts: dict[str, Any] = {name: int(sent[name]) for name in COUNTS}
    turn = output.Turn(**counts)
    turn.reasoning = str(sent["reasoning"])
    turn.text = str(sent["answer"])
    turn.ids = [int(id) for id in sent["ids"]]
    turn.calls = [prompts.ToolCall(str(name), str(arguments)) for name, arguments in sent["calls"]]
    turn.finish_reason = FinishReason(sent["finish_reason"])
    turn.timings = Timings(**sent["timings"]) if sent["timings"] else None
    for id, logprob, top in sent["logprobs"]:
        alternatives = tuple((int(other), float(value)) for other, value in top)
        turn.logprobs.append(TokenLogprobs(int(id), float(logprob), alternatives))
    turn.loop = Loop(str(sent["loop"][0]), int(sent["loop"][1])) if sent["loop"] else None
    turn.text_is_certain = True
    return turn
