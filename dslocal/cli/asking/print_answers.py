"""Print the result of ``dslocal ask``: one answer, several, or the result of a vote."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import typer

from dslocal import chat, evaluation, output
from dslocal.errors import DslocalError, ExitCode
from dslocal.terminal.progress_line import ProgressLine
from dslocal.terminal.sanitise import one_line, sanitise

from .answer_output import print_empty, printed_at_the_end, statistics
from .ask_options import OutputOptions
from .question_run import QuestionRun
from .serve_client import ServedSession

SEPARATOR = "---"  # the line between two answers


def print_answers(run: QuestionRun, options: OutputOptions) -> None:
    """Draw as many answers as ``options`` ask for, and print what they ask for.

    Raises:
        typer.Exit: An answer was cut, or the vote has no majority.
        SchemaError: An answer is not as its schema says.
        KeyboardInterrupt: Ctrl-C; what came until then is printed.
        DslocalError: The engine failed; the same holds.
    """
    if options.vote:
        _print_vote(run, options)
    elif options.count > 1:
        _print_several(run, options)
    else:
        _print_one(run, options)


def _print_one(run: QuestionRun, options: OutputOptions) -> None:
    session = run.new_session()

    def print_result(failure: str) -> None:
        if session.turn and options.as_json:
            print(json.dumps(run.answer_json(session.turn, failure)))
        if session.turn and run.shows_reasoning:
            print(statistics(session.turn), file=sys.stderr)

    with printed_at_the_end(print_result):
        to_stdout = not (options.as_json or options.final)
        run.draw(session, run.prepared.seed, to_stdout=to_stdout)
    turn = session.turn
    if turn is None:
        return
    if not options.as_json:
        run.print_held_back(turn)
        if options.final:
            _print_final(turn)
    run.exit_if_wrong([turn])


def _print_final(turn: output.Turn) -> None:
    answer = evaluation.boxed_content(turn.text)
    if answer is not None:
        print(sanitise(answer))
    elif not turn.is_cut and not turn.no_answer:
        raise DslocalError(
            "the answer has no \\boxed{} in it", hint="leave out --final to see the whole answer"
        )


def _print_several(run: QuestionRun, options: OutputOptions) -> None:
    drawn = _Drawn()

    def print_result(failure: str) -> None:
        turns = drawn.all_turns()
        if options.as_json and turns:
            print(json.dumps(_samples_json(run, turns, failure)))

    with printed_at_the_end(print_result):
        _draw_all(run, options, drawn)
    run.exit_if_wrong(drawn.turns)


def _print_vote(run: QuestionRun, options: OutputOptions) -> None:
    drawn = _Drawn()
    result: evaluation.Vote | None = None

    def print_result(failure: str) -> None:
        turns = drawn.all_turns()
        if options.as_json and turns:
            print(json.dumps(_vote_json(run, turns, result, failure)))

    with printed_at_the_end(print_result):
        _draw_all(run, options, drawn)
        result = run.majority(run.final_answers(drawn.turns))
    print_empty(drawn.turns)
    if not _is_majority(result):
        print(f"dslocal: {_no_majority(result)}", file=sys.stderr)
        raise typer.Exit(ExitCode.NO_MAJORITY)
    if not options.as_json and result.answer is not None:
        print(sanitise(result.answer))
        print(f"{result.votes} of {result.total} agree", file=sys.stderr)


def _is_majority(vote: evaluation.Vote) -> bool:
    """Return whether more than half of all answers agree."""
    return vote.answer is not None and 2 * vote.votes > vote.total


def _no_majority(vote: evaluation.Vote) -> str:
    """Return the line for a vote in which no answer was given by more than half."""
    most = f" (the most frequent, {vote.answer}, by {vote.votes})" if vote.answer else ""
    return one_line(
        f"no majority among {vote.total} answers: none was given by more than half"
        f"{most}; a larger -n may find one, and -n {vote.total} without --vote prints all of them"
    )


@dataclass
class _Drawn:
    """The answers that were drawn.

    Attributes:
        turns: Those that have ended.
        session: The session of the one that is being drawn.
    """

    turns: list[output.Turn] = field(default_factory=list)
    session: chat.Session | ServedSession | None = None

    def all_turns(self) -> list[output.Turn]:
        """Return all answers, also the one that has not ended."""
        growing = self.session.turn if self.session else None
        return [*self.turns, growing] if growing else self.turns

    def end_one(self) -> None:
        """Note that the answer that is being drawn has ended."""
        self.turns = self.all_turns()
        self.session = None


def _draw_all(run: QuestionRun, options: OutputOptions, drawn: _Drawn) -> None:
    """Draw all answers into ``drawn``, also the one that is interrupted."""
    progress = ProgressLine(eager=True)
    prints_each = not (options.vote or options.as_json)
    for number in range(options.count):
        if not prints_each and not run.shows_reasoning:
            progress.show(f"answer {number + 1} of {options.count}", number / options.count)
        drawn.session = run.new_session()
        try:
            run.draw(
                drawn.session,
                run.prepared.seed + number,
                to_stdout=prints_each and not options.final,
            )
        finally:
            progress.clear()
            drawn.end_one()
        if run.shows_reasoning:
            print(statistics(drawn.turns[-1]), file=sys.stderr)
        if prints_each:
            run.print_held_back(drawn.turns[-1])
            if options.final:
                _print_final(drawn.turns[-1])
            if number + 1 < options.count:
                print(SEPARATOR, flush=True)


def _samples_json(
    run: QuestionRun, turns: Sequence[output.Turn], failure: str = ""
) -> dict[str, Any]:
    """Return the fields of the first answer, all answers beside them.

    Args:
        run: The question.
        turns: Its answers.
        failure: Why the last one ended before its end; empty where nothing failed.
    """
    samples = _each_json(run, turns, failure)
    return {**samples[0], "samples": samples, **_error(failure)}


def _vote_json(
    run: QuestionRun, turns: Sequence[output.Turn], result: evaluation.Vote | None, failure: str
) -> dict[str, Any]:
    """Return the fields of the first answer of the majority, all answers beside them.

    Without a majority, or before all answers are there, the fields hold no answer; the most
    frequent one is named as the plurality.
    """
    samples = _each_json(run, turns, failure)
    if result is None or not _is_majority(result):
        fields = {**samples[0], "answer": None, "reasoning": None, "final": None}
    else:
        winner = run.final_answers([*turns]).index(result.answer)
        fields = {**samples[winner], "final": result.answer}
    fields["samples"] = samples
    fields["vote"] = result and {
        "votes": result.votes,
        "of": result.total,
        "agreement": round(result.votes / result.total, 4),
        "plurality": result.answer,
    }
    return fields | _error(failure)


def _each_json(
    run: QuestionRun, turns: Sequence[output.Turn], failure: str
) -> list[dict[str, Any]]:
    """Return all answers; the one that a failure ended says so."""
    return [run.answer_json(turn, "" if _has_ended(turn) else failure) for turn in turns]


def _has_ended(turn: output.Turn) -> bool:
    reason = turn.finish_reason
    return reason is not None and reason.value != "interrupted"


def _error(failure: str) -> dict[str, str]:
    return {"error": failure} if failure else {}
