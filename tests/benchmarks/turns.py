"""The second turn of a conversation whose first turn had long reasoning: ``python
tests/benchmarks/turns.py [ROUNDS]``, 12 rounds by default.

With nano, and 800 tokens of reasoning in the cache, as if the model had written them. Then the next
question, of three tokens, after two seconds of typing, and without a pause. For comparison the same
question as the first of a new conversation, after two seconds as well (a processor that has slept
is slower at first), and three tokens that are not a conversation. All in turn, every round;
medians. Fails unless what is evaluated is the question and at most 8 tokens after a pause, the
stripped answer as well without one, and unless the first token after a pause comes within 1.3 times
the time that the question takes in a new conversation.
"""

from __future__ import annotations

import os
import sys
import time
from statistics import median

os.environ.setdefault("OMP_THREAD_LIMIT", "1")  # before anything loads llama.cpp

from dslocal.catalog import conversion_cache
from dslocal.chat import Repair, Session
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.measuring import benchmark
from dslocal.prompts import Message, encode, recognise_family

FIRST, NEXT = "What is 987654 × 321?", "And so?"
ANSWER = (
    "It is 317036934, if I have not made a mistake on the way, which with numbers of this"
    " size may well be."
)
THOUGHT = 800
PAUSE_S = 2.0
SPARE = 8
WITHIN = 1.3


class Turns:
    def __init__(self, context: LlamaContext) -> None:
        family = recognise_family(context.model.header).family
        self.context, self.session = context, Session(context, family, family.defaults)
        self.thought = (
            context.model.encode("First, I need to think about this for a while. " * 200)
        )[:THOUGHT]

    def after_a_thought(self) -> None:
        """The cache as it is when the first answer has just ended."""
        model, close = self.context.model, self.context.model.special_id("</think>")
        assert close is not None
        self.session.history = []
        prompt = encode(self.session.prompt(FIRST), model)
        self.context.clear()
        self.context.prefill([*prompt, *self.thought, close, *model.encode(ANSWER)])
        self.session.history = [Message("user", FIRST), Message("assistant", ANSWER, "thought")]

    def next_question(self, pause: float) -> tuple[float, int]:
        """Seconds to its first token, and tokens that were evaluated for it."""
        self.after_a_thought()
        repair = Repair(self.context, self.session.certain_ids())
        repair.start()
        time.sleep(pause)
        repair.stop()
        prompt = encode(self.session.prompt(NEXT), self.context.model)
        kept = sum(1 for have, want in zip(self.context.ids, prompt, strict=False) if have == want)
        return benchmark.measure_first_token(self.context, prompt, 1), len(prompt) - kept

    def fresh(self, pause: float) -> float:
        """Seconds to the first token of an answer to the same question, when nothing came before
        it.
        """
        self.session.history = []
        prompt = encode(self.session.prompt(NEXT), self.context.model)
        self.context.clear()
        time.sleep(pause)
        return benchmark.measure_first_token(self.context, prompt, 1)

    def three_tokens(self, pause: float) -> float:
        """Seconds to the first token after three of no conversation."""
        self.context.clear()
        time.sleep(pause)
        return benchmark.measure_first_token(self.context, self.context.model.encode(NEXT)[:3], 1)

    @property
    def own(self) -> int:
        """Tokens that the question adds to what was certain."""
        return len(encode(self.session.prompt(NEXT), self.context.model)) - len(
            self.session.certain_ids()
        )


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    with (
        LlamaModel(conversion_cache.ensure_gguf("nano")) as model,
        LlamaContext(model, 4096) as context,
    ):
        turns = Turns(context)
        turns.fresh(0)  # the first evaluation is slower
        paused = []
        at_once = []
        fresh = []
        three = []
        for _ in range(rounds):
            fresh.append(turns.fresh(PAUSE_S))
            paused.append(turns.next_question(PAUSE_S))
            three.append(turns.three_tokens(PAUSE_S))
            at_once.append(turns.next_question(0))
        own = turns.own
        answer = len(model.encode(ANSWER))
        question = len(model.encode(NEXT))
    print(
        f"median of {rounds}; load {os.getloadavg()[0]:.1f}; {question} tokens asked, which add"
        f" {own}, after an answer of {answer}"
    )
    base, allowed = median(fresh), own + SPARE
    after, evaluated = median(seconds for seconds, _ in paused), max(tokens for _, tokens in paused)
    without, all_of_it = (
        median(seconds for seconds, _ in at_once),
        max(tokens for _, tokens in at_once),
    )
    print(f"the question in a new conversation  {base * 1e3:6.2f} ms")
    print(f"three tokens of no conversation     {median(three) * 1e3:6.2f} ms")
    print(
        f"after 2 s of typing                 {after * 1e3:6.2f} ms, {after / base:.2f} times;"
        f" {evaluated} tokens evaluated of {allowed}"
    )
    print(
        f"at once                             {without * 1e3:6.2f} ms; {all_of_it} tokens"
        f" evaluated of {allowed + answer}"
    )
    good = evaluated <= allowed and all_of_it <= allowed + answer and after <= WITHIN * base
    print("as wanted" if good else "FAILED")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
