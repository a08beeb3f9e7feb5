"""The generator draws what nano learned from, its arithmetic is right, and questions are judged by
their numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path

import pytest
from make_nano import (
    arithmetic,
    english,
    generate,
    markup,
    phrasing,
    problems,
    puzzles,
    questions,
    turns,
)
from make_nano.exchange import Exchange, render
from make_nano.skills import calculations, refusals, sums, tools
from make_nano.skills.calculations import comparisons, expressions
from make_nano.skills.files import (
    code,
    concepts,
    lines,
    listings,
    logs,
    lookups,
    notes,
    samples,
    settings,
    tables,
)
from make_nano.skills.mathematics import mathematics

from dslocal.home.paths import bundled

ORIGINAL = json.loads((Path(__file__).parent / "original.json").read_text(encoding="utf-8"))
EQUATION = re.compile(r"(?<![\d/])(\d[\d+*-]*) ?= ?(-?\d+)")
CARRIED = re.compile(r"=(\d+), write (\d) carry (\d)")
DIVIDED = re.compile(r"(\d+) divided by (\d+) is (\d+) remainder (\d+)")
HANDED_ON = re.compile(r"(?:carry|borrow) (\d); \d[*+-]\d[+-](\d)")  # to the next column
BROUGHT_DOWN = re.compile(r"remainder (\d+); (\d+)\d divided")
REVERSED = re.compile(r"Digits ([\d ]+) reversed give (\d+)\.")
SPLIT = re.compile(r"Split (\d+) into ([\d and]+)\.")
# what a question's numbers make, for those kinds of which they say all
MEANINGS: dict[str, Callable[[list[Decimal]], Decimal | int]] = {
    "square_root": lambda given: given[0].sqrt(),
    "square": lambda given: given[0] ** 2,
    "power": lambda given: given[0] ** given[1],
    "percent": lambda given: given[0] * given[1] / 100,
    "larger": max,
    "long_sum": sum,
}


# the same for calculations, whose result may be several numbers
CALCULATED: dict[str, Callable[[list[Decimal]], list[Decimal]]] = {
    "any_power": lambda given: [given[0] ** int(given[1])],
    "factorial": lambda given: [Decimal(math.factorial(int(given[0])))],
    "long_division": lambda given: [given[0] // given[1], given[0] % given[1]][
        : 2 if given[0] % given[1] else 1
    ],
    "large_product": lambda given: [given[0] * given[1]],
    "decimal_division": lambda given: [given[0] / given[1]],
}


def digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize(
    ("seed", "expected"), ORIGINAL["examples"].items(), ids=ORIGINAL["examples"]
)
def test_examples_are_those_of_the_recipe_that_nano_learned_from(seed: str, expected: str) -> None:
    drawn = generate.examples(int(seed), ORIGINAL["count"], english.FALLBACK)
    assert digest(example.text for example in drawn) == expected


@pytest.mark.parametrize(
    ("seed", "expected"), ORIGINAL["questions"].items(), ids=ORIGINAL["questions"]
)
def test_questions_are_those_of_the_original(seed: str, expected: str) -> None:
    r = random.Random(int(seed))
    drawn = (questions.question(r) for _ in range(ORIGINAL["count"]))
    assert digest(f"{text}\t{answer}" for text, answer in drawn) == expected


def test_the_standard_library_has_sentences() -> None:
    assert len(english.sentences()) > 1000
    assert all(
        15 < len(sentence) < 160 and "\n" not in sentence for sentence in english.sentences()
    )


def test_special_tokens_are_those_of_the_checkpoint() -> None:
    tokenizer = json.loads((bundled("nano") / "tokenizer.json").read_text(encoding="utf-8"))
    assert [token["content"] for token in tokenizer["added_tokens"]] == list(markup.SPECIAL)


def operations() -> list[tuple[str, int, int]]:
    """What the generator draws, and any numbers at all."""
    r = random.Random(3)
    free = [
        (sign, r.randrange(10 ** r.randint(1, 6)), r.randrange(10 ** r.randint(1, 6)))
        for sign in "+-*/"
        for _ in range(500)
    ]
    return [problems.operands(r) for _ in range(2000)] + [
        (sign, a, b + 1 if sign == "/" else b) for sign, a, b in free
    ]


def test_worked_arithmetic_is_right() -> None:
    for sign, a, b in operations():
        worked = arithmetic.OPERATIONS[sign](a, b)
        results = {
            "+": a + b,
            "-": a - b,
            "*": a * b,
            "/": f"{a // b} remainder {a % b}" if b and a % b else a // (b or 1),
        }
        assert worked.value == results[sign]
        assert str(worked.value) in worked.text.split(". ")[-1]


def test_every_step_of_worked_arithmetic_is_right() -> None:
    steps = 0
    for sign, a, b in operations():
        text = arithmetic.OPERATIONS[sign](a, b).text
        for left, value in EQUATION.findall(text):
            assert eval(left) == int(value), text
        for total, written, carry in CARRIED.findall(text):
            assert divmod(int(total), 10) == (int(carry), int(written)), text
        for dividend, divisor, quotient, rest in DIVIDED.findall(text):
            assert divmod(int(dividend), int(divisor)) == (int(quotient), int(rest)), text
        for left_over, used in HANDED_ON.findall(text) + BROUGHT_DOWN.findall(text):
            assert left_over == used, text
        sums = REVERSED.findall(text)
        for digits, number in sums:
            assert int(digits.replace(" ", "")[::-1]) == int(number), text
        if sums:
            assert int(sums[-1][1]) == abs(arithmetic.OPERATIONS[sign](a, b).number), text
        for number, parts in SPLIT.findall(text):
            assert sum(map(int, parts.split(" and "))) == int(number), text
        steps += sum(
            len(pattern.findall(text))
            for pattern in (EQUATION, DIVIDED, HANDED_ON, REVERSED, SPLIT)
        )
    assert steps > 20_000


def test_expressions_are_right() -> None:
    r = random.Random(4)
    for _ in range(1000):
        text, answer = questions.question(r, "expression")
        formula = max(re.findall(r"[\d+\-*×() ]+", text), key=len)
        assert eval(formula.strip().replace("×", "*")) == answer, text


@pytest.mark.parametrize("kind", MEANINGS)
def test_puzzles_are_right(kind: str) -> None:
    r = random.Random(5)
    for _ in range(300):
        text, answer = questions.question(r, kind)
        assert MEANINGS[kind](questions.numbers(text)) == Decimal(answer), text


def test_words_are_spelled_and_numbers_sorted() -> None:
    r = random.Random(6)
    for _ in range(300):
        text, answer = questions.question(r, "sort")
        assert sorted(questions.numbers(text)) == questions.numbers(str(answer))
        worked = puzzles.letters(r, "?").worked
        found = re.match(r"I count the letter ([a-z]): ([a-z0-9, ]+)\.", worked.text)
        assert found
        counted = [each.split(" ") for each in found[2].split(", ")]
        assert [each for each, _ in counted].count(found[1]) == worked.value
        assert [int(so_far) for _, so_far in counted][-1] == worked.value


def test_primes_are_primes() -> None:
    r = random.Random(7)
    for _ in range(1000):
        problem = puzzles.prime(r, "?")
        n = int(questions.numbers(problem.question)[0])
        assert str(problem.worked.value).startswith("No") is any(n % d == 0 for d in range(2, n))


def test_every_example_is_a_whole_conversation() -> None:
    for example in generate.examples(8, 2000, english.FALLBACK):
        text = example.text
        assert text.startswith(markup.BOS)
        assert text.endswith(markup.EOS)
        assert text.count(markup.ASSISTANT) == text.count(markup.USER)
        last = text.rsplit(markup.ASSISTANT, 1)[-1]
        if markup.FIM_HOLE not in text and markup.RESULTS_END not in last:
            learned = sum(part.counts for part in example.parts)
            assert last.startswith(f"{markup.THINK}\n")
            assert last.count(f"\n{markup.THOUGHT}\n\n") == 1
            assert text.count(markup.THOUGHT) == learned


def test_only_answers_are_learned() -> None:
    for example in generate.examples(18, 2000, english.FALLBACK):
        for part in example.parts:
            if part.counts:
                assert markup.USER not in part.text
                assert part.text.endswith(markup.EOS)
            else:
                given = (markup.ASSISTANT, markup.FIM_END, markup.RESULTS_END, "\n\n")
                assert part.text.endswith(given)


def test_a_sum_at_once_is_right_and_its_empty_reasoning_is_not_learned() -> None:
    r = random.Random(19)
    for _ in range(500):
        exchange = sums.sum_at_once(r)
        given, learned = render([exchange]).parts
        assert given.text.endswith(f"{markup.THINK}\n\n{markup.THOUGHT}\n\n")
        assert learned.text == f"{exchange.answer}{markup.EOS}"


def test_no_question_of_the_evaluation_is_in_the_generator() -> None:
    def plain(text: str) -> str:
        return re.sub(r"[^a-z ]", "", text.lower()).strip()

    asked = {
        plain(entry["question"])
        for name in ("file_questions.json", "file_questions_2.json")
        for entry in json.loads((Path(__file__).parent / name).read_text("utf-8"))
    }
    for concept in concepts.concepts():
        assert not asked & {plain(question) for question in concept.asked}
    for has_keys in (True, False):
        for sample in samples.samples(has_keys=has_keys):
            for block in sample.blocks:
                for line in block.lines:
                    assert not asked & {plain(question) for question in line.asked}


def test_long_expressions_are_right() -> None:
    r = random.Random(10)
    for _ in range(500):
        problem = expressions.long_expression(r, "?")
        formula = max(re.findall(r"[\d+\-*/×÷() ]+", problem.question), key=len)
        formula = formula.strip().replace("×", "*").replace("÷", "/")
        assert eval(formula) == problem.worked.value, problem.question


@pytest.mark.parametrize("kind", CALCULATED)
def test_calculations_are_right(kind: str) -> None:
    r = random.Random(11)
    for _ in range(300):
        problem = getattr(calculations, kind)(r, "?")
        given = questions.numbers(problem.question)
        assert CALCULATED[kind](given) == questions.numbers(str(problem.worked.value)), problem


def test_comparisons_are_right() -> None:
    r = random.Random(12)
    for _ in range(500):
        problem = comparisons.comparison(r, "?")
        a, b = questions.numbers(problem.question)
        said = str(problem.worked.value)
        if problem.whole:
            is_so = a > b if "larger" in said else a < b
            assert said.startswith("Yes") is is_so, problem
        else:
            larger = "The larger one" in problem.worked.text
            assert Decimal(said) == (max(a, b) if larger else min(a, b)), problem


def test_an_answer_from_a_file_is_on_its_line() -> None:
    r = random.Random(13)
    for _ in range(1000):
        document = settings.settings(r)
        for entry in document.entries:
            assert entry.line in document.body
            assert entry.key in entry.line
            assert entry.value in entry.line


def test_an_answer_that_quotes_a_line_of_a_file_quotes_a_whole_one() -> None:
    r = random.Random(20)
    quoted = 0
    for _ in range(1000):
        exchange = listings.listed(r)
        name = exchange.question.split("[file name]: ")[1].split("\n")[0]
        _, is_quote, line = exchange.answer.partition(f"In {name}: ")
        if is_quote:
            quoted += 1
            body = exchange.question.split("[file content begin]\n")[1]
            file, _, _ = body.partition("\n[file content end]")
            assert line in [each.strip() for each in file.split("\n")]
    assert quoted > 700


def test_a_count_of_what_is_in_a_file_is_right() -> None:
    r = random.Random(21)
    counts = 0
    for _ in range(1000):
        exchange = listings.listed(r)
        found = re.search(r"the number of [\w /]+ is (\d+)\.$", exchange.answer)
        if found and exchange.thinking:
            counts += 1
            listed = re.findall(r"^(\d+): (.+)$", exchange.thinking, re.MULTILINE)
            assert [int(number) for number, _ in listed] == list(range(1, int(found[1]) + 1))
            lines_of = [each.strip() for each in exchange.question.split("\n")]
            assert all(line in lines_of for _, line in listed)
    assert counts > 20


@pytest.mark.parametrize("has_keys", [True, False])
def test_a_sample_leaves_none_of_its_marks_in_a_file_or_a_question(has_keys: bool) -> None:
    marks = re.compile(r"[«»‹›⟦⟧⏎]|~~|<<<|>>>|\{\w=")
    places = re.compile(r"\{[a-z]+\}")  # files may have such text of their own
    r = random.Random(22)
    for _ in range(1000):
        if has_keys:
            document = samples.settings_of_a_sample(r)
            asked = [question for entry in document.entries for question in entry.asked]
        else:
            drawn = samples.listing(r)
            document = drawn.document
            asked = [question for line in drawn.written for question in line.asked]
        assert not marks.search(document.body)
        for text in asked:
            assert not marks.search(text)
            assert not places.search(text)


@pytest.mark.parametrize(
    "skill",
    [
        lookups.lookup,
        listings.listed,
        tables.table,
        logs.log,
        notes.note,
        code.source,
        lines.line,
    ],
)
def test_what_is_said_not_to_be_in_a_file_is_not_in_it(
    skill: Callable[[random.Random], Exchange],
) -> None:
    r = random.Random(14)
    missing = 0
    for _ in range(1000):
        exchange = skill(r)
        key, absent, name = exchange.answer.partition(" is not in ")
        if absent and exchange.answer.count(" ") < 9:
            missing += 1
            assert f"[file name]: {name.removesuffix('.')}\n" in exchange.question
            file = exchange.question.split(name.removesuffix("."))[1]
            body = file.split("[file content begin]\n")[1].split("[file content end]")[0]
            assert key not in body
    assert missing > 30


def test_a_tool_call_is_of_a_declared_tool_with_what_the_question_says() -> None:
    r = random.Random(15)
    calls = 0
    for _ in range(500):
        use = tools.tool_use(r, mathematics)
        for name, arguments in re.findall(r"sep｜>(\w+)\n```json\n(.*?)\n```", use.answer):
            calls += 1
            assert f"- `{name}`:" in use.system
            for value in json.loads(arguments).values():
                assert str(value).lower() in use.question.lower()
    assert calls > 300


def test_an_honest_no_helps_and_boxes_nothing() -> None:
    r = random.Random(16)
    for _ in range(1000):
        answer = refusals.refusal(r, english.FALLBACK).answer
        assert "`dslocal fit`" in answer or "nothing before this" in answer
        assert "boxed" not in answer


def test_a_conversation_has_up_to_ten_turns() -> None:
    r = random.Random(17)
    counts = {len(turns.conversation(r, mathematics)) for _ in range(300)}
    assert min(counts) == 2
    assert max(counts) == 10


@pytest.mark.parametrize("kind", questions.KINDS)
def test_the_answers_of_the_examples_are_right(kind: str) -> None:
    r = random.Random(9)
    for _ in range(200):
        _, expected = questions.question(r, kind)
        for boxed in (False, True):
            assert questions.right(
                phrasing.final(expected, boxed=boxed, unit="" if boxed else " apples"), expected
            )
            assert not questions.right(phrasing.final(7654321, boxed=boxed), expected)


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("2 and 2 make 4,042 apples.", 4042, True),
        ("$47 \\times 86 = 4042$\n\nThe final answer is \\boxed{4042}.", 4042, True),
        ("最终答案是\\boxed{-7}。", -7, True),
        ("It is −7.", -7, True),
        ("5-3 = 2", 2, True),
        ("so 8-3", 3, True),
        ("It is 12.", 2, False),
        ("It is 2, not 3.", 2, False),
        ('{"answer": "3 remainder 1"}', "3 remainder 1", True),
        ("3", "3 remainder 1", False),
        ("The answer is 0.750.", "0.75", True),
        ("I cannot say.", 4, False),
        ("", 4, False),
    ],
)
def test_answers_are_judged_by_the_numbers_at_their_end(
    answer: str, expected: questions.Answer, right: bool
) -> None:
    assert questions.right(answer, expected) is right


def test_an_unknown_kind_of_question_is_an_error() -> None:
    with pytest.raises(KeyError):
        questions.question(random.Random(0), "poem")
