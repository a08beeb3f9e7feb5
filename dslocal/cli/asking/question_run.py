"""Run one question: generate its answers one by one, and check them."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dslocal import chat, evaluation, output
from dslocal.errors import SchemaError
from dslocal.terminal.sanitise import sanitise

from .answer_json import answer_json
from .answer_output import AnswerPrinter, exit_if_incomplete, prefill_progress
from .prepared_question import PreparedQuestion
from .serve_client import ServeClient, ServedSession

if TYPE_CHECKING:
    from dslocal.engine import EngineContext


@dataclass
class QuestionRun:
    """Draws answers to one question.

    Attributes:
        context: The model's context, here or in a server.
        prepared: The question.
        load_s: The seconds that loading took.
        shows_reasoning: Whether reasoning and statistics go to stderr.
    """

    context: EngineContext | ServeClient
    prepared: PreparedQuestion
    load_s: float
    shows_reasoning: bool

    def new_session(self) -> chat.Session | ServedSession:
        """Return a session for one answer."""
        prepared = self.prepared
        if isinstance(self.context, ServeClient):
            return self.context.new_session(prepared)
        session = chat.open_session(
            self.context,
            prepared.file.family,
            prepared.settings,
            prepared.system,
            prepared.thinking.value,
        )
        session.top_logprobs = prepared.top_logprobs
        session.constraint = prepared.constraint
        return session

    def draw(self, session: chat.Session | ServedSession, seed: int, *, to_stdout: bool) -> None:
        """Draw an answer into the session's turn, and print it as it comes.

        Args:
            session: A session of :meth:`new_session`.
            seed: The seed of the answer.
            to_stdout: Whether its text is printed, if it need not be valid first.
        """
        printer = AnswerPrinter(
            to_stdout=to_stdout and not self.prepared.holds_back,
            show_reasoning=self.shows_reasoning,
            is_certain=lambda: session.turn is not None and session.turn.text_is_certain,
        )
        text = self.prepared.question.text
        with closing(session.stream(text, seed, on_prefill=prefill_progress())) as events:
            printer.print_all(events)

    def answer_json(self, turn: output.Turn, failure: str = "") -> dict[str, Any]:
        """Return an answer as JSON; with a schema, its value too, and why it failed if it did."""
        fields = answer_json(turn, self.context, self.prepared.file, self.load_s, failure)
        if self.prepared.holds_back:
            fields["parsed"] = self._parse(turn)[0]
        return fields

    def print_held_back(self, turn: output.Turn) -> None:
        """Print an answer that had to be valid first, if it is."""
        if self.prepared.holds_back and not turn.is_cut and self._parse(turn)[1] is None:
            print(sanitise(turn.text), flush=True)

    def exit_if_wrong(self, turns: list[output.Turn]) -> None:
        """Exit with 5 when an answer was cut or is empty.

        Raises:
            SchemaError: An answer is not as its schema says.
        """
        exit_if_incomplete(turns, has_schema=self.prepared.holds_back)
        for turn in turns:
            error = self._parse(turn)[1]
            if error:
                raise error

    def final_answers(self, turns: list[output.Turn]) -> list[str | None]:
        """Return the final answer of each sample; None for one that has none, or is not valid."""
        if self.prepared.constraint:
            return [self._normalised(turn) for turn in turns]
        return [evaluation.final_answer(turn.text) for turn in turns]

    def majority(self, finals: list[str | None]) -> evaluation.Vote:
        """Return the vote on the final answers: by meaning, or as text where a constraint
        applies."""
        if not self.prepared.constraint:
            return evaluation.vote(finals)
        counted = Counter(final for final in finals if final is not None).most_common(2)
        if not counted:
            return evaluation.Vote(None, 0, len(finals))
        answer, votes = counted[0]
        has_tie = len(counted) > 1 and counted[1][1] == votes
        return evaluation.Vote(None if has_tie else answer, votes, len(finals))

    def _parse(self, turn: output.Turn) -> tuple[Any, SchemaError | None]:
        """Return the value of an answer, or why it is not valid."""
        constraint = self.prepared.constraint
        if constraint is None:
            return None, None
        try:
            return constraint.check(turn.text), None
        except SchemaError as e:
            return None, e

    def _normalised(self, turn: output.Turn) -> str | None:
        """Return an answer in a form that is equal for equal answers; None if it is not valid."""
        value, error = self._parse(turn)
        if error or turn.is_cut:
            return None
        if self.prepared.holds_back:
            return json.dumps(value, sort_keys=True, ensure_ascii=False)
        return turn.text.strip()
