"""How people ask for arithmetic and how nano words the answer: English and Chinese, signs and
words, boxed, plain or JSON.

The random draws are part of the recipe: where a choice is made for every operation although one is
used, that is how it was.
"""

from __future__ import annotations

import random
import re

from make_nano.arithmetic import Worked
from make_nano.exchange import Exchange
from make_nano.words import NUMBERS

DIRECTIVE = "Please reason step by step, and put your final answer within \\boxed{}."
DIRECTIVE_CHINESE = "请通过逐步推理来解答问题，并把最终答案放置于\\boxed{}中。"
# how often an entry stands here is how often it is asked that way
ASKED = (
    "What is {}",
    "What is {}",
    "What's {}",
    "what is {}",
    "whats {}",
    "what's {}",
    "How much is {}",
    "how much is {}",
    "Calculate {}",
    "calculate {}",
    "Compute {}",
    "compute {}",
    "Work out {}",
    "Find {}",
    "Evaluate {}",
    "Tell me {}",
    "Can you compute {}",
    "Please calculate {}",
    "Hey, what is {}",
    "Solve {}",
    "{}",
    "{}",
    "{}",
    "{} =",
    "{} = ",
    "Quick: {}",
    "Could you tell me {}",
    "I need {}",
    "Give me {}",
    "Hi, {}",
)
ENDINGS = ("?", "?", "?", "", "", ".", " ?", " please", ", please", "? ", "!")
REMARKS = (
    "",
    "",
    "",
    "",
    " Show your work.",
    " Explain.",
    " Think step by step.",
    " Just the number.",
    " Answer briefly.",
    " Be careful.",
    " Thanks!",
)
SPOKEN = {
    "+": ("plus", "and"),
    "-": ("minus", "take away"),
    "*": ("times", "multiplied by", "x"),
    "/": ("divided by", "over"),
}
CHINESE = {"+": "加", "-": "减", "*": "乘以", "/": "除以"}
INSTRUCTIONS = {
    "+": ("add {a} and {b}", "add {a} to {b}", "the sum of {a} and {b}", "{a} added to {b}"),
    "-": ("subtract {b} from {a}", "the difference of {a} and {b}", "{a} less {b}"),
    "*": ("multiply {a} by {b}", "the product of {a} and {b}"),
    "/": ("divide {a} by {b}", "the quotient of {a} and {b}"),
}


def ask(r: random.Random, sign: str, a: int, b: int) -> str:
    """A question for ``a sign b``."""
    left, right = _shown(r, a), _shown(r, b)
    way = r.random()
    if way < 0.08:
        return (
            f"{left}{CHINESE[sign]}{right}{r.choice(['等于多少？', '是多少？', '等于几？', '=？'])}"
        )
    if way < 0.12:
        verb = r.choice(["计算", "请计算", "算一下"])
        before = r.choice(["", " "])
        return f"{verb}{left}{before}{sign}{r.choice(['', ' '])}{right}"
    if way < 0.2:
        return _instruction(r, sign, left, right)
    if way < 0.38:
        return ask_for(r, f"{left} {r.choice(SPOKEN[sign])} {right}", after_equals=("", "?", " ?"))
    symbol = {"*": r.choice("**××x"), "/": r.choice("//÷")}.get(sign, sign)
    space = r.choice([" ", " ", "", ""])
    if symbol == "x":
        space = " "
    return ask_for(r, f"{left}{space}{symbol}{space}{right}", after_equals=("", "?", " ?"))


def ask_for(r: random.Random, expression: str, *, after_equals: tuple[str, ...] = ()) -> str:
    """A question for an expression. One that ends with = gets an ending from ``after_equals``, if
    there are any.
    """
    question = r.choice(ASKED).format(expression)
    if not question.rstrip().endswith("="):
        return question + r.choice(ENDINGS)
    return question + (r.choice(after_equals) if after_equals else "")


def capitalised(r: random.Random, text: str) -> str:
    """``text`` as it is, with a capital, or now and then shouted."""
    capital = text[0].upper() + text[1:]
    return r.choice(
        [text, capital, capital, text.upper() if len(text) < 25 and r.random() < 0.15 else text]
    )


def final(value: int | str, *, boxed: bool = False, unit: str = "", chinese: bool = False) -> str:
    """The sentence that gives the answer; a box holds no unit."""
    if boxed:
        return (
            f"最终答案是\\boxed{{{value}}}。"
            if chinese
            else f"The final answer is \\boxed{{{value}}}."
        )
    return f"答案是{value}。" if chinese else f"The answer is {value}{unit}."


def finished(
    r: random.Random, question: str, worked: Worked, unit: str = "", formula: str = ""
) -> Exchange:
    """Return the exchange: with R1's directive or without, JSON if asked for, and at times without
    thinking, as R1's vendor warns.

    With the directive thinking is left out in 3 of 100, otherwise in 25: this is what R1's
    recommendations are measured by.
    """
    chinese = bool(re.search("[一-鿿]", question))
    boxed = r.random() < 0.5
    json = not boxed and r.random() < 0.05
    if not chinese:
        question += r.choice(REMARKS)
    bare = question
    if boxed:
        question = (
            question.rstrip()
            + r.choice(["\n", " "])
            + (DIRECTIVE_CHINESE if chinese else DIRECTIVE)
        )
    elif json:
        question = question.rstrip() + r.choice(
            [" Answer as JSON.", " Reply in JSON.", " Return JSON with the key answer."]
        )
    thinking = None if r.random() < (0.03 if boxed else 0.25) else worked.text
    answer = (
        _json(worked.value)
        if json
        else final(worked.value, boxed=boxed, unit=unit, chinese=chinese)
    )
    if formula and boxed and thinking is not None and r.random() < 0.5:
        answer = f"${formula} = {worked.value}$\n\n{answer}"
    return Exchange(question, thinking, answer, bare)


def _shown(r: random.Random, number: int) -> str:
    """Digits; some large numbers with commas, some small ones as words."""
    if number >= 1000 and r.random() < 0.12:
        return f"{number:,}"
    if 0 <= number <= 20 and r.random() < 0.06:
        return NUMBERS[number]
    return str(number)


def _instruction(r: random.Random, sign: str, left: str, right: str) -> str:
    drawn = {each: r.choice(forms) for each, forms in INSTRUCTIONS.items()}
    text = drawn[sign].format(a=left, b=right)
    if r.random() < 0.4:
        text = text[0].upper() + text[1:]
    if text.lower().startswith("the"):
        text = r.choice(["What is ", "Find ", "Compute "]) + text[0].lower() + text[1:]
    return text + r.choice(ENDINGS)


def _json(value: int | str) -> str:
    number = re.fullmatch(r"-?\d+(\.\d+)?", str(value))
    return f'{{"answer": {value}}}' if number else f'{{"answer": "{value}"}}'
