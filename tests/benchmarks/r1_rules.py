"""What R1's usage recommendations are worth, measured on nano: fresh questions under each way of
prompting and sampling.

    python tests/benchmarks/r1_rules.py [QUESTIONS] [SEED]

The questions are those that nano is evaluated with (tests/make_nano/questions.py): operations,
expressions, word problems in plain phrasings. Each question has its own seed, the same under every
way. An answer counts when the numbers that it ends with are the right ones; a vote counts when the
answer that most of eight samples give is right.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from make_nano import questions

from dslocal import chat, evaluation, prompts
from dslocal.catalog import conversion_cache
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.prompts import Thinking

DIRECTIVE = "Please reason step by step, and put your final answer within \\boxed{}."


@dataclass(frozen=True)
class Way:
    """One row: how the prompt begins the answer, whether the directive is added, how it is sampled,
    and how many vote.
    """

    name: str
    thinking: Thinking = Thinking.FORCED
    directive: bool = True
    temperature: float = 0.6
    votes: int = 1


WAYS = (
    Way("the defaults: `<think>` forced, directive, temperature 0.6"),
    Way("reasoning not forced", Thinking.FREE),
    Way("reasoning bypassed (`--no-think`)", Thinking.BYPASSED),
    Way("no directive (`--no-math`)", directive=False),
    Way("no directive, not forced", Thinking.FREE, directive=False),
    Way("no directive, bypassed", Thinking.BYPASSED, directive=False),
    Way("temperature 0", temperature=0.0),
    Way("temperature 1.2", temperature=1.2),
    Way("vote of 8 (`-n 8 --vote`)", votes=8),
    Way("vote of 8 at temperature 1.2", temperature=1.2, votes=8),
)


def answers(
    context: LlamaContext, family: prompts.Family, way: Way, question: str, seed: int
) -> Iterable[str]:
    text = f"{question}\n{DIRECTIVE}" if way.directive else question
    settings = family.defaults.with_value("temperature", way.temperature, "bench").with_value(
        "max_tokens", 2048, "bench"
    )
    for number in range(way.votes):
        session = chat.Session(context, family, settings, thinking=way.thinking)
        for _ in session.stream(text, seed + number):
            pass
        assert session.turn is not None
        yield session.turn.text


def is_right(way: Way, given: list[str], expected: int | str) -> bool:
    if way.votes == 1:
        return questions.right(given[0], expected)
    agreed = evaluation.vote([evaluation.final_answer(answer) for answer in given]).answer
    return agreed is not None and questions.right(agreed, expected)


def main(count: int = 200, seed: int = 1) -> None:
    r = random.Random(seed)
    asked = [questions.question(r) for _ in range(count)]
    with (
        LlamaModel(conversion_cache.ensure_gguf("nano")) as model,
        LlamaContext(model, 4096) as context,
    ):
        family = prompts.recognise_family(model.header).family
        print("| way of prompting | right | share |\n|---|---|---|")
        for way in WAYS:
            good = sum(
                is_right(
                    way, list(answers(context, family, way, text, seed + 1000 * number)), expected
                )
                for number, (text, expected) in enumerate(asked)
            )
            print(f"| {way.name} | {good} of {count} | {good / count:.3f} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
