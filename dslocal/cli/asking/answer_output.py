"""What ``ask`` and ``fim`` do with streams: text in from stdin, the answer out to stdout as it
comes, all else to stderr.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import typer

from dslocal import chat, evaluation, output, prompts
from dslocal.errors import UsageError
from dslocal.gguf.header import GgufHeader
from dslocal.server.wire.logprobs import chat_logprobs
from dslocal.terminal.progress_line import ProgressLine, can_redraw
from dslocal.terminal.sanitise import one_line, sanitise

if TYPE_CHECKING:
    from dslocal.engine import LlamaModel

CUT = 5


class HasModel(Protocol):
    """A context, here or in a server."""

    @property
    def model(self) -> LlamaModel: ...


PATIENCE_S = 2.0


def stdin_text(*, asked: bool = False) -> str | None:
    """What is piped in, as it is; None on a terminal, or when there is no stdin at all. ``asked``:
    there is a question without it.
    """
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return None
    if asked and sys.stderr.isatty():
        _say_when_it_waits()
    data = sys.stdin.buffer.read(prompts.MAX_FILE + 1)
    if len(data) > prompts.MAX_FILE:
        raise UsageError(
            f"stdin: more than {prompts.MAX_FILE:,} bytes",
            hint="no context holds so much: send what matters",
        )
    return prompts.decode_text(data, "stdin")


def _say_when_it_waits() -> None:
    """A pipe that nobody writes to or closes looks as if dslocal hung."""
    with suppress(OSError, ValueError):
        if not select.select([sys.stdin], [], [], PATIENCE_S)[0]:
            print(
                "dslocal: waiting for stdin, which goes with the question (</dev/null leaves it out)",
                file=sys.stderr,
                flush=True,
            )


def pass_on(
    events: Iterable[chat.Event], *, to_stdout: bool, show_reasoning: bool, sure: Callable[[], bool]
) -> None:
    """Writes the answer to stdout and, dim on a terminal, reasoning to stderr.

    ``sure`` says whether what comes as answer is one for certain. Until then it is held back: a
    pipe takes nothing back.
    """
    dim, plain = ("\x1b[2m", "\x1b[0m") if sys.stderr.isatty() and not no_colour() else ("", "")
    reasoning_open = answered = False
    held = ""
    try:
        for event in events:
            match event:
                case output.Reasoning(text) if show_reasoning:
                    sys.stderr.write(dim + sanitise(text) + plain)
                    sys.stderr.flush()
                    reasoning_open = True
                case output.Reclassified():
                    if show_reasoning and held:
                        sys.stderr.write(dim + sanitise(held) + plain)
                        reasoning_open = True
                    held = ""
                case output.Text(text) if to_stdout:
                    held += text
                    if not sure():
                        continue
                    if reasoning_open:
                        sys.stderr.write("\n\n")
                        sys.stderr.flush()
                        reasoning_open = False
                    answered = True
                    sys.stdout.write(sanitise(held))
                    sys.stdout.flush()
                    held = ""
    finally:
        if reasoning_open:
            print(file=sys.stderr)
        if held:
            answered = True
            sys.stdout.write(sanitise(held))
        if answered:
            print(flush=True)


def prefill_progress() -> Callable[[int, int], None] | None:
    """A callback that shows a long prefill on a terminal's stderr, None elsewhere."""
    if not can_redraw():
        return None
    meter = ProgressLine()

    def report(done: int, total: int) -> None:
        if done < total:
            meter.show(f"reading the prompt: {done:,} of {total:,} tokens", done / total)
        else:
            meter.clear()

    return report


def as_json(turn: output.Turn, context: HasModel) -> dict[str, Any]:
    """What ``--json`` says of one answer of ``context``'s model, which is looked at only where
    tokens have to be spelled.
    """
    timings = turn.timings
    logprobs = (
        {}
        if turn.top_logprobs is None
        else {
            "logprobs": [
                chat_logprobs(entry, context.model, with_ids=True) for entry in turn.logprobs
            ]
        }
    )
    return {
        "answer": turn.text,
        "reasoning": turn.reasoning,
        "final": evaluation.boxed_content(turn.text),
        "seed": turn.seed,
        "finish_reason": turn.finish_reason.value if turn.finish_reason else None,
        "usage": {
            "prompt_tokens": turn.prompt_tokens,
            "cached_tokens": turn.cached_tokens,
            "completion_tokens": turn.completion_tokens,
            "reasoning_tokens": turn.reasoning_tokens,
            "drafted": turn.drafted_tokens,
            "accepted": turn.accepted_tokens,
        },
        "timings": {
            "prefill_s": round(timings.prefill, 6) if timings else 0.0,
            "decode_s": round(timings.decode, 6) if timings else 0.0,
            "tokens_per_s": round(turn.tokens_per_s, 2),
            "ttft_s": round(timings.ttft, 6) if timings else 0.0,
        },
        **logprobs,
    }


def with_model(
    fields: dict[str, Any], header: GgufHeader, family: prompts.Family, load_s: float
) -> dict[str, Any]:
    """``fields`` of :func:`as_json` with what they are of."""
    timings = {"load_s": round(load_s, 6), **fields["timings"]}
    return {
        **fields,
        "model": header.text("general.name"),
        "family": family.name,
        "timings": timings,
    }


def statistics(turn: output.Turn) -> str:
    """One line for people."""
    drafts = (
        f", {turn.accepted_tokens:,} of {turn.drafted_tokens:,} drafts right"
        if turn.drafted_tokens
        else ""
    )
    return (
        f"{turn.prompt_tokens:,} + {turn.completion_tokens:,} tokens ({turn.reasoning_tokens:,} of reasoning), "
        f"{turn.tokens_per_s:,.0f} tokens/s{drafts}, seed {turn.seed}"
    )


def leave_if_cut(turns: Sequence[output.Turn]) -> None:
    """Exits with 5, saying so, when one of ``turns`` was cut by its limit or the context."""
    for turn in turns:
        if turn.loop:
            loop = one_line(str(turn.loop), 100) + (
                "" if turn.is_cut else "; its thought was closed"
            )
            print(
                f"dslocal: the model repeats itself: {loop} (a higher temperature helps)",
                file=sys.stderr,
            )
    cut = [turn for turn in turns if turn.is_cut]
    if cut and cut[0].loop:
        raise typer.Exit(CUT)
    if cut:
        after = f"cut after {cut[0].completion_tokens:,} tokens"
        print(f"dslocal: {after} (a larger --max-tokens or --ctx lets it go on)", file=sys.stderr)
        raise typer.Exit(CUT)


def no_colour() -> bool:
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
