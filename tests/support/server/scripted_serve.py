"""``dslocal serve`` with answers that a script gives, for clients that need an able model.

    python scripted_serve.py SCRIPT.json MODEL [options of dslocal serve]

nano is too weak for an agent's task, and too slow for its prompt of 30,000 tokens. Everything here
is the server's own but the sampling: prompts are rendered and tokenized, the script's answer is
written in the family's format, and its tokens are read as a model's are.

A script is a list of steps, each ``{"text": …}`` or ``{"tool": name, "arguments": {…}}``. As many
steps are done as the prompt has results of tools since the last question. A tool is called only if
the prompt declares it; otherwise the last step's text is the answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from dslocal import output, prompts
from dslocal.output.answer import AnswerReader
from dslocal.output.reasoning import AnswerEvent
from dslocal.prompts.families.tools import OUTPUT_BEGIN, ToolFormat
from dslocal.prompts.messages import PlainText, Segment, encode
from dslocal.types import FinishReason, Timings

Step = dict[str, Any]
REASONING = "I follow the script."


def next_step(steps: Sequence[Step], results: int, prompt: str) -> Step:
    """Return the step that comes next in a conversation.

    Args:
        steps: The script.
        results: How many results of tools the prompt has since the last question.
        prompt: Its text.
    """
    step = steps[min(results, len(steps) - 1)]
    if "tool" in step and step["tool"] not in prompt:
        return steps[-1]
    return step


def step_for(steps: Sequence[Step], prompt: Sequence[Segment]) -> Step:
    """Return the step that answers a prompt."""
    results = 0
    for segment in reversed(prompt):
        if getattr(segment, "token", "") == "<｜User｜>":
            break
        results += segment == OUTPUT_BEGIN
    text = "".join(part.text for part in prompt if isinstance(part, PlainText))
    return next_step(steps, results, text)


def answer_to(step: Step, family: prompts.Family, opening: object) -> list[Segment]:
    """Return a step as the family writes an answer.

    Args:
        step: The step.
        family: The family.
        opening: The last special token of the prompt. If it opens reasoning, the answer begins by
            closing that.
    """
    segments: list[Segment] = []
    if family.format.think is not None and opening == family.format.think[0]:
        segments += [PlainText(REASONING + "\n"), family.format.think[1], PlainText("\n\n")]
    tools = family.format.tools
    if "tool" in step and isinstance(tools, ToolFormat):
        call = prompts.ToolCall(step["tool"], json.dumps(step["arguments"]))
        return [*segments, *tools.calls([call])]
    return [*segments, PlainText(step["text"])]


def scripted(steps: Sequence[Step]) -> Callable[..., Generator[AnswerEvent]]:
    """Return what stands in for :func:`dslocal.output.stream_answer`."""

    def stream_answer(
        turn: output.Turn,
        context: Any,
        family: prompts.Family,
        settings: prompts.Settings,
        prompt: Sequence[Segment],
        *,
        ids: Sequence[int],
        on_prefill: Callable[[int, int], None],
    ) -> Generator[AnswerEvent]:
        turn.prompt_tokens = len(ids)
        on_prefill(len(ids), len(ids))
        reader = AnswerReader(turn, family, settings, prompt, context.model)
        opening = [part for part in prompt if not isinstance(part, PlainText)][-1]
        answer = answer_to(step_for(steps, prompt), family, opening)
        for token in encode(answer, context.model):
            yield from reader.feed(token)
        yield from reader.finish()
        turn.finish_reason = FinishReason.STOP
        turn.timings = Timings(prefill=0.1, decode=0.1, ttft=0.1)

    return stream_answer


if __name__ == "__main__":
    from dslocal.cli.main import main

    output.stream_answer = scripted(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    sys.argv = ["dslocal", "serve", *sys.argv[2:]]
    main()
