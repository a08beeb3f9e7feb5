"""``dslocal eval``: count the questions of a file that a model answers correctly."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.option_groups import (
    EngineOptions,
    LoadOptions,
    SamplingOptions,
    with_option_groups,
)
from dslocal.cli.options import AsJson, Effort, FamilyFlag, ModelFlag, Mtp, Rpc, Think, ThinkBudget
from dslocal.cli.token_counts import token_count

if TYPE_CHECKING:
    from dslocal import prompts
    from dslocal.cli.measuring.evaluation_run import EvaluationRun, Total
    from dslocal.cli.session_setup import ModelFile
    from dslocal.evaluation.problems import Problem
    from dslocal.evaluation.scores import Scores
    from dslocal.plan.overrides import Overrides

MAX_SAMPLES = 1024
MAX_SHOWN_TITLE = 100
MAX_SHOWN_SETTING = 60


@with_option_groups
def evaluate(
    *,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A JSON object with question and answer on each line.",
            show_default=False,
        ),
    ],
    model: ModelFlag = None,
    samples: Annotated[
        int,
        typer.Option(
            "-n",
            "--samples",
            metavar="N",
            min=1,
            max=MAX_SAMPLES,
            help="Generate this many answers to each question.",
        ),
    ] = 1,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", help="The seed of each answer is derived from this one."
        ),
    ] = 0,
    sampling: SamplingOptions,
    think_budget: ThinkBudget = None,
    ctx: Annotated[
        int | None,
        typer.Option(
            "--ctx",
            metavar="N",
            parser=token_count,
            help="Tokens of context; 8k is 8192. [the model's, up to 16384]",
        ),
    ] = None,
    mtp: Mtp = "auto",
    rpc: Rpc = None,
    engine: EngineOptions,
    think: Think = None,
    effort: Effort = None,
    math: Annotated[
        bool,
        typer.Option("--math/--no-math", help="Add the vendor's request for a boxed answer."),
    ] = True,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help="Ask only the first N questions.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write every answer to this file. [FILE.MODEL.results.jsonl in this folder]",
            show_default=False,
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard earlier results and start again.")
    ] = False,
    as_json: AsJson = False,
    family: FamilyFlag = None,
) -> None:
    """Measure a model on questions with known answers.

    An answer is right when its final answer equals the known one: 1/2 = 0.5 = \\frac{1}{2}. The
    final answer is the boxed one, or the one after words such as "the answer is". Repeat the
    command to continue an interrupted run.
    """
    from dslocal import prompts
    from dslocal.cli import session_setup, user_settings
    from dslocal.cli.measuring.evaluation_run import EvaluationRun
    from dslocal.evaluation import results
    from dslocal.evaluation.scores import score

    problems, digest = _read_problems(file, out)
    prepared = session_setup.prepare_chosen_model(engine, model, family)
    chosen, think = prompts.choose_effort(prepared.family, effort, think)
    prepared = replace(prepared, family=chosen)
    flags = sampling.flags(think_budget)
    run = EvaluationRun(
        name=_model_name(prepared, model),
        file=file,
        problems=problems[:limit],
        samples=samples,
        seed=user_settings.checked_seed(seed),
        model=prepared,
        chosen=_chosen_overrides(prepared, LoadOptions(ctx=ctx, mtp=mtp, rpc=rpc)),
        settings=session_setup.settings_for(prepared, prepared.family.defaults, flags),
        thinking=user_settings.chosen_thinking(prepared.family, think).value,
        math=math,
    )
    user_settings.check_budget(think_budget, run.thinking)
    for line in user_settings.ineffective(run.settings, flags, answers=samples):
        print(f"dslocal: {line}", file=sys.stderr)
    decisive = run.decisive_settings(digest)
    target = out or _default_target(file, run.name)
    with results.Results(target, decisive, restart=restart) as kept:
        session_setup.print_advice(prepared.family, run.settings, run.thinking, "")
        resumed = run.draw_missing(kept)
        drawn = [sample for sample in kept.samples.values() if run.has(sample)]
    scores = score(drawn, [problem.answer for problem in run.problems])
    if as_json:
        about = {"file": str(file), "results": str(target), "model": run.name, "resumed": resumed}
        print(json.dumps({**about, **_scores_json(scores, run.total), "settings": decisive}))
    else:
        _print_table(run, scores, target)


def _read_problems(file: Path, out: Path | None) -> tuple[list[Problem], str]:
    """Return the questions and their digest, once it is known that results can be written.

    A checkpoint may have to be converted before the file of results is opened.
    """
    from dslocal.api.arguments.writable import require_writable
    from dslocal.evaluation.problems import read_problems

    if out is not None:
        require_writable(out)
    return read_problems(file)


def _chosen_overrides(file: ModelFile, options: LoadOptions) -> Overrides:
    """Return how the model is loaded, with a context whose size does not depend on free memory.

    Otherwise what is free now would decide whether a run can be resumed.
    """
    from dslocal.cli import user_settings
    from dslocal.cli.load_overrides import load_overrides

    chosen = load_overrides(file, options)
    if file.engine is not None:
        return chosen
    return replace(chosen, n_ctx=user_settings.wanted_context(file.header, chosen))


def _model_name(file: ModelFile, model: str | None) -> str:
    """Return what the model is called: the name it was asked for by, or its file's."""
    if file.engine is not None:
        return file.name
    from dslocal.catalog import resolve
    from dslocal.cli.user_settings import named_model

    found = resolve.resolve_model(named_model(model))
    return found.stem if isinstance(found, Path) else found.name


def _default_target(file: Path, name: str) -> Path:
    """Return where results go: this folder, since that of a data set may be read-only."""
    plain = re.sub(r"[^\w.-]+", "-", name)
    return Path(f"{file.stem}.{plain}.results.jsonl")


def _scores_json(scores: Scores, total: Total) -> dict[str, Any]:
    return {
        "questions": total.questions,
        "samples": total.answers,
        "pass_at_1": round(scores.pass_at_1, 6),
        "stderr": None if scores.stderr is None else round(scores.stderr, 6),
        "consensus": round(scores.consensus, 6),
        "no_answer": scores.no_answer,
        "cut": scores.cut,
        "no_room": scores.no_room,
        "tokens_per_answer": round(scores.tokens / total.answers, 2),
        "tokens_per_s": round(scores.tokens / scores.decode_s, 2) if scores.decode_s else 0.0,
    }


def _print_table(run: EvaluationRun, scores: Scores, target: Path) -> None:
    from dslocal.terminal.sanitise import one_line

    total = run.total
    each = f"{total.samples:,} answer{'s' if total.samples > 1 else ''} each"
    questions = f"{total.questions:,} question{'s' if total.questions > 1 else ''}"
    print(
        f"{one_line(run.title, MAX_SHOWN_TITLE)}: {questions}, {each}, "
        f"{_sampling_text(run.settings)}\n"
    )
    for label, value in _table_rows(total, scores):
        print(f"{label:<18} {value}")
    print(f"{'every answer':<18} {one_line(str(target))}")


def _table_rows(total: Total, scores: Scores) -> Iterator[tuple[str, str]]:
    answers = total.answers
    error = "" if scores.stderr is None else f" ± {scores.stderr:.1%} (standard error)"
    yield "pass@1", f"{scores.pass_at_1:.1%}{error}"
    if total.samples > 1:
        yield f"majority of {total.samples:,}", f"{scores.consensus:.1%}"
    yield "no final answer", f"{scores.no_answer:,} of {answers:,}"
    remedy = " (use a larger --max-tokens or --ctx)" if scores.cut else ""
    yield "cut", f"{scores.cut:,} of {answers:,}{remedy}"
    if scores.no_room:
        yield "did not fit", f"{scores.no_room:,} of {answers:,} (use a larger --ctx)"
    yield "tokens per answer", f"{scores.tokens / answers:,.0f}"
    yield "tokens/s", f"{scores.tokens / scores.decode_s:,.0f}" if scores.decode_s else "0"


def _sampling_text(settings: prompts.Settings) -> str:
    """Return the settings that decide how tokens are sampled, in one line."""
    from dslocal.prompts import format_value
    from dslocal.terminal.sanitise import one_line

    parts = [f"temperature {settings.temperature.value:g}", f"top-p {settings.top_p.value:g}"]
    for name, value in settings.extras().items():
        parts.append(f"{name} {one_line(format_value(value), MAX_SHOWN_SETTING)}")
    return ", ".join(parts)
