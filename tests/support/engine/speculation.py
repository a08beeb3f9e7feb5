"""What the tests of speculation share: prompts as nano knows them, and a drafter by script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dslocal.engine import Generation, LlamaContext, LlamaModel, Sampler
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.speculation import Speculation

QUESTION = "What is 47 × 86?"


def prompt_ids(model: LlamaModel, question: str = QUESTION) -> list[int]:
    """Return the ids of a question, and of the tag that opens the reasoning."""
    parts = "<｜begin▁of▁sentence｜>", "<｜User｜>", question, "<｜Assistant｜>", "<think>", "\n"
    ids: list[int] = []
    for part in parts:
        token = model.special_id(part)
        ids += model.encode(part) if token is None else [token]
    return ids


def generate(
    context: LlamaContext,
    prompt: Sequence[int],
    *,
    temperature: float = 0.0,
    seed: int = 1,
    max_tokens: int = 120,
    stop: Iterable[int] = (),
) -> Generation:
    """A finished answer."""
    generation = Generation(
        context, prompt, Sampler(temperature, 0.95, seed), max_tokens=max_tokens, stop=list(stop)
    )
    for _ in generation:
        pass
    return generation


class Scripted:
    """Knows what will come: ``right`` tokens of every draft are that, the next is wrong, and
    ``most`` are drafted.
    """

    lengths = (1, 2, 3)
    is_listening = True

    def __init__(self, known: Sequence[int], *, right: int, most: int = 3) -> None:
        self.known = list(known)
        self.right = right
        self.most = most
        self.heard: list[int] = []
        self.closed = False

    def set_listening(self, on: bool) -> None:
        """It knows already."""

    def propose(self, ids: Sequence[int], token: int, max_drafts: int) -> list[int]:
        at = len(ids) + 1
        count = min(self.most, max_drafts)
        return [
            id if n < self.right else id + 1 for n, id in enumerate(self.known[at : at + count])
        ]

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        assert start == len(self.heard), "notified of something that is not next"
        self.heard += ids

    def trimmed(self, length: int) -> None:
        del self.heard[length:]

    def close(self) -> None:
        self.closed = True


def scripted(context: LlamaContext, drafter: Scripted) -> Speculation:
    """Makes ``context`` draft by script, always as many as it has."""
    return Speculation(context, drafter, DraftLength([drafter.most], optional=False))
