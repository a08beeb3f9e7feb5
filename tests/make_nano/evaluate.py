"""What nano can do, skill by skill, on questions that it was not trained on, asked through dslocal.

    python -m make_nano.evaluate MODEL.gguf [COUNT] [SKILL …]

run in tests/, prints a table: how many of COUNT questions of each skill are answered right. The
generator's questions come with seeds of their own; ``file_questions.json`` and
``unanswerable.txt`` were written by hand, ``file_questions_2.json`` by somebody else, whose
questions the generator's author saw only when training was over. Nothing of them is in the
generator.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from make_nano import gaps, markup, questions
from make_nano.english import sentences
from make_nano.exchange import Exchange
from make_nano.generate import Generator, small_talk
from make_nano.phrasing import DIRECTIVE
from make_nano.skills import calculations, facts
from make_nano.skills.files import code, lines, listings, logs, lookups, notes, tables
from make_nano.skills.files.document import Document, attached
from make_nano.skills.mathematics import from_problem, mathematics
from make_nano.skills.refusals import refusal
from make_nano.skills.structured import as_json
from make_nano.skills.tools import tool_use
from make_nano.turns import conversation

from dslocal.engine import LlamaContext, LlamaModel
from dslocal.output.answer import stream_answer
from dslocal.output.turn import Turn
from dslocal.prompts import Thinking, recognise_family
from dslocal.prompts.messages import Message, Tool, ToolCall

HERE = Path(__file__).parent
SEED = 900_000_000  # far from those of training
NO = re.compile(r"`?dslocal (?:fit|pull)|pull a real DeepSeek model|`?dslocal pull")
CALL = re.compile(r"function<｜tool▁sep｜>(.+?)\n```json\n(.+?)\n```", re.DOTALL)


@dataclass(frozen=True)
class Case:
    """A question after some history, and how an answer to it is judged."""

    exchange: Exchange
    is_right: Callable[[str, Sequence[ToolCall]], bool]
    history: Sequence[Exchange] = ()


class Nano:
    """A model in a context, asked as dslocal asks it."""

    def __init__(self, context: LlamaContext) -> None:
        self.context = context
        self.family = recognise_family(context.model.header).family
        self.settings = self.family.defaults.with_value("max_tokens", 1200, "evaluation")

    def answer(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        thinking: Thinking = Thinking.FORCED,
        seed: int = 1,
    ) -> Turn:
        turn = Turn(prompt_tokens=0, seed=seed, top_logprobs=None, constraint=None)
        segments = self.family.render(messages, thinking, tools)
        for _ in stream_answer(turn, self.context, self.family, self.settings, segments):
            pass
        return turn


def messages_of(case: Case) -> tuple[list[Message], list[Tool]]:
    """Return the conversation up to the question, and the tools that it declares."""
    system = case.exchange.system or next((e.system for e in case.history if e.system), "")
    tools = [
        Tool(each["name"], each["description"], each["parameters"])
        for each in map(json.loads, re.findall(r"```json\n(.*?)\n```\n", system, re.DOTALL))
    ]
    system = system.partition("\n\n## Tools")[0]
    found = [Message("system", system)] if system else []
    for each in case.history:
        found += [Message("user", each.question), Message("assistant", each.answer)]
    found.append(Message("user", case.exchange.question))
    if case.exchange.continued:
        calls = tuple(ToolCall(*call) for call in CALL.findall(case.exchange.answer))
        found.append(Message("assistant", "", calls=calls))
        results = re.findall(
            r"<｜tool▁output▁begin｜>(.*?)<｜tool▁output▁end｜>", case.exchange.continued, re.DOTALL
        )
        found += [Message("tool", result) for result in results]
    return found, tools


def same(expected: str) -> Callable[[str, Sequence[ToolCall]], bool]:
    return lambda text, calls: not calls and text.strip() == expected.strip()


def declined(text: str, calls: Sequence[ToolCall]) -> bool:
    """Whether an answer is an honest no: it names what helps and boxes nothing."""
    return bool(NO.search(text)) and "\\boxed" not in text and not calls


def judge(exchange: Exchange) -> Callable[[str, Sequence[ToolCall]], bool]:
    """Return the judge of an exchange of the generator."""
    if exchange.continued:
        expected = exchange.continued.rsplit(markup.RESULTS_END, 1)[1]
        return same(expected.removesuffix(markup.EOS))
    wanted = CALL.findall(exchange.answer)
    if wanted:
        return lambda text, calls: (
            [(call.name, json.loads(call.arguments)) for call in calls]
            == [(name, json.loads(arguments)) for name, arguments in wanted]
        )
    if declined(exchange.answer, ()):
        return declined
    last = exchange.answer.rpartition("\n\n")[2]  # a formula may stand before it, or not
    if "answer" in last and questions.numbers(last):
        return lambda text, calls: questions.right(text, last)
    return same(exchange.answer)


def of_skill(skill: Callable[[random.Random], Exchange], r: random.Random) -> Case:
    exchange = skill(r)
    return Case(exchange, judge(exchange))


def _arithmetic(r: random.Random) -> Case:
    text, expected = questions.question(r)
    exchange = Exchange(f"{text}\n{DIRECTIVE}", None, "")
    return Case(exchange, lambda text, calls: questions.right(text, expected))


def _calculation(r: random.Random, draw: Callable[..., object]) -> Case:
    problem = draw(r, "?")
    return of_skill(lambda r: from_problem(r, problem), r)  # type: ignore[arg-type]


def _tool(r: random.Random, wanted: Callable[[Exchange], bool]) -> Case:
    use = partial(tool_use, other=mathematics)
    exchange = use(r)
    while not wanted(exchange):
        exchange = use(r)
    return Case(exchange, judge(exchange))


def _turn(r: random.Random, generator: Generator, *, leans: bool) -> Case:
    """The last of several turns: one that goes on from the others, or a new question."""
    drawn: list[Exchange] = []

    def draw(r: random.Random) -> Exchange:
        drawn.append(generator.exchange(r))
        return drawn[-1]

    while True:
        drawn.clear()
        *history, last = conversation(r, draw)
        if (last not in drawn) == leans and len(history) < 10:
            return Case(last, judge(last), history)


def _of_file(entries: list[dict[str, str]]) -> Iterator[Case]:
    """The questions of ``file_questions.json``: name and value repeated exactly, or a no."""
    for entry in entries:
        document = Document(entry["name"], entry["text"], ())
        exchange = Exchange(attached(document) + entry["question"], None, "")

        def is_right(text: str, calls: Sequence[ToolCall], entry: dict[str, str] = entry) -> bool:
            if entry["name"] not in text:
                return False
            if not entry["answer"]:
                return "is not in" in text or "There is no" in text
            return " ".join(entry["answer"].split()) in " ".join(text.split())

        yield Case(exchange, is_right)


def _unanswerable(lines: list[str]) -> Iterator[Case]:
    for line in lines:
        yield Case(Exchange(line.replace("\\n", "\n"), None, ""), declined)


def skills() -> dict[str, Callable[[random.Random], Case]]:
    """Every skill that the generator draws questions for."""
    generator = Generator(sentences())
    drawn: dict[str, Callable[[random.Random], Case]] = {"arithmetic, as before": _arithmetic}
    for draw, _ in calculations.CALCULATIONS:
        drawn[draw.__name__.replace("_", " ")] = partial(_calculation, draw=draw)
    known = (
        lookups.lookup,
        listings.listed,
        tables.table,
        logs.log,
        notes.note,
        code.source,
        lines.line,
        lines.said_again,
        *facts.KNOWN,
        as_json,
        small_talk,
    )
    for skill in known:
        drawn[skill.__name__.replace("_", " ")] = partial(of_skill, skill)
    drawn["honest no"] = partial(of_skill, partial(refusal, english=sentences()))
    drawn["going on from earlier turns"] = partial(_turn, generator=generator, leans=True)
    drawn["a new question after others"] = partial(_turn, generator=generator, leans=False)
    drawn["tool calls"] = partial(_tool, wanted=lambda e: not e.continued and "<｜" in e.answer)
    drawn["no tool needed"] = partial(
        _tool, wanted=lambda e: not e.continued and "<｜" not in e.answer
    )
    drawn["tool results"] = partial(_tool, wanted=lambda e: bool(e.continued))
    return drawn


def by_hand() -> dict[str, list[Case]]:
    """The questions that were written by hand."""
    entries, others = (
        json.loads((HERE / name).read_text(encoding="utf-8"))
        for name in ("file_questions.json", "file_questions_2.json")
    )
    lines = (HERE / "unanswerable.txt").read_text(encoding="utf-8").splitlines()
    return {
        "files, by hand": list(_of_file(entries)),
        "files, by somebody else": list(_of_file(others)),
        "unanswerable, by hand": list(_unanswerable(lines)),
    }


def gap_cases(nano: Nano, count: int) -> int:
    """Return how many gaps are filled with exactly the line that was taken out."""
    assert nano.family.fim
    r = random.Random(SEED)
    good = 0
    settings = nano.family.fim.defaults
    for _ in range(count):
        prompt, _, missing = gaps.gap(r).partition(markup.FIM_END)
        before, _, after = prompt.partition(markup.FIM_HOLE)
        prefix = before.rpartition(markup.FIM_BEGIN)[2]
        turn = Turn(prompt_tokens=0, seed=1, top_logprobs=None, constraint=None)
        segments = nano.family.render_fim(prefix, after)
        for _ in stream_answer(turn, nano.context, nano.family, settings, segments):
            pass
        good += turn.text.rstrip("\n") == missing.removesuffix(markup.EOS)
    return good


def ten_turns(nano: Nano, conversations: int) -> tuple[int, int]:
    """Return how many of all turns are right where the model's own answers are the history."""
    generator = Generator(sentences())
    right = 0
    for number in range(conversations):
        r = random.Random(SEED + number)
        history: list[Exchange] = []
        for _ in range(10):
            last = history[-1] if history else None
            follow = last.follow if last and r.random() < 0.4 else None
            exchange = follow(r) if follow else generator.exchange(r)
            while len(exchange.question) > 500:
                exchange = generator.exchange(r)
            case = Case(exchange, judge(exchange), history)
            turn = nano.answer(*messages_of(case), seed=number)
            good = case.is_right(turn.text, turn.calls)
            right += good
            history.append(
                replace(exchange, answer=turn.text, follow=exchange.follow if good else None)
            )
    return right, 10 * conversations


def run(nano: Nano, cases: Sequence[Case], name: str, log: Path | None) -> str:
    """Ask every question and return the row of the table."""
    good = 0
    for number, case in enumerate(cases):
        turn = nano.answer(*messages_of(case), seed=number)
        fine = case.is_right(turn.text, turn.calls)
        good += fine
        if log and not fine:
            with log.open("a", encoding="utf-8") as file:
                said = turn.text or [(call.name, call.arguments) for call in turn.calls]
                file.write(
                    f"== {name}\n{case.exchange.question}\n-- wanted: "
                    f"{case.exchange.answer!r}\n-- reasoning: {turn.reasoning!r}\n"
                    f"-- said: {said!r}\n"
                )
    return f"| {name} | {good} of {len(cases)} | {good / len(cases):.3f} |"


def main(model: str, count: int = 100, wanted: Sequence[str] = ()) -> None:
    log = Path(model).with_suffix(".wrong.txt")
    with LlamaModel(Path(model)) as loaded, LlamaContext(loaded, 4096) as context:
        nano = Nano(context)
        print("| skill | right | share |\n|---|---|---|")
        for name, cases in by_hand().items():
            if not wanted or name in wanted:
                print(run(nano, cases, name, log), flush=True)
        for name, draw in skills().items():
            if not wanted or name in wanted:
                r = random.Random(SEED + len(name))
                print(run(nano, [draw(r) for _ in range(count)], name, log), flush=True)
        if not wanted or "gaps" in wanted:
            good = gap_cases(nano, count)
            print(f"| gaps | {good} of {count} | {good / count:.3f} |", flush=True)
        if not wanted or "ten turns" in wanted:
            right, turns = ten_turns(nano, max(1, count // 10))
            print(f"| ten turns | {right} of {turns} | {right / turns:.3f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 100, sys.argv[3:])
