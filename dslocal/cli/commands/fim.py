"""``dslocal fim``: generate the text between two others.

Stdout has only this text, for editors and scripts.
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

from dslocal.cli.option_groups import (
    EngineOptions,
    LoadOptions,
    SamplingOptions,
    with_option_groups,
)
from dslocal.cli.options import (
    AsJson,
    Ctx,
    FamilyFlag,
    Logprobs,
    ModelFlag,
    Mtp,
    Rpc,
    Seed,
    checked_logprobs,
)
from dslocal.errors import EngineError, UsageError
from dslocal.terminal.sanitise import one_line, sanitise

if TYPE_CHECKING:
    from dslocal import output, prompts
    from dslocal.engine import EngineContext

REASONING_TAG = re.compile(r"</?think>")


@with_option_groups
def fim(
    *,
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]:LINE",
            help=(
                "The gap: that line if it is blank, otherwise the place before it. Without FILE, "
                "stdin is the file."
            ),
            show_default=False,
        ),
    ] = None,
    model: ModelFlag = None,
    prefix: Annotated[
        str | None,
        typer.Option(
            "--prefix", metavar="TEXT", help="The text before the gap.", show_default=False
        ),
    ] = None,
    suffix: Annotated[
        str | None,
        typer.Option(
            "--suffix", metavar="TEXT", help="The text after the gap.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    seed: Seed = None,
    sampling: SamplingOptions,
    logprobs: Logprobs = None,
    ctx: Ctx = None,
    mtp: Mtp = "auto",
    rpc: Rpc = None,
    engine: EngineOptions,
    family: FamilyFlag = None,
) -> None:
    """Fill a gap in code or text."""
    from dslocal import output
    from dslocal.cli import session_setup, user_settings
    from dslocal.cli.asking.answer_json import answer_json
    from dslocal.cli.asking.answer_output import exit_if_incomplete, printed_at_the_end
    from dslocal.cli.load_overrides import load_overrides

    top_logprobs = checked_logprobs(logprobs, as_json=as_json)
    gap = _find_gap(place, prefix, suffix)
    load = LoadOptions(ctx=ctx, mtp=mtp, rpc=rpc)
    user_settings.check_values(sampling.flags(), seed, family, load)
    file = session_setup.prepare_chosen_model(engine, model, family)
    file.family.render_fim(gap.prefix, gap.suffix)  # raises, before loading, where it cannot
    defaults = file.family.fim.defaults if file.family.fim else file.family.defaults
    settings = session_setup.settings_for(file, defaults, sampling.flags())
    for line in user_settings.ineffective(settings, sampling.flags()):
        print(f"dslocal: {line}", file=sys.stderr)
    chosen = load_overrides(file, load)
    turn = output.Turn(
        prompt_tokens=0, seed=user_settings.checked_seed(seed), top_logprobs=top_logprobs
    )
    began = time.perf_counter()
    with session_setup.open_context(file, chosen) as context:
        load_s = time.perf_counter() - began

        def print_result(failure: str) -> None:
            if as_json:
                print(json.dumps(answer_json(turn, context, file, load_s, failure)))
            elif turn.text and not REASONING_TAG.search(turn.text):
                print(sanitise(turn.text), flush=True)

        with printed_at_the_end(print_result):
            _fill(turn, context, file.family, settings, gap)
    if REASONING_TAG.search(turn.text):
        raise EngineError(
            f"{file.name} reasoned instead of filling the gap",
            hint="try another --seed, or a code model: dslocal fit --all lists them",
        )
    exit_if_incomplete([turn])


def _fill(
    turn: output.Turn,
    context: EngineContext,
    family: prompts.Family,
    settings: prompts.Settings,
    gap: prompts.Gap,
) -> None:
    """Generate the text of the gap into ``turn``.

    It is printed when all of it is there: only its end shows that a model reasoned.
    """
    from dslocal import output
    from dslocal.cli.asking.answer_output import prefill_progress

    with closing(
        output.fill_gap(turn, context, family, settings, gap, on_prefill=prefill_progress())
    ) as pieces:
        for _ in pieces:
            pass


def _find_gap(place: str | None, prefix: str | None, suffix: str | None) -> prompts.Gap:
    """Return the gap that the options describe, or that FILE:LINE has.

    Raises:
        UsageError: They describe none, or two.
        NotFoundError: The file does not exist.
    """
    from dslocal import prompts
    from dslocal.cli.asking.ask_input import read_stdin

    if place is None:
        if prefix is None and suffix is None:
            raise UsageError("no gap is named", hint="give FILE:LINE, or --prefix and --suffix")
        return prompts.Gap(prefix or "", suffix or "")
    if prefix is not None or suffix is not None:
        raise UsageError(
            "FILE:LINE cannot be combined with --prefix or --suffix", hint="use one of them"
        )
    found = re.fullmatch(r"(.*):(\d{1,9})", place, re.DOTALL)
    if not found:
        raise UsageError(f"{place!r:.80} is not FILE:LINE", hint="for example area.py:3")
    name = found[1]
    file = prompts.read_file(Path(name)) if name else read_stdin()
    if file and file.note:
        print(f"dslocal: {one_line(file.note)}", file=sys.stderr)
    return prompts.gap_at(file.text if file else "", int(found[2]), name or "stdin")
