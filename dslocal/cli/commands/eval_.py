"""``dslocal eval``: how many questions of a file a model answers right, by final answers that are
compared exactly.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.options import (
    FamilyFlag,
    FrequencyPenalty,
    LogitBias,
    MinP,
    ModelFlag,
    Mtp,
    PresencePenalty,
    RepeatPenalty,
    Stop,
    Think,
    ThinkBudget,
    TopK,
)
from dslocal.errors import ExitCode
from dslocal.files import sampled_fingerprint

if TYPE_CHECKING:
    from dslocal import prompts
    from dslocal.evaluation.problems import Problem
    from dslocal.evaluation.results import Results
    from dslocal.evaluation.scores import Scores
    from dslocal.gguf.header import GgufHeader
    from dslocal.plan.search import Overrides

MAX_SAMPLES = 1024


def evaluate(
    file: Annotated[
        Path, typer.Argument(help="JSON lines, each with question and answer.", show_default=False)
    ],
    model: ModelFlag = None,
    samples: Annotated[
        int,
        typer.Option(
            "-n", "--samples", min=1, max=MAX_SAMPLES, help="Answers to draw for each question."
        ),
    ] = 1,
    seed: Annotated[
        int, typer.Option("--seed", help="Each answer's own seed comes from this one.")
    ] = 0,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", help="0 takes the likeliest token. [the model's]"),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option("--top-p", help="Keep the likeliest tokens up to this share. [the model's]"),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", help="Tokens of reasoning and answer at most. [the model's]"),
    ] = None,
    top_k: TopK = None,
    min_p: MinP = None,
    presence_penalty: PresencePenalty = None,
    frequency_penalty: FrequencyPenalty = None,
    repeat_penalty: RepeatPenalty = None,
    logit_bias: LogitBias = None,
    stop: Stop = None,
    think_budget: ThinkBudget = None,
    ctx: Annotated[
        int | None, typer.Option("--ctx", help="Tokens of context. [the model's, up to 16384]")
    ] = None,
    mtp: Mtp = "auto",
    think: Think = None,
    math: Annotated[
        bool,
        typer.Option("--math/--no-math", help="Ask for a boxed answer, as the makers word it."),
    ] = True,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="The first N questions only.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Where every answer is written. [FILE.MODEL.results.jsonl, in this folder]",
            show_default=False,
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, though there are results.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    family: FamilyFlag = None,
) -> None:
    """Measure a model on questions with known answers. Interrupted, the same command goes on where
    it was.

    An answer is right when its final answer, boxed or said to be the answer, equals the known one:
    1/2 = 0.5 = \\frac{1}{2}.
    """
    from dslocal import __version__
    from dslocal.cli import session_setup
    from dslocal.evaluation import results
    from dslocal.evaluation.problems import read_problems
    from dslocal.evaluation.scores import score

    problems, digest = read_problems(file)
    problems = problems[:limit]
    path, header, spoken = session_setup.prepare(model, family)
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
        "think_budget": think_budget,
    }
    settings = session_setup.settings_for(spoken.defaults, flags)
    overrides = session_setup.pins_for(header, ctx, mtp=mtp)
    overrides = replace(
        overrides, n_ctx=session_setup.wanted_context(header, overrides)
    )  # or what is free now would decide whether a run can be resumed
    thinking = session_setup.thinking_for(spoken, think).value
    name = _name(model)
    decisive = {
        "dslocal": __version__,
        "questions": digest,
        "model": sampled_fingerprint(path)[:16],
        "family": spoken.name,
        "thinking": thinking.value,
        "math": math,
        "temperature": settings.temperature.value,
        "top_p": settings.top_p.value,
        "max_tokens": settings.max_tokens.value,
        "ctx": overrides.n_ctx or 0,
        "seed": session_setup.new_seed(seed),
        "n": samples,
        **{
            name: value if isinstance(value, int | float) else json.dumps(value)
            for name, value in settings.extras().items()
        },
    }
    target = out or _target(file, name)
    with results.Results(target, decisive, restart=restart) as kept:
        session_setup.advise(spoken, settings, thinking, "")
        missing = _missing(kept, len(problems), samples)
        resumed = len(problems) * samples - sum(map(len, missing.values()))
        if missing:
            way = (spoken, settings, thinking, math, seed)
            _run(
                (path, header, overrides),
                way,
                problems,
                missing,
                kept,
                name=f"{name} on {file.name}",
                total=len(problems) * samples,
            )
        drawn = [sample for sample in kept.samples.values() if sample.problem < len(problems)]
    scores = score(drawn, [problem.answer for problem in problems])
    if as_json:
        about = {"file": str(file), "results": str(target), "model": name, "resumed": resumed}
        print(
            json.dumps({**about, **_fields(scores, len(problems), samples), "settings": decisive})
        )
    else:
        _print_table(f"{name} on {file.name}", scores, len(problems), samples, settings, target)


def _run(
    model: tuple[Path, GgufHeader, Overrides],
    way: tuple[prompts.Family, prompts.Settings, prompts.Thinking, bool, int],
    problems: list[Problem],
    missing: dict[int, list[int]],
    kept: Results,
    *,
    name: str,
    total: int,
) -> None:
    """Draws every sample that is missing and keeps each as it comes."""
    from dslocal.cli import session_setup
    from dslocal.cli.asking.examination import Examination
    from dslocal.terminal.reports.eval_progress import show_eval_progress

    def state() -> tuple[int, int]:
        """Answers that are there, and the right ones."""
        here = [sample for sample in kept.samples.values() if sample.problem < len(problems)]
        return len(here), sum(sample.correct for sample in here)

    try:
        with (
            session_setup.running(*model) as context,
            show_eval_progress(name, *state(), total) as report,
        ):
            done, right = state()
            examination = Examination(context, *way)
            for place, numbers in missing.items():
                for sample in examination.samples(place, problems[place], numbers):
                    kept.add(sample)
                    done, right = done + 1, right + sample.correct
                    report(done, right, sample.tokens)
    except KeyboardInterrupt:
        print(
            f"dslocal: stopped at {state()[0]:,} of {total:,} answers; the same command goes on from there",
            file=sys.stderr,
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _missing(kept: Results, problems: int, samples: int) -> dict[int, list[int]]:
    """The samples that are still to be drawn, by problem."""
    wanted = {
        place: [number for number in range(samples) if (place, number) not in kept.samples]
        for place in range(problems)
    }
    return {place: numbers for place, numbers in wanted.items() if numbers}


def _name(model: str | None) -> str:
    """What the model is called: the name it was asked for by, or its file's."""
    from dslocal.catalog import resolve
    from dslocal.cli import session_setup

    found = resolve.resolve_model(session_setup.named_model(model))
    return found.stem if isinstance(found, Path) else found.name


def _target(file: Path, name: str) -> Path:
    """Where results go by default: this folder, since that of a data set may be read-only."""
    plain = re.sub(r"[^\w.-]+", "-", name)
    return Path(f"{file.stem}.{plain}.results.jsonl")


def _fields(scores: Scores, questions: int, samples: int) -> dict[str, Any]:
    total = questions * samples
    return {
        "questions": questions,
        "samples": total,
        "pass_at_1": round(scores.pass_at_1, 6),
        "stderr": None if scores.stderr is None else round(scores.stderr, 6),
        "consensus": round(scores.consensus, 6),
        "no_answer": scores.no_answer,
        "cut": scores.cut,
        "no_room": scores.no_room,
        "tokens_per_answer": round(scores.tokens / total, 2),
        "tokens_per_s": round(scores.tokens / scores.decode_s, 2) if scores.decode_s else 0.0,
    }


def _print_table(
    title: str,
    scores: Scores,
    questions: int,
    samples: int,
    settings: prompts.Settings,
    target: Path,
) -> None:
    from dslocal import prompts
    from dslocal.terminal.sanitise import one_line

    total = questions * samples
    sampled = f"temperature {settings.temperature.value:g}, top-p {settings.top_p.value:g}"
    sampled += "".join(
        f", {name} {one_line(prompts.format_value(value), 60)}"
        for name, value in settings.extras().items()
    )
    print(
        f"{one_line(title, 100)}: {questions:,} questions, {samples:,} answer{'s' if samples > 1 else ''} each, {sampled}\n"
    )
    error = "" if scores.stderr is None else f" ± {scores.stderr:.1%} (standard error)"
    rows = [("pass@1", f"{scores.pass_at_1:.1%}{error}")]
    if samples > 1:
        rows.append((f"majority of {samples:,}", f"{scores.consensus:.1%}"))
    rows += [
        ("no final answer", f"{scores.no_answer:,} of {total:,}"),
        (
            "cut",
            f"{scores.cut:,} of {total:,}"
            + (" (a larger --max-tokens or --ctx lets them go on)" if scores.cut else ""),
        ),
    ]
    if scores.no_room:
        rows.append(("did not fit", f"{scores.no_room:,} of {total:,} (a larger --ctx has room)"))
    rows += [
        ("tokens an answer", f"{scores.tokens / total:,.0f}"),
        ("tokens/s", f"{scores.tokens / scores.decode_s:,.0f}" if scores.decode_s else "0"),
        ("every answer", one_line(str(target))),
    ]
    for label, value in rows:
        print(f"{label:<18} {value}")
