"""The answers of ``dslocal ask`` to one question: each drawn, and passed on as it comes or held
back until it is known to be right.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dslocal import chat, evaluation, output, prompts
from dslocal.errors import SchemaError
from dslocal.gguf.header import GgufHeader
from dslocal.terminal.sanitise import sanitise

from .answer_output import (
    as_json,
    leave_if_cut,
    pass_on,
    prefill_progress,
    with_model,
)
from .serve_client import ServeClient, ServedSession

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext


@dataclass
class Samples:
    """What all samples of one question share. ``context`` is the model's, here or in a server."""

    context: LlamaContext | ServeClient
    family: prompts.Family
    settings: prompts.Settings
    system: str
    thinking: prompts.Thinking
    text: str
    header: GgufHeader
    load_s: float
    visible: bool
    top_logprobs: int | None
    form: output.OutputConstraint | None

    @property
    def held(self) -> bool:
        """Whether an answer must be whole and right before any of it is printed."""
        return self.form is not None and self.form.schema is not None

    def session(self) -> chat.Session | ServedSession:
        more: dict[str, Any] = {"top_logprobs": self.top_logprobs, "constraint": self.form}
        if isinstance(self.context, ServeClient):
            return self.context.session(
                self.family, self.settings, self.system, self.thinking, **more
            )
        return chat.Session(
            self.context, self.family, self.settings, self.system, self.thinking, **more
        )

    def stream(self, session: chat.Session | ServedSession, seed: int, *, to_stdout: bool) -> None:
        """Asks, passing on what comes."""
        with closing(session.stream(self.text, seed, on_prefill=prefill_progress())) as events:
            pass_on(
                events,
                to_stdout=to_stdout,
                show_reasoning=self.visible,
                sure=lambda: session.turn is not None and session.turn.text_is_certain,
            )

    def as_json(self, turn: output.Turn) -> dict[str, Any]:
        parsed = {"parsed": self.parsed(turn)[0]} if self.held else {}
        return {
            **with_model(as_json(turn, self.context), self.header, self.family, self.load_s),
            **parsed,
        }

    def parsed(self, turn: output.Turn) -> tuple[Any, SchemaError | None]:
        """The value that an answer spells, or why it is not as it must be."""
        try:
            return self.form.check(turn.text) if self.form else None, None
        except SchemaError as e:
            return None, e

    def finals(self, turns: list[output.Turn]) -> list[str | None]:
        """What the answers say in the end; None for one that says nothing, or is not as it must
        be.
        """
        return [
            self._spelled(turn) if self.form else evaluation.final_answer(turn.text)
            for turn in turns
        ]

    def _spelled(self, turn: output.Turn) -> str | None:
        """A whole answer as all that mean the same spell it."""
        value, error = self.parsed(turn)
        if error or turn.is_cut:
            return None
        return (
            json.dumps(value, sort_keys=True, ensure_ascii=False)
            if self.held
            else turn.text.strip()
        )

    def majority(self, finals: list[str | None]) -> evaluation.Vote:
        """What most of them say: in a form as it is spelled, else by what it means."""
        if not self.form:
            return evaluation.vote(finals)
        counted = Counter(final for final in finals if final is not None).most_common(2)
        most = counted[0][1] if counted else 0
        alone = len(counted) == 1 or (len(counted) == 2 and counted[1][1] < most)
        return evaluation.Vote(counted[0][0] if alone else None, most, len(finals))

    def show(self, turn: output.Turn) -> None:
        """Prints an answer that was held back, if it is right."""
        if self.held and not turn.is_cut and self.parsed(turn)[1] is None:
            print(sanitise(turn.text), flush=True)

    def leave_if_wrong(self, turns: list[output.Turn]) -> None:
        """Exits with 5 when one was cut; raises SchemaError when one is not as it must be."""
        leave_if_cut(turns)
        for error in (self.parsed(turn)[1] for turn in turns):
            if error:
                raise error
