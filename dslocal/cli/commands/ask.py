"""``dslocal ask``: one question, one answer, made for shell scripts. Stdout has the answer only;
all else goes to stderr.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli import completion_values
from dslocal.cli.options import (
    AsJson,
    CpuMoe,
    Ctx,
    FamilyFlag,
    FrequencyPenalty,
    GpuLayers,
    Kv,
    LogitBias,
    Logprobs,
    MathFlag,
    MaxTokens,
    MinP,
    ModelFlag,
    Mtp,
    PresencePenalty,
    RepeatPenalty,
    Seed,
    Stop,
    Temperature,
    Think,
    ThinkBudget,
    TopK,
    TopP,
    top_logprobs,
)
from dslocal.errors import DslocalError, ExitCode, UsageError
from dslocal.terminal.sanitise import one_line, sanitise

if TYPE_CHECKING:
    from dslocal import evaluation, output
    from dslocal.cli.asking.samples import Samples
    from dslocal.engine import LlamaContext

MAX_SAMPLES = 1024
VOTERS = 8  # answers that --vote draws when not told how many
BETWEEN = "---"  # the line between two answers of -n


def ask(  # noqa: PLR0915
    prompt: Annotated[
        str | None,
        typer.Argument(
            help="The question. With something on stdin as well, that comes before it.",
            show_default=False,
        ),
    ] = None,
    model: ModelFlag = None,
    system: Annotated[
        str, typer.Option("-s", "--system", help="Instructions that go before the question.")
    ] = "",
    file: Annotated[
        list[Path] | None,
        typer.Option("-f", "--file", help="Attach a text file. Repeatable.", show_default=False),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            "-t",
            "--template",
            metavar="NAME",
            help="A named prompt of config.toml; its {input} is the question and stdin.",
            show_default=False,
            autocompletion=completion_values.templates,
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--param",
            metavar="NAME=VALUE",
            help="A variable of the template. Repeatable.",
            show_default=False,
        ),
    ] = None,
    search_results: Annotated[
        Path | None,
        typer.Option(
            "--search-results",
            help="Answer from web pages: a JSON list of title, url, date and content.",
        ),
    ] = None,
    think: Think = None,
    think_budget: ThinkBudget = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            "--schema",
            help="Answer with JSON as this JSON Schema says. Reasoning stays free.",
            show_default=False,
        ),
    ] = None,
    grammar: Annotated[
        Path | None,
        typer.Option(
            "--grammar",
            help="Answer in this GBNF grammar. Reasoning stays free.",
            show_default=False,
        ),
    ] = None,
    math: MathFlag = None,
    final: Annotated[
        bool, typer.Option("--final", help="Ask for a boxed final answer and print that alone.")
    ] = False,
    samples: Annotated[
        int | None,
        typer.Option(
            "-n", "--samples", help="Draw N answers; the k-th has the seed + k.", show_default=False
        ),
    ] = None,
    vote: Annotated[
        bool,
        typer.Option(
            "--vote",
            help=f"Print the final answer that most of the samples give. [{VOTERS} of them without -n]",
        ),
    ] = False,
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
    kv: Kv = None,
    n_gpu_layers: GpuLayers = None,
    cpu_moe: CpuMoe = None,
    mtp: Mtp = "auto",
    show_thinking: Annotated[
        bool | None,
        typer.Option(
            "--show-thinking/--hide-thinking", help="Reasoning on stderr. [when it is a terminal]"
        ),
    ] = None,
    family: FamilyFlag = None,
    cold: Annotated[
        bool,
        typer.Option("--cold", help="Load the model here, though a running dslocal serve has it."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent, and generate nothing.")
    ] = False,
) -> None:
    """Answer one question. Stdout has the answer only."""
    from dslocal import output, prompts
    from dslocal.cli import session_setup
    from dslocal.cli.asking import ask_input, serve_client
    from dslocal.cli.asking.samples import Samples

    from . import templates

    _refuse_two_ways(bool(param), template, schema, grammar, final=final, vote=vote)
    count = _count(samples, vote=vote)
    chosen = templates.named(template) if template else None
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
    top = top_logprobs(logprobs, as_json=as_json)
    session_setup.check(
        flags, seed, family, chosen, kv=kv, n_gpu_layers=n_gpu_layers, cpu_moe=cpu_moe, mtp=mtp
    )
    ask_input.require([*(file or []), search_results, schema, grammar])
    said = ask_input.read(prompt, system, chosen, param or [], file or [])
    wanted = model or (chosen.model if chosen else None)
    session_setup.greet(wanted)
    warmly = not (
        cold or dry_run or grammar or kv or n_gpu_layers is not None or cpu_moe or mtp != "auto"
    )
    prepare = partial(session_setup.prepare, wanted, family, remember=bool(model) and not dry_run)
    search = serve_client.Search()
    path, header, spoken = prepare(known=search.known if warmly else None)
    settings = session_setup.settings_for(spoken.defaults, flags, chosen)
    overrides = session_setup.pins_for(header, ctx, kv, n_gpu_layers, cpu_moe, mtp)
    drawn = session_setup.new_seed(seed)
    thinking = session_setup.thinking_for(spoken, think, chosen)
    if think_budget is not None and thinking.value in (
        prompts.Thinking.NONE,
        prompts.Thinking.BYPASSED,
    ):
        raise UsageError(
            "--think-budget: there is no reasoning to end",
            hint="with --think there is, where the model knows it",
        )
    form = (
        output.read_schema(schema) if schema else output.read_grammar(grammar) if grammar else None
    )
    if math is None and (final or vote or form):
        math = form is None  # a boxed answer is another shape than the one asked for
    question = prompts.compose_question(
        spoken,
        said.question,
        beside=said.beside,
        files=file or [],
        results=search_results,
        math=math,
    )
    messages = ([prompts.Message("system", said.system)] if said.system else []) + [
        prompts.Message("user", question.text)
    ]
    prompted = spoken.render(
        messages, thinking.value
    )  # or what the family refuses would show only once it is loaded
    if dry_run:
        from dslocal.cli.asking import dry_run as dry

        dry.show(
            path,
            header,
            spoken,
            prompted,
            dry.settings(settings, path, header, ctx, overrides, thinking, question, form),
            as_json=as_json,
        )
        return
    session_setup.advise(
        spoken,
        settings,
        thinking.value,
        said.system,
        None if form else prompts.directive_advice(spoken, said.question, math),
    )
    if form and form.unheld:
        print(
            f"dslocal: {form.source}: only checked once the answer is there: {one_line('; '.join(form.unheld), 200)}",
            file=sys.stderr,
        )
    visible = sys.stderr.isatty() and not vote if show_thinking is None else show_thinking

    def draw(context: LlamaContext | serve_client.ServeClient, load_s: float) -> None:
        run = Samples(
            context,
            spoken,
            settings,
            said.system,
            thinking.value,
            question.text,
            header,
            load_s,
            visible,
            top,
            form,
        )
        if count > 1 or vote:
            _several(run, drawn, count, vote=vote, as_json=as_json)
        else:
            _one(run, drawn, final=final, as_json=as_json)

    if search.found:
        if search.answered(path, overrides, draw):
            return
        path, header, spoken = prepare()  # the whole header, which was not read so far
        overrides = session_setup.pins_for(header, ctx, kv, n_gpu_layers, cpu_moe, mtp)
    began = time.perf_counter()
    with session_setup.running(path, header, overrides) as context:
        draw(context, time.perf_counter() - began)


def _one(run: Samples, seed: int, *, final: bool, as_json: bool) -> None:
    from dslocal import evaluation
    from dslocal.cli.asking.answer_output import statistics

    session = run.session()
    try:
        run.stream(session, seed, to_stdout=not (as_json or final or run.held))
    finally:
        turn = session.turn
        if turn and as_json:
            print(json.dumps(run.as_json(turn)))
        if turn and run.visible:
            print(statistics(turn), file=sys.stderr)
    if turn is None:
        return
    if not as_json:
        run.show(turn)
    if final and not as_json:
        answer = evaluation.boxed_content(turn.text)
        if answer is not None:
            print(sanitise(answer))
        elif not turn.is_cut:
            raise DslocalError(
                "the answer has no \\boxed{} in it",
                hint="without --final the whole answer is printed",
            )
    run.leave_if_wrong([turn])


def _several(run: Samples, seed: int, count: int, *, vote: bool, as_json: bool) -> None:
    """Draws ``count`` answers of one prefill; prints them, or what most of them say."""
    turns: list[output.Turn] = []
    try:
        _draw(run, seed, count, turns, vote=vote, as_json=as_json)
    except KeyboardInterrupt:
        if as_json and turns:
            print(
                json.dumps(
                    _vote_json(run, turns, [None] * len(turns), None)
                    if vote
                    else _samples_json(run, turns)
                )
            )
        raise
    if not vote:
        if as_json:
            print(json.dumps(_samples_json(run, turns)))
        run.leave_if_wrong(turns)
        return
    finals = run.finals(turns)
    result = run.majority(finals)
    if as_json:
        print(json.dumps(_vote_json(run, turns, finals, result)))
    if result.answer is None:
        print(
            f"dslocal: no majority among {count} answers (a larger -n may have one; -n {count} alone prints them)",
            file=sys.stderr,
        )
        raise typer.Exit(ExitCode.NO_MAJORITY)
    if not as_json:
        print(sanitise(result.answer))
        print(f"{result.votes} of {result.total} agree", file=sys.stderr)


def _draw(
    run: Samples, seed: int, count: int, turns: list[output.Turn], *, vote: bool, as_json: bool
) -> None:
    """Appends ``count`` answers to ``turns``, also the one that is interrupted."""
    from dslocal.cli.asking.answer_output import statistics
    from dslocal.terminal.progress_line import ProgressLine

    meter = ProgressLine(eager=True)
    for number in range(count):
        if (vote or as_json) and not run.visible:
            meter.show(f"answer {number + 1} of {count}", number / count)
        session = run.session()
        try:
            run.stream(session, seed + number, to_stdout=not (vote or as_json or run.held))
        finally:
            meter.clear()
            turns += [session.turn] if session.turn else []
        if run.visible:
            print(statistics(turns[-1]), file=sys.stderr)
        if not (vote or as_json):
            run.show(turns[-1])
        if number + 1 < count and not (vote or as_json):
            print(BETWEEN, flush=True)


def _samples_json(run: Samples, turns: list[output.Turn]) -> dict[str, Any]:
    samples = [run.as_json(turn) for turn in turns]
    return {**samples[0], "samples": samples}


def _vote_json(
    run: Samples, turns: list[output.Turn], finals: list[str | None], result: evaluation.Vote | None
) -> dict[str, Any]:
    """The fields of the first answer of the majority, all samples beside them; without a majority,
    or a count, there is no answer.
    """
    samples = [run.as_json(turn) for turn in turns]
    if result is None or result.answer is None:
        shown = {**samples[0], "answer": None, "reasoning": None, "final": None}
    else:
        shown = {**samples[finals.index(result.answer)], "final": result.answer}
    counted = result and {
        "votes": result.votes,
        "of": result.total,
        "agreement": round(result.votes / result.total, 4),
    }
    return {**shown, "samples": samples, "vote": counted}


def _count(samples: int | None, *, vote: bool) -> int:
    if samples is None:
        return VOTERS if vote else 1
    if not 1 <= samples <= MAX_SAMPLES:
        raise UsageError(f"-n {samples} is out of range", hint=f"1 to {MAX_SAMPLES}")
    if vote and samples < 2:
        raise UsageError("a vote needs two answers at least", hint="-n 8 --vote")
    return samples


def _refuse_two_ways(
    params: bool,
    template: str | None,
    schema: Path | None,
    grammar: Path | None,
    *,
    final: bool,
    vote: bool,
) -> None:
    """Raises UsageError for options that exclude or need each other."""
    if params and not template:
        raise UsageError(
            "-p has no place without a template", hint="-t NAME; dslocal templates lists them"
        )
    if final and vote:
        raise UsageError(
            "--final and --vote are two ways to print a final answer",
            hint="--vote alone prints the majority's",
        )
    if schema and (grammar or final):
        raise UsageError(
            f"--schema and {'--grammar' if grammar else '--final'} are two ways to shape an answer",
            hint="one of them",
        )
