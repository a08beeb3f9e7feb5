"""An engine whose answers a script gives, for clients of ``dslocal serve --engine``.

It gets token ids and sends token ids, as a llama-server does, so that nothing in the server is
replaced: prompts, grammars of tool calls, retries and streams are its own. The script is that of
``scripted_serve.py``.

A server that holds tool calls to a grammar asks again in mid-answer, with the tokens so far after
the prompt. The engine then continues after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from support.engines.fake_engine import FakeEngine, Json, Reply, Tokens

from dslocal.prompts import FAMILIES
from dslocal.prompts.families.tools import OUTPUT_BEGIN
from dslocal.prompts.messages import Special, encode

from .scripted_serve import Step, answer_to, next_step

FAMILY = FAMILIES["nano"]
USER = Special("<｜User｜>")
THINK = Special("<think>")
END = Special("<｜end▁of▁sentence｜>")
OPENING_TOKENS = 2  # <think> and a line break end a prompt


@dataclass
class ScriptedEngine(FakeEngine):
    """Answers with the tokens of ``steps``. See ``scripted_serve.py``."""

    steps: Sequence[Step] = field(default_factory=list)

    def next_reply(self, body: Json) -> Reply:
        """Return the tokens that follow a prompt, which may have a part of the answer."""
        ids: list[int] = body["prompt"]
        (user, result) = encode([USER, OUTPUT_BEGIN], self.vocabulary)
        question = max((place for place, id in enumerate(ids) if id == user), default=0)
        text = b"".join(map(self.vocabulary.piece, ids)).decode("utf-8", "replace")
        step = next_step(self.steps, ids[question:].count(result), text)
        answers = [
            encode([*answer_to(step, FAMILY, opening), END], self.vocabulary)
            for opening in (THINK, None)
        ]
        if encode([THINK], self.vocabulary)[0] not in ids[-OPENING_TOKENS:]:
            answers.reverse()
        answer, done = max(((each, _begun(each, ids)) for each in answers), key=itemgetter(1))
        return Tokens(answer[done:])


def _begun(answer: Sequence[int], ids: Sequence[int]) -> int:
    """Return how many tokens of ``answer`` are the last ones of ``ids``."""
    counts = range(min(len(answer), len(ids)), 0, -1)
    return next((n for n in counts if ids[-n:] == answer[:n]), 0)
