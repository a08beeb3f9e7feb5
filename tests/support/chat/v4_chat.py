"""A chat of ten turns with a tiny DeepSeek-V4, with all that takes a conversation back: follow-ups,
/retry, /edit, /continue, Ctrl-C, and a kill -9 after which it is resumed.

After every turn the logits are compared with those of a fresh evaluation of the same tokens.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from support.checkpoints.damage import convert_to
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.engine.contexts import llama_context
from support.gguf.gguf_changes import parts_of, put, tokens

from dslocal import chat, prompts
from dslocal.chat.resume import resume_session, save_session_cache
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig
from dslocal.prompts.families.base import EOS

# Exact sums: with a cache in F16 a sum's last bit, which depends on the batch, becomes 1e-3.
EXACT = LoadConfig(4096, kv_type=GgmlType.F32, flash_attn=False)
SPARE = b"[PAD289]"  # a token that the vocabulary has no use for
DSML = "｜DSML｜".encode()
FAMILY = prompts.FAMILIES["v4-0731"]
ANSWER_TOKENS = 48
REASONING_TOKENS = 24
SETTINGS = (
    FAMILY.defaults.with_value("max_tokens", ANSWER_TOKENS, "test")
    .with_value("think_budget", REASONING_TOKENS, "test")
    .with_value("temperature", 1.0, "test")
)
QUESTION = "Please tell me about number {} and its neighbours, as long as you like."


def write_chat_v4(path: Path) -> Path:
    """Write a V4 that can chat, with random weights in float32, and return ``path``."""
    folder = path.with_suffix("")
    write_checkpoint(folder, "deepseek-v4", dtype="dequantized")
    convert_to(folder, path.with_suffix(".plain.gguf"), "F32")
    parts = parts_of(path.with_suffix(".plain.gguf"))
    tokens(lambda words: [DSML if word == SPARE else word for word in words])(parts)
    put("general.name", "DeepSeek-V4-Flash-0731")(parts)
    return parts.write(path)


@dataclass
class PlayedTurn:
    """What one turn took.

    Attributes:
        what: What the user did.
        prompt: Tokens of the prompt.
        evaluated: How many of them were evaluated for it, while the user typed included.
        difference: The largest difference of a logit from a fresh evaluation; None where Ctrl-C
            left no logits.
    """

    what: str
    prompt: int
    evaluated: int
    difference: float | None


@dataclass
class V4Chat:
    """A conversation that is played turn by turn.

    Attributes:
        session: The conversation.
        fresh: A context that evaluates every sequence from its start.
        played: What the turns took.
    """

    session: chat.Session
    fresh: LlamaContext
    stored: chat.StoredConversation
    played: list[PlayedTurn] = field(default_factory=list)
    _evaluated: int = 0
    _seen: int = 0  # of these, the ones before the last turn's end

    @classmethod
    def start(
        cls, context: LlamaContext, fresh: LlamaContext, stored: chat.StoredConversation
    ) -> V4Chat:
        """Return a conversation in which nothing was said."""
        ends = [f"{context.model.special_id(EOS.token)}=-100"]  # answers of random weights are long
        settings = SETTINGS.with_value("logit_bias", ends, "test")
        made = cls(chat.Session(context, FAMILY, settings), fresh, stored)
        context.observer = _Counter(made)
        return made

    def ask(self, what: str, number: int) -> None:
        """Ask a question and take the whole answer."""
        self._play(what, self.session.stream(QUESTION.format(number), seed=number))

    def retry(self) -> None:
        """Ask the last question once more, with another seed."""
        question = self.session.remove_last_turn()
        assert question is not None
        self._play("/retry", self.session.stream(question.content, seed=99))

    def edit(self, number: int) -> None:
        """Ask another question in place of the last one."""
        assert self.session.remove_last_turn() is not None
        self.ask("/edit", number)

    def interrupt_and_continue(self, number: int, after: int) -> None:
        """Ask, stop the answer with Ctrl-C, and continue it."""
        events = self.session.stream(QUESTION.format(number), seed=number)
        context = self.session.context

        def stopped() -> Iterable[chat.Event]:
            with closing(events), suppress(KeyboardInterrupt):
                for count, event in enumerate(events):
                    yield event
                    if count == after:
                        context.abort.set()
            context.abort.clear()

        self._play("Ctrl-C", stopped(), has_logits=False)
        assert self.session.is_unfinished
        self._play("/continue", self.session.continue_answer())

    def cut_and_continue(self, number: int) -> None:
        """Ask with little room for the answer, and continue it."""
        settings = self.session.settings
        self.session.settings = settings.with_value("max_tokens", 12, "test")
        self.ask("a question, cut by max_tokens", number)
        self.session.settings = settings
        self._play("/continue", self.session.continue_answer())

    def type_next(self) -> None:
        """Bring the cache to what the next prompt begins with, as is done while the user types."""
        certain = self.session.certain_ids()
        if certain:
            llama_context(self.session).prefill(certain)

    def _play(self, what: str, events: Iterable[chat.Event], *, has_logits: bool = True) -> None:
        context = self.session.context
        before = self._seen
        for _ in events:
            pass
        turn = self.session.turn
        assert turn is not None
        new = len(turn.ids) - turn.resumed_tokens
        # the last token of an answer need not be evaluated
        answered = min(new, max(0, len(context.ids) - turn.prompt_tokens))
        evaluated = self._evaluated - before - answered
        self._seen = self._evaluated
        difference = self._difference() if has_logits else None
        self.played.append(PlayedTurn(what, turn.prompt_tokens, evaluated, difference))
        self.stored.save(self.session.history, self.session.partial)
        self.type_next()
        save_session_cache(self.session, self.stored)

    def _difference(self) -> float:
        """Return how far the logits are from those of a fresh evaluation."""
        context = llama_context(self.session)
        self.fresh.clear()
        self.fresh.prefill(context.ids)
        return float(np.abs(context.logits() - self.fresh.logits()).max())

    def count(self, evaluated: int) -> None:
        """Take note of tokens that were evaluated."""
        self._evaluated += evaluated


class _Counter:
    """Counts what a context evaluates."""

    def __init__(self, played: V4Chat) -> None:
        self._played = played

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        self._played.count(len(ids))

    def trimmed(self, length: int) -> None:
        pass

    def close(self) -> None:
        pass


def first_part(played: V4Chat) -> None:
    """Play the turns before the kill."""
    played.ask("a question", 1)
    played.ask("a follow-up", 2)
    played.ask("a follow-up", 3)
    played.retry()
    played.ask("a follow-up", 4)
    played.edit(5)
    played.cut_and_continue(6)
    played.interrupt_and_continue(7, after=9)


def last_part(played: V4Chat) -> None:
    """Play the turns after the kill."""
    if played.session.is_unfinished:
        played._play("/continue", played.session.continue_answer())
    played.ask("a follow-up after the kill", 9)
    played.ask("a follow-up", 10)


def open_context(model: LlamaModel, *, has_checkpoints: bool) -> LlamaContext:
    """Return a context, with checkpoints or without."""
    context = LlamaContext(model, EXACT)
    if not has_checkpoints:
        context.memory.max_checkpoints = 0
    return context


def play(path: Path, *, has_checkpoints: bool) -> list[PlayedTurn]:
    """Play the whole chat with the model at ``path``, in the home that the environment says.

    The first part runs in a process of its own, which is killed in the midst of an answer.
    """
    command = [sys.executable, __file__, str(path), "checkpoints" if has_checkpoints else "none"]
    folder = str(Path(__file__).parents[2])
    killed = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": folder}, stdout=subprocess.PIPE, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    stored = chat.last_conversation()
    with (
        LlamaModel(path) as model,
        open_context(model, has_checkpoints=has_checkpoints) as context,
        LlamaContext(model, EXACT) as fresh,
    ):
        played = V4Chat.start(context, fresh, stored)
        stored.lock()
        resume_session(played.session, stored)
        last_part(played)
        stored.close()
    return [*_read_turns(killed.stdout.decode()), *played.played]


def _read_turns(text: str) -> list[PlayedTurn]:
    found = []
    for line in text.splitlines():
        what, prompt, evaluated, difference = line.split("\t")
        logits = None if difference == "None" else float(difference)
        found.append(PlayedTurn(what, int(prompt), int(evaluated), logits))
    return found


def _play_until_killed(path: Path, *, has_checkpoints: bool) -> None:
    with (
        LlamaModel(path) as model,
        open_context(model, has_checkpoints=has_checkpoints) as context,
        LlamaContext(model, EXACT) as fresh,
    ):
        played = V4Chat.start(context, fresh, chat.new_conversation(str(path)))
        first_part(played)
        for turn in played.played:
            print(turn.what, turn.prompt, turn.evaluated, turn.difference, sep="\t", flush=True)
        for count, _ in enumerate(played.session.stream(QUESTION.format(8), seed=8)):
            if count == 5:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _play_until_killed(Path(sys.argv[1]), has_checkpoints=sys.argv[2] == "checkpoints")
