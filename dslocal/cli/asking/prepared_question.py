"""The question of ``dslocal ask``, ready to be answered: everything that can be wrong was checked
before a model is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dslocal import output, prompts
from dslocal.api.model_file import read_family
from dslocal.cli import engine_choice, session_setup, user_settings
from dslocal.cli.load_overrides import load_overrides
from dslocal.cli.options import checked_logprobs
from dslocal.cli.session_setup import KnownFile, ModelFile
from dslocal.files import names_stdin
from dslocal.plan.overrides import Overrides
from dslocal.terminal.sanitise import one_line, sanitise_line

from . import ask_input, prompt_templates
from .ask_input import AskInput
from .ask_options import AskOptions

MAX_SHOWN_REASONS = 200


@dataclass(frozen=True)
class PreparedQuestion:
    """What is asked, of which model, and how it is answered.

    Attributes:
        file: The model.
        chosen: What the user decided about loading it.
        settings: How tokens are sampled.
        thinking: How the answer begins.
        seed: The seed of the first answer; the k-th has ``seed`` + k.
        system: Instructions.
        question: The text that is sent, and why a directive was added to it or not.
        prompt: The segments of the whole prompt.
        constraint: What the answer must look like.
        top_logprobs: How many alternatives each token's logprobs have; None for no logprobs.
        advice: A line about a directive that was left out.
    """

    file: ModelFile
    chosen: Overrides
    settings: prompts.Settings
    thinking: prompts.Setting[prompts.Thinking]
    seed: int
    system: str
    question: prompts.Question
    prompt: Sequence[prompts.Segment]
    constraint: output.OutputConstraint | None
    top_logprobs: int | None
    advice: str | None

    @property
    def holds_back(self) -> bool:
        """Return whether an answer must be whole and valid before any of it is printed."""
        return self.constraint is not None and self.constraint.schema is not None

    def print_advice(self) -> None:
        """Print on stderr which recommendations are not followed, and what cannot be enforced."""
        session_setup.print_advice(
            self.file.family, self.settings, self.thinking.value, self.system, self.advice
        )
        if self.constraint:
            _print_unheld(self.constraint)


def _print_unheld(constraint: output.OutputConstraint) -> None:
    """Print on stderr what the grammar does not enforce, and what is ignored."""
    lines = list(constraint.unknown)
    if constraint.unheld:
        lines.append(f"checked only when the answer is complete: {'; '.join(constraint.unheld)}")
    for line in lines:
        print(
            f"dslocal: {sanitise_line(constraint.source)}: {one_line(line, MAX_SHOWN_REASONS)}",
            file=sys.stderr,
        )


def prepare_question(options: AskOptions, known: KnownFile | None) -> PreparedQuestion:
    """Read and check everything that is needed to ask the question.

    Args:
        options: The options of the command.
        known: May know the model's file without reading it.

    Raises:
        UsageError: An option is not valid, or the model does not support it.
        NotFoundError: The model, template or file does not exist.
        DslocalError: Whatever is wrong with a file.
    """
    options.check_combinations()
    name = options.question.template
    template = prompt_templates.get_template(name) if name else None
    top_logprobs = checked_logprobs(options.logprobs, as_json=options.output.as_json)
    user_settings.check_values(options.flags, options.seed, options.family, options.load, template)
    ask_input.require_files(options.files)
    sent = _read_input(options, template)
    file = _prepare_model(options, template, known)
    family, think = prompts.choose_effort(file.family, options.answer.effort, options.answer.think)
    file = replace(file, family=family)
    settings = session_setup.settings_for(file, family.defaults, options.flags, template)
    chosen = load_overrides(file, options.load)
    thinking = user_settings.chosen_thinking(family, think, template)
    user_settings.check_budget(options.answer.think_budget, thinking.value)
    for line in user_settings.ineffective(settings, options.flags, answers=options.output.count):
        print(f"dslocal: {line}", file=sys.stderr)
    constraint = _constraint(options)
    math = _math(options, constraint)
    question = prompts.compose_question(
        family,
        sent.question,
        beside=sent.beside,
        files=options.question.file or [],
        results=options.question.search_results,
        math=math,
    )
    _print_notes(question.notes)
    return PreparedQuestion(
        file=file,
        chosen=chosen,
        settings=settings,
        thinking=thinking,
        seed=user_settings.checked_seed(options.seed),
        system=sent.system,
        question=question,
        prompt=_render(family, sent.system, question.text, thinking.value),
        constraint=constraint,
        top_logprobs=top_logprobs,
        advice=None if constraint else prompts.directive_advice(family, sent.question, math),
    )


def _prepare_model(
    options: AskOptions, template: prompts.Template | None, known: KnownFile | None
) -> ModelFile:
    """Return the model, of an engine where one was chosen."""
    engine = engine_choice.chosen_engine(options.engine)
    if engine is not None:
        return session_setup.prepare_served_model(engine, options.question.model, options.family)
    model = options.question.model or (template.model if template else None)
    session_setup.greet(model)
    return session_setup.prepare_model(
        model,
        options.family,
        remember=bool(options.question.model) and not options.dry_run,
        known=known,
    )


def reload_file(prepared: PreparedQuestion, options: AskOptions) -> PreparedQuestion:
    """Return the same question with all of the model's header, of which only a part was known."""
    path = prepared.file.path
    file = ModelFile(path, *read_family(path, options.family))
    chosen = load_overrides(file, options.load)
    return replace(prepared, file=file, chosen=chosen)


def _read_input(options: AskOptions, template: prompts.Template | None) -> AskInput:
    asked = options.question
    typed = ask_input.plain_text(asked.prompt or "")
    stdin = None
    if not any(map(names_stdin, options.files)):  # else it is that file
        stdin = ask_input.read_stdin(has_question=bool(asked.prompt or template))
    if stdin:
        _print_notes([stdin.note])
    piped = ask_input.plain_text(stdin.text if stdin else "").strip("\n")
    system = ask_input.plain_text(asked.system)
    if template is None:
        return ask_input.read_question(typed, piped, system, has_files=bool(asked.file))
    filled = prompt_templates.fill_template(template, asked.param or [], typed, piped)
    return replace(filled, system=system or filled.system)


def _print_notes(notes: Iterable[str]) -> None:
    for note in filter(None, notes):
        print(f"dslocal: {one_line(note)}", file=sys.stderr)


def _constraint(options: AskOptions) -> output.OutputConstraint | None:
    if options.answer.schema:
        return output.read_schema(options.answer.schema)
    if options.answer.grammar:
        return output.read_grammar(options.answer.grammar)
    return None


def _math(options: AskOptions, constraint: output.OutputConstraint | None) -> bool | None:
    """Return whether a boxed answer is asked for; None leaves that to the question."""
    if options.answer.math is not None:
        return options.answer.math
    if constraint is not None:
        return False  # a boxed answer has another shape than the one asked for
    return True if options.output.final or options.output.vote else None


def _render(
    family: prompts.Family, system: str, text: str, thinking: prompts.Thinking
) -> Sequence[prompts.Segment]:
    """Return the whole prompt. What the family refuses shows here, before it is loaded."""
    messages = [prompts.Message("user", text)]
    if system:
        messages.insert(0, prompts.Message("system", system))
    return family.render(messages, thinking)
