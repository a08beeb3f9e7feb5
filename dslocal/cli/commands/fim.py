"""``dslocal fim``: the text that belongs between two others. Stdout has it alone, for editors and
scripts.
"""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dslocal.cli.options import (
    AsJson,
    Ctx,
    FamilyFlag,
    FrequencyPenalty,
    LogitBias,
    Logprobs,
    MaxTokens,
    MinP,
    ModelFlag,
    Mtp,
    PresencePenalty,
    RepeatPenalty,
    Seed,
    Stop,
    Temperature,
    TopK,
    TopP,
    top_logprobs,
)
from dslocal.errors import UsageError

if TYPE_CHECKING:
    from dslocal import prompts


def fim(
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]:LINE",
            help="The gap: that line if it is blank, else before it. Without FILE, stdin is the file.",
            show_default=False,
        ),
    ] = None,
    model: ModelFlag = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="What stands before the gap.", show_default=False)
    ] = None,
    suffix: Annotated[
        str | None, typer.Option("--suffix", help="What stands after the gap.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    seed: Seed = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    top_k: TopK = None,
    min_p: MinP = None,
    presence_penalty: PresencePenalty = None,
    frequency_penalty: FrequencyPenalty = None,
    repeat_penalty: RepeatPenalty = None,
    logit_bias: LogitBias = None,
    stop: Stop = None,
    logprobs: Logprobs = None,
    ctx: Ctx = None,
    mtp: Mtp = "auto",
    family: FamilyFlag = None,
) -> None:
    """Fill in the middle of code or text, and print what belongs there."""
    from dslocal import output
    from dslocal.cli import session_setup
    from dslocal.cli.asking.answer_output import as_json as fields_of
    from dslocal.cli.asking.answer_output import leave_if_cut, prefill_progress, with_model
    from dslocal.terminal.sanitise import sanitise

    top = top_logprobs(logprobs, as_json=as_json)
    gap = _gap(place, prefix, suffix)
    flags = {
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "top_k": top_k,
        "min_p": min_p,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "repeat_penalty": repeat_penalty,
        "logit_bias": logit_bias,
        "stop": stop,
    }
    session_setup.check(flags, seed, family, mtp=mtp)
    path, header, spoken = session_setup.prepare(model, family)
    spoken.render_fim(gap.prefix, gap.suffix)  # or the error would come after loading
    defaults = spoken.fim.defaults if spoken.fim else spoken.defaults
    settings = session_setup.settings_for(defaults, flags)
    overrides = session_setup.pins_for(header, ctx, mtp=mtp)
    turn = output.Turn(prompt_tokens=0, seed=session_setup.new_seed(seed), top_logprobs=top)
    began = time.perf_counter()
    with session_setup.running(path, header, overrides) as context:
        load_s = time.perf_counter() - began
        try:
            with closing(
                output.fill_gap(turn, context, spoken, settings, gap, on_prefill=prefill_progress())
            ) as pieces:
                for piece in pieces:
                    if not as_json:
                        sys.stdout.write(sanitise(piece))
                        sys.stdout.flush()
        finally:
            if as_json:
                print(json.dumps(with_model(fields_of(turn, context), header, spoken, load_s)))
            elif turn.text:
                print(flush=True)
    leave_if_cut([turn])


def _gap(place: str | None, prefix: str | None, suffix: str | None) -> prompts.Gap:
    from dslocal import prompts
    from dslocal.cli.asking.answer_output import stdin_text

    if place is None:
        if prefix is None and suffix is None:
            raise UsageError("which gap?", hint="dslocal fim FILE:LINE, or --prefix and --suffix")
        return prompts.Gap(prefix or "", suffix or "")
    if prefix is not None or suffix is not None:
        raise UsageError(
            "FILE:LINE and --prefix or --suffix are two ways to say where", hint="one of them"
        )
    found = re.fullmatch(r"(.*):(\d{1,9})", place, re.DOTALL)
    if not found:
        raise UsageError(f"{place!r:.80} is no FILE:LINE", hint="as area.py:3")
    name, line = found[1], int(found[2])
    text = prompts.read_text(Path(name)) if name else stdin_text() or ""
    return prompts.gap_at(text, line, name or "stdin")
