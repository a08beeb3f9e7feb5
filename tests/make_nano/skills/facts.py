"""Facts that nano knows by heart: capitals, chemical elements, planets, the calendar, and how
dslocal is used.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from make_nano.exchange import Exchange, sometimes_without
from make_nano.fact_tables import CAPITALS, COMMANDS, ELEMENTS, LISTS, PLAIN, PLANETS
from make_nano.phrasing import DIRECTIVE, capitalised

ENDS = ("?", "?", "?", "", "", ".", " ?")
ASKED_CAPITAL = (
    "what is the capital of {}",
    "what is the capital of {}",
    "what's the capital of {}",
    "whats the capital of {}",
    "capital of {}",
    "which city is the capital of {}",
    "name the capital of {}",
    "tell me the capital of {}",
    "{} capital",
    "what is {}'s capital",
    "what is the capital city of {}",
    "give me the capital of {}",
    "the capital of {}",
    "do you know the capital of {}",
    "can you tell me the capital of {}",
    "which is the capital of {}",
    "what city is the capital of {}",
    "hi, what is the capital of {}",
    "{}'s capital",
    "what's {}'s capital city",
    "the capital of {} is",
    "I want to know the capital of {}",
)
ASKED_COUNTRY = (
    "{} is the capital of which country",
    "which country has the capital {}",
    "what country is {} the capital of",
    "of which country is {} the capital",
    "{} is the capital of what",
    "what is {} the capital of",
)
AND_OF = (
    "And of {}?",
    "and of {}?",
    "And {}?",
    "and {}?",
    "What about {}?",
    "what about {}",
    "And for {}?",
    "and that of {}?",
    "How about {}?",
    "Now {}.",
    "{}?",
    "and of {}",
    "And the capital of {}?",
)


def capital(r: random.Random) -> Exchange:
    """Return a question for a capital or, less often, for the country of one."""
    country = r.choice(COUNTRIES)
    if r.random() < 0.8:
        return _capital_of(r, country, r.choice(ASKED_CAPITAL), r.choice(ENDS))
    city = CAPITALS[country]
    question = capitalised(r, r.choice(ASKED_COUNTRY).format(city)) + r.choice(ENDS)
    thinking = f"Which country has {city} as its capital? That is {country}."
    return Exchange(
        question,
        sometimes_without(r, thinking),
        f"{city} is the capital of {country}.",
        follow=and_of,
    )


def _capital_of(r: random.Random, country: str, form: str, end: str) -> Exchange:
    city = CAPITALS[country]
    named = country
    if r.random() < 0.4:
        named = named.removeprefix("the ")
    if r.random() < 0.25:
        named = named.lower()
    question = capitalised(r, form.format(named)) + end
    thinking = f"The user asks for the capital of {country}. I recall that it is {city}."
    answer = f"The capital of {country} is {city}."
    bare = question
    if r.random() < 0.05:
        question += f"\n{DIRECTIVE}"
        answer = f"The final answer is \\boxed{{{city}}}."
    return Exchange(question, sometimes_without(r, thinking), answer, bare, follow=and_of)


def and_of(r: random.Random) -> Exchange:
    """Return a question for another capital, which leans on one before."""
    return _capital_of(r, r.choice(COUNTRIES), r.choice(AND_OF), "")


ELEMENT_ASKED: dict[str, tuple[str, ...]] = {
    "symbol": (
        "what is the symbol of {n}",
        "what is the chemical symbol for {n}",
        "symbol of {n}",
        "chemical symbol of {n}",
        "what's the symbol for {n}",
        "which symbol has {n}",
        "{n} symbol",
        "how is {n} abbreviated in chemistry",
    ),
    "number": (
        "what is the atomic number of {n}",
        "atomic number of {n}",
        "what's the atomic number of {n}",
        "how many protons does {n} have",
        "which atomic number has {n}",
    ),
    "name": (
        "which element is {s}",
        "what element is {s}",
        "which element has the symbol {s}",
        "what does {s} stand for in chemistry",
        "what element has the symbol {s}",
    ),
    "from number": (
        "which element has the atomic number {z}",
        "which element is number {z}",
        "what is element {z}",
        "what element has atomic number {z}",
        "element {z}",
    ),
}


AND_SYMBOL = (
    "And its chemical symbol?",
    "and its symbol?",
    "And the symbol?",
    "what is its symbol?",
    "What's its chemical symbol?",
    "and the chemical symbol",
)
AND_NUMBER = (
    "And its atomic number?",
    "and its number?",
    "And the atomic number?",
    "what is its atomic number?",
    "how many protons does it have?",
)


def element(r: random.Random) -> Exchange:
    way = r.choice([*ELEMENT_ASKED, "symbol", "number"])
    return _element(r, way, r.choice(ELEMENT_ASKED[way]), r.choice(ENDS))


def _element(r: random.Random, way: str, form: str, end: str) -> Exchange:
    number = r.randrange(len(ELEMENTS)) + 1
    symbol, name = ELEMENTS[number - 1]
    answer = {
        "symbol": f"The symbol of {name} is {symbol}.",
        "number": f"The atomic number of {name} is {number}.",
        "name": f"{symbol} is {name}.",
        "from number": f"Element {number} is {name}.",
    }[way]
    shown = name if r.random() < 0.7 else name.capitalize()
    question = capitalised(r, form.format(n=shown, s=symbol, z=number)) + end
    question = form.format(n=shown, s=symbol, z=number) + end if way == "name" else question

    def follow(again: random.Random) -> Exchange:
        if again.random() < 0.3:
            return _of_same_element(again, number)
        next_way = way if way in ("symbol", "number") else "symbol"
        forms = ("And of {n}?", "and {n}?", "What about {n}?", "and of {n}", "And {n}?")
        return _element(again, next_way, again.choice(forms), "")

    thinking = f"{name} has the symbol {symbol} and the number {number}."
    return Exchange(question, sometimes_without(r, thinking), answer, follow=follow)


def _of_same_element(r: random.Random, number: int) -> Exchange:
    """Return a question for another fact of the element that was spoken of."""
    symbol, name = ELEMENTS[number - 1]
    thinking = f"{name} has the symbol {symbol} and the number {number}."
    if r.random() < 0.5:
        return Exchange(r.choice(AND_SYMBOL), thinking, f"The symbol of {name} is {symbol}.")
    answer = f"The atomic number of {name} is {number}."
    return Exchange(r.choice(AND_NUMBER), thinking, answer)


def planet(r: random.Random) -> Exchange:
    at = r.randrange(len(PLANETS))
    name = PLANETS[at]
    place = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")[at]
    forms = [
        (f"which planet is the {place} from the sun", f"The {place} planet is {name}."),
        (f"what is the {place} planet", f"The {place} planet is {name}."),
        (f"which place has {name} from the sun", f"{name} is the {place} planet."),
        (f"what number planet is {name}", f"{name} is the {place} planet."),
    ]
    if at + 1 < len(PLANETS):
        forms.append((f"which planet comes after {name}", f"After {name} comes {PLANETS[at + 1]}."))
    if at:
        forms.append(
            (f"which planet comes before {name}", f"Before {name} comes {PLANETS[at - 1]}.")
        )
    question, answer = r.choice(forms)
    thinking = f"The planets in order: {', '.join(PLANETS)}. {answer}"
    return Exchange(
        capitalised(r, question) + r.choice(ENDS), sometimes_without(r, thinking), answer
    )


def plain(r: random.Random) -> Exchange:
    """Return one of the few hundred questions that have an answer of their own."""
    questions, answer = r.choice(PLAIN)
    question = capitalised(r, r.choice(questions)) + r.choice(ENDS)
    return Exchange(question, sometimes_without(r, f"I know this one. {answer}", 0.25), answer)


def command(r: random.Random) -> Exchange:
    """Return a question on how dslocal is used, answered with the command."""
    questions, answer = r.choice(COMMANDS)
    text = r.choice(questions)
    wrap = r.choice(
        [
            "{}",
            "{}",
            "{}",
            "how do I {}",
            "how can I {}",
            "how to {}",
            "I want to {}",
            "can dslocal {}",
            "how do I {} with dslocal",
            "{} with dslocal",
            "which command do I need to {}",
            "what is the command to {}",
            "can you tell me how to {}",
            "please explain how to {}",
            "command to {}",
            "help me {}",
            "how would I {}",
            "is there a way to {}",
            "I'd like to {}",
        ]
    )
    if text.startswith("="):
        text = text[1:]
    else:
        text = wrap.format(text) if wrap != "{}" else f"how do I {text}"
    question = capitalised(r, text) + r.choice(ENDS)
    thinking = "This is about dslocal itself. I know the command."
    return Exchange(question, sometimes_without(r, thinking, 0.2), answer)


def listed(r: random.Random) -> Exchange:
    """Return a question for a short list, as lines, with commas or as JSON."""
    what, known = r.choice(LISTS)
    ordered = what.startswith("=")
    what = what.removeprefix("=")
    count = r.randint(2, min(6, len(known)))
    whole = ordered and r.random() < 0.5
    chosen = list(known if whole else known[:count])
    number = r.choice([str(count), ("two", "three", "four", "five", "six")[count - 2]])
    if whole:
        form = r.choice(
            [
                "list the {w}",
                "name the {w}",
                "what are the {w}",
                "name all {w}",
                "list all {w}",
                "which {w} are there",
                "tell me the {w}",
            ]
        )
    elif ordered:
        form = r.choice(
            [
                "name the first {n} {w}",
                "list the first {n} {w}",
                "the first {n} {w}",
                "what are the first {n} {w}",
            ]
        )
    else:
        form = r.choice(
            [
                "list {n} {w}",
                "name {n} {w}",
                "give me {n} {w}",
                "{n} {w}",
                "tell me {n} {w}",
                "give me a list of {n} {w}",
                "can you name {n} {w}",
                "write down {n} {w}",
            ]
        )
    question = capitalised(r, form.format(n=number, w=what))
    style = r.random()
    if style < 0.15:
        question += r.choice([" as JSON.", ". Answer as JSON.", " in JSON", " as a JSON list"])
        answer = "[" + ", ".join(f'"{each}"' for each in chosen) + "]"
    elif style < 0.5:
        question += r.choice([" as a list", " as bullet points", ", one per line", " in a list"])
        answer = "\n".join(f"- {each}" for each in chosen)
    else:
        question += r.choice(["?", ".", ""])
        answer = ", ".join(chosen)
    thinking = f"The user wants {what}: {', '.join(chosen)}."
    return Exchange(question, sometimes_without(r, thinking), answer)


COUNTRIES = tuple(CAPITALS)
KNOWN: tuple[Callable[[random.Random], Exchange], ...] = (
    capital,
    element,
    planet,
    plain,
    command,
    listed,
)
