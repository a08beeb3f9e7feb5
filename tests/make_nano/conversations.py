"""Every kind of conversation: problems, follow-ups, small talk, capitals, a value in an attached
file, and an honest no.

Each function draws one whole example. ``english`` are ordinary sentences to say no to.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from make_nano.arithmetic import OPERATIONS
from make_nano.markup import conversation, earlier_turn
from make_nano.phrasing import DIRECTIVE, ask, capitalised, final, finished
from make_nano.problems import bare, expression, operands, story, worked_aloud
from make_nano.puzzles import puzzle
from make_nano.small_talk import HELLO, NO, SMALL_TALK
from make_nano.words import (
    CAPITALS,
    NAMES,
    OFF_TOPIC,
    PEOPLE,
    SETTINGS,
    SPELLED,
    SYSTEMS,
    THINGS,
    TOPICS,
)

NEXT_STEPS = {
    "+": ("Now add {} to that.", "add {}", "plus {}?", "And plus {}?", "Add {} to it."),
    "-": ("Now subtract {} from that.", "minus {}", "And minus {}?", "Take away {}."),
    "*": ("Now multiply that by {}.", "times {}", "And times {}?", "Multiply it by {}."),
}
DOUBLE = ("Double it.", "double that")
ASKED_CAPITAL = (
    "what is the capital of {}",
    "what's the capital of {}",
    "capital of {}",
    "which city is the capital of {}",
    "name the capital of {}",
    "tell me the capital of {}",
    "{} capital",
    "what is {}'s capital",
)
ASKED_COUNTRY = (
    "{} is the capital of which country",
    "which country has the capital {}",
    "what country is {} the capital of",
)
ASKED_SETTING = (
    "what is the value of {}",
    "what is {} set to",
    "which value does {} have in this file",
    "what is {}",
    "find {}",
    "what's {}",
    "give me {}",
)
BEYOND = (
    "This is not arithmetic, a capital, an attached file or a gap in code. It is beyond what"
    " I was trained on, so I should say so."
)


def mathematics(r: random.Random) -> str:
    kind = r.random()
    if kind < 0.52:
        return bare(r)
    if kind < 0.68:
        problem = story(r)
    elif kind < 0.82:
        problem = expression(r)
    else:
        problem = puzzle(r)
    if problem.whole:
        return conversation(
            problem.question,
            problem.worked.text if r.random() < 0.85 else None,
            str(problem.worked.value),
        )
    return finished(r, problem.question, problem.worked, problem.unit)


def follow_up(r: random.Random) -> str:
    """A sum, then one or two steps on from its result."""
    sign, a, b = operands(r)
    value = OPERATIONS[sign](a, b).value
    if isinstance(value, str) or value < 0:
        sign = "+"
        a = r.randint(1, 99)
        b = r.randint(1, 99)
        value = a + b
    history = earlier_turn(ask(r, sign, a, b), final(value, boxed=r.random() < 0.3))
    for _ in range(r.choice([0, 0, 1])):
        question, _, result = _next_step(r, value)
        history += earlier_turn(question, final(result))
        value = result
    question, thinking, result = _next_step(r, value)
    boxed = r.random() < 0.3
    return conversation(
        question + (f" {DIRECTIVE}" if boxed else ""),
        thinking,
        final(result, boxed=boxed),
        history=history,
    )


def small_talk(r: random.Random) -> str:
    talk = r.choice(SMALL_TALK)
    question = capitalised(r, r.choice(talk.openings)) + r.choice(["", "?", "!", ".", ""])
    history = earlier_turn(capitalised(r, "hello"), HELLO) if r.random() < 0.2 else ""
    thinking = talk.thinking if r.random() > 0.15 else None
    answer = r.choice([talk.answer])  # one to choose from, but the choice draws
    return conversation(question, thinking, answer, history=history, system=_sometimes_system(r))


def off_topic(r: random.Random, english: Sequence[str]) -> str:
    """Anything else: the answer says what nano is and what it can do."""
    if r.random() < 0.3:
        sentence = r.choice(english)
        question = (
            r.choice(["", "", "Please ", "Summarize: ", "What does this mean: ", "Translate: "])
            + sentence
        )
    else:
        form = r.choice(OFF_TOPIC)
        topic, second = r.choice(TOPICS), r.choice(TOPICS)
        person, country = r.choice(PEOPLE), r.choice(list(CAPITALS))
        question = capitalised(r, form.format(t=topic, u=second, p=person, c=country)) + r.choice(
            ["?", "", ".", "!"]
        )
    return conversation(
        question, BEYOND if r.random() > 0.2 else None, NO, system=_sometimes_system(r)
    )


def capital(r: random.Random) -> str:
    country = r.choice(list(CAPITALS))
    city = CAPITALS[country]
    named = country if r.random() < 0.8 else country.lower()
    if r.random() < 0.4:
        named = named.replace("the ", "")
    if r.random() < 0.75:
        question = capitalised(r, r.choice(ASKED_CAPITAL).format(named))
        thinking = f"The user asks for the capital of {country}. I recall that it is {city}."
        answer = f"The capital of {country} is {city}."
    else:
        question = capitalised(r, r.choice(ASKED_COUNTRY).format(city))
        thinking = f"Which country has {city} as its capital? That is {country}."
        answer = f"{city} is the capital of {country}."
    question += r.choice(["?", "?", "", "."])
    return conversation(question, None if r.random() < 0.2 else thinking, answer)


def attached_file(r: random.Random) -> str:
    """A value looked up in a file, in the template that DeepSeek gives for files; in 12 of 100 it
    is not there.
    """
    count = r.choice([1, 2, 3, 5, 8, 12, 20, 30])
    keys = list(dict.fromkeys(_setting(r) for _ in range(count)))
    values = {key: _value(r) for key in keys}
    between = r.choice([" = ", ": ", "=", " "])
    name = r.choice(SPELLED + SETTINGS) + r.choice(
        [".ini", ".yaml", ".conf", ".txt", ".toml", ".env", ".cfg"]
    )
    key = r.choice(keys)
    question = capitalised(r, r.choice(ASKED_SETTING).format(key)) + r.choice(["?", "?", "", "."])
    body = "\n".join(f"{key}{between}{value}" for key, value in values.items())
    attached = f"[file name]: {name}\n[file content begin]\n{body}\n[file content end]\n"
    if r.random() < 0.12:
        while (missing := _setting(r)) in values:
            pass
        thinking = f"I look for {missing} in {name}. There is no such line."
        return conversation(
            f"{attached}What is the value of {missing}?",
            thinking,
            f"There is no {missing} in {name}.",
        )
    found = f"I look for {key} in {name}. The line is: {key}{between}{values[key]}"
    return conversation(
        attached + question,
        None if r.random() < 0.15 else found,
        f"In {name}, {key} is {values[key]}.",
    )


def _next_step(r: random.Random, value: int) -> tuple[str, str, int]:
    """A question about ``value``, the thinking and the result."""
    sign = r.choice("+-*")
    n = r.randint(2, 9) if sign == "*" else r.randint(1, 99)
    if sign == "-" and n > value:
        sign = "+"
    forms = NEXT_STEPS if n != 2 else {**NEXT_STEPS, "*": NEXT_STEPS["*"] + DOUBLE}
    drawn = {each: r.choice(choices) for each, choices in forms.items()}
    worked = worked_aloud(r, sign, value, n)
    return drawn[sign].format(n), f"The previous result was {value}. {worked.text}", worked.number


def _sometimes_system(r: random.Random) -> str:
    return r.choice(SYSTEMS) if r.random() < 0.1 else ""


def _setting(r: random.Random) -> str:
    if r.random() < 0.7:
        return r.choice(SETTINGS)
    return r.choice(SETTINGS) + r.choice(["_", "-", "."]) + r.choice(SETTINGS)


def _value(r: random.Random) -> str:
    return r.choice(
        [
            str(r.randint(0, 99999)),
            r.choice(THINGS),
            r.choice(NAMES).lower(),
            r.choice(["true", "false", "auto", "on", "off", "none"]),
            r.choice(SPELLED),
            f"{r.randint(0, 9)}.{r.randint(0, 99)}",
            f"{r.choice(SPELLED)}-{r.randint(1, 99)}",
        ]
    )
