"""The options of ``dslocal ask``, in the order in which its help lists them."""

# Annotations are not strings here, as in option_groups.

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dslocal.cli import options
from dslocal.cli.completion import values as completion_values
from dslocal.cli.option_groups import EngineOptions, Flags, LoadOptions, SamplingOptions
from dslocal.errors import UsageError

MAX_SAMPLES = 1024
DEFAULT_VOTERS = 8


@dataclass(frozen=True)
class QuestionOptions:
    """What is asked, and of which model."""

    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="QUESTION",
            help="The question. Text from stdin is put before it.",
            show_default=False,
        ),
    ] = None
    model: options.ModelFlag = None
    system: Annotated[
        str,
        typer.Option(
            "-s",
            "--system",
            metavar="TEXT",
            help="The system prompt: instructions before the question.",
        ),
    ] = ""
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "-f",
            "--file",
            metavar="FILE",
            help="Attach a text file. Repeatable.",
            show_default=False,
        ),
    ] = None
    template: Annotated[
        str | None,
        typer.Option(
            "-t",
            "--template",
            metavar="NAME",
            help="Use a prompt of config.toml; {input} in it becomes stdin and the question.",
            show_default=False,
            autocompletion=completion_values.templates,
        ),
    ] = None
    param: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--param",
            metavar="NAME=VALUE",
            help="Set a variable of the template. Repeatable.",
            show_default=False,
        ),
    ] = None
    search_results: Annotated[
        Path | None,
        typer.Option(
            "--search-results",
            metavar="FILE",
            help="Answer from the web pages of this file: a JSON list of objects with title, url, "
            "date and content.",
        ),
    ] = None


@dataclass(frozen=True)
class AnswerOptions:
    """What the answer is like."""

    think: options.Think = None
    effort: options.Effort = None
    think_budget: options.ThinkBudget = None
    schema: Annotated[
        Path | None,
        typer.Option(
            "--schema",
            metavar="FILE",
            help="Answer with JSON that is valid under this JSON Schema. It does not constrain the "
            "reasoning.",
            show_default=False,
        ),
    ] = None
    grammar: Annotated[
        Path | None,
        typer.Option(
            "--grammar",
            metavar="FILE",
            help="Answer with text that this GBNF grammar accepts. It does not constrain the "
            "reasoning.",
            show_default=False,
        ),
    ] = None
    math: options.MathFlag = None


@dataclass(frozen=True)
class OutputOptions:
    """How many answers are drawn, and what of them is printed."""

    final: Annotated[
        bool, typer.Option("--final", help="Ask for a boxed final answer, and print only that.")
    ] = False
    samples: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--samples",
            metavar="N",
            help="Generate N answers; answer k has the seed + k.",
            show_default=False,
        ),
    ] = None
    vote: Annotated[
        bool,
        typer.Option(
            "--vote",
            help=(
                "Print the final answer that more than half of N samples give. [without -n: "
                f"{DEFAULT_VOTERS} samples]"
            ),
        ),
    ] = False
    as_json: options.AsJson = False

    @property
    def count(self) -> int:
        """Return how many answers are drawn."""
        if self.samples is None:
            return DEFAULT_VOTERS if self.vote else 1
        return self.samples

    def check_count(self) -> None:
        """Refuse a number of answers that is out of range.

        Raises:
            UsageError: It is.
        """
        if not 1 <= self.count <= MAX_SAMPLES:
            raise UsageError(f"-n {self.count} is out of range", hint=f"1 to {MAX_SAMPLES}")
        if self.vote and self.count < 2:
            raise UsageError("--vote needs at least two answers", hint="-n 8 --vote")


@dataclass(frozen=True, kw_only=True)
class AskOptions:
    """All options of ``dslocal ask``."""

    question: QuestionOptions
    answer: AnswerOptions
    output: OutputOptions
    seed: options.Seed = None
    sampling: SamplingOptions
    logprobs: options.Logprobs = None
    load: LoadOptions
    engine: EngineOptions
    show_thinking: Annotated[
        bool | None,
        typer.Option(
            "--show-thinking/--hide-thinking", help="Print the reasoning on stderr. [on a terminal]"
        ),
    ] = None
    family: options.FamilyFlag = None
    cold: Annotated[
        bool,
        typer.Option("--cold", help="Load the model even if a running dslocal serve has it."),
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the prompt and the settings, and generate nothing."),
    ] = False

    @property
    def flags(self) -> Flags:
        """Return the sampling options by the name of their setting."""
        return self.sampling.flags(self.answer.think_budget)

    @property
    def files(self) -> list[Path]:
        """Return all files that are read."""
        named = [self.question.search_results, self.answer.schema, self.answer.grammar]
        return [*(self.question.file or []), *(file for file in named if file is not None)]

    @property
    def allows_server(self) -> bool:
        """Return whether a running server may answer, as far as the options say.

        It cannot where something was decided that a running server may not have, or that only this
        process shows.
        """
        is_local = self.cold or self.dry_run or self.answer.grammar is not None
        return not is_local and self.load.is_default_placement

    def check_combinations(self) -> None:
        """Refuse options that exclude or need each other.

        Raises:
            UsageError: Two of them do.
        """
        output, answer = self.output, self.answer
        if self.question.param and not self.question.template:
            raise UsageError(
                "-p needs a template", hint="add -t NAME; dslocal templates lists the templates"
            )
        shapes = {"--schema": answer.schema, "--grammar": answer.grammar, "--final": output.final}
        given = [name for name, value in shapes.items() if value]
        if len(given) > 1:
            raise UsageError(
                f"{given[0]} and {given[1]} cannot be combined", hint="use one of them"
            )
        if answer.math is False and (output.final or output.vote):
            asked = "--vote" if output.vote else "--final"
            if not (answer.schema or answer.grammar):
                raise UsageError(
                    f"{asked} needs the boxed answer that --no-math leaves out",
                    hint="use one of them",
                )
        if answer.think_budget is not None and answer.think is False:
            raise UsageError(
                "--think-budget and --no-think cannot be combined", hint="use one of them"
            )
        output.check_count()
