"""Questions about files of lines in real formats: ``samples`` of hosts, timetables, mails.

The reasoning copies the lines until one answers the question, and the answer quotes that line.
What is first or last, and how many there are, is read off the lines.
"""

from __future__ import annotations

import random

from make_nano import lexicon
from make_nano.exchange import Exchange
from make_nano.skills.files.document import Document, attached, read_in_vain, read_to
from make_nano.skills.files.lines import WHOLE
from make_nano.skills.files.lookups import exchange
from make_nano.skills.files.samples import Listing, Written, is_foreign, listing
from make_nano.words import word_list

COUNTED = (
    "how many {n} are there",
    "how many {n}",
    "how many {n} does it have",
    "how many {n} are listed",
    "count the {n}",
    "what is the number of {n}",
    "how many {n} do you see",
    "how many {n} are in {f}",
)
FIRST = ("what is the first of the {n}", "which of the {n} is first", "the first of the {n}")
LAST = ("what is the last of the {n}", "which of the {n} is last", "the last of the {n}")
OTHERS = word_list("password budget owner deadline iban warranty discount manager license backup")
TRIES = 30
THE_ANSWER = "The answer"  # is what is said not to be there where a question names nothing


def listed(r: random.Random) -> Exchange:
    """Return a question about a file of lines."""
    drawn = listing(r)
    return _exchange(r, drawn, attached(drawn.document))


def several_listed(r: random.Random, count: int) -> list[Exchange]:
    """Return questions about one file, of which only the first has the file."""
    drawn = listing(r)
    block = attached(drawn.document)
    return [_exchange(r, drawn, "" if number else block) for number in range(count)]


def _exchange(r: random.Random, drawn: Listing, block: str) -> Exchange:
    way = r.random()
    repeated = [each for each in drawn.written if each.repeated and each.asked]
    if way < 0.12:
        return _absent(r, drawn, block)
    if way < 0.19 and drawn.nouns and repeated:
        return _counted(r, drawn, repeated, block)
    if way < 0.22 and drawn.nouns and repeated:
        return _at_an_end(r, drawn, repeated, block)
    for _ in range(TRIES):
        line = r.choice([each for each in drawn.written if each.asked])
        text = r.choice(line.asked)
        if _is_the_only_one(drawn, line, text):
            return _quoted(r, drawn.document, block, text, line)
    return _absent(r, drawn, block)


def _is_the_only_one(drawn: Listing, line: Written, text: str) -> bool:
    """Return whether a line alone answers a question."""
    lines = _lines(drawn.document)
    if lines.count(line.text.strip()) != 1:
        return False
    named = [value for _, value in line.filled if value in text and value in line.text]
    if any(sum(each.lower() in other.lower() for other in lines) == 1 for each in named):
        return True
    if named or not line.marked or line.repeated:
        return False
    return sum(line.marked in each for each in lines) == 1


def _quoted(r: random.Random, document: Document, block: str, text: str, line: Written) -> Exchange:
    quote = line.text.strip()
    lines = _lines(document)
    thinking = read_to(document, lines, lines.index(quote))
    return exchange(r, document, block, text, thinking, f"In {document.name}: {quote}")


def _lines(document: Document) -> list[str]:
    return [each.strip() for each in document.body.split("\n") if each.strip()]


def _counted(r: random.Random, drawn: Listing, repeated: list[Written], block: str) -> Exchange:
    name, noun = drawn.document.name, r.choice(drawn.nouns)
    counted = "\n".join(f"{n}: {each.text.strip()}" for n, each in enumerate(repeated, 1))
    text = r.choice(COUNTED).format(n=noun, f=name)
    thinking = f"I count the {noun} in {name}:\n{counted}"
    answer = f"In {name}, the number of {noun} is {len(repeated)}."
    return exchange(r, drawn.document, block, text, thinking, answer)


def _at_an_end(r: random.Random, drawn: Listing, repeated: list[Written], block: str) -> Exchange:
    name, noun = drawn.document.name, r.choice(drawn.nouns)
    forms, line = r.choice([(FIRST, repeated[0]), (LAST, repeated[-1])])
    quote = line.text.strip()
    thinking = f"I look for that line in {name}. It says: {quote}"
    text = r.choice(forms).format(n=noun)
    return exchange(r, drawn.document, block, text, thinking, f"In {name}: {quote}")


def _absent(r: random.Random, drawn: Listing, block: str) -> Exchange:
    """Return a question for somebody or something that the file does not name."""
    body = drawn.document.body.lower()
    way = r.random()
    if way < 0.35 and drawn.lacking:
        return _declined(r, drawn.document, block, r.choice(drawn.lacking), THE_ANSWER)
    if way > 0.85:
        others = [text for line in listing(r).written for text in line.asked]
        foreign = [each for each in others if is_foreign(each, body)]
        if foreign:
            return _declined(r, drawn.document, block, r.choice(foreign), THE_ANSWER)
    asked = [(line, text) for line in drawn.written for text in line.asked]
    for _ in range(TRIES):
        line, text = r.choice(asked)
        named = [value for _, value in line.filled if value in text and len(value) > 2]
        if not named:
            continue
        word = r.choice([lexicon.any_word, lexicon.name, lexicon.word])(r)
        if word.lower() not in body:
            return _declined(r, drawn.document, block, text.replace(named[0], word), word)
    word = next(each for each in r.sample(OTHERS, len(OTHERS)) if each not in body)
    return _declined(r, drawn.document, block, r.choice(WHOLE).format(k=f"the {word}"), word)


def _declined(r: random.Random, document: Document, block: str, text: str, word: str) -> Exchange:
    thinking = read_in_vain(document, _lines(document))
    return exchange(r, document, block, text, thinking, f"{word} is not in {document.name}.")
