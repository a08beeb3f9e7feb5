"""Lines of any words: which has a word, what stands before and after one, and saying again.

What is copied here has no meaning, so nothing but copying helps. Real files are hosts, fstab,
requirements, directory listings: lines of a few fields.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from make_nano import lexicon
from make_nano.exchange import Exchange, sometimes_without
from make_nano.skills.files.document import (
    Document,
    attached,
    file_name,
    read_in_vain,
    read_to,
)
from make_nano.skills.files.lookups import exchange
from make_nano.skills.files.values import KINDS, value

WHOLE = (
    "which line has {k}",
    "show the line with {k}",
    "what does the line with {k} say",
    "find {k}",
    "what about {k}",
    "what is there about {k}",
    "{k}",
    "grep {k}",
    "what stands next to {k}",
    "what does it say about {k}",
    "read me the line of {k}",
    "which entry is {k}",
    "what is {k}",
    "who is {k}",
    "which one is {k}",
    "where is {k}",
    "what belongs to {k}",
    "what is listed for {k}",
    "what is in the line of {k}",
    "what's {k}",
    "tell me about {k}",
    "what do we have for {k}",
    "look up {k}",
)
NEXT = ("what comes after {k}", "which word follows {k}", "what is the word after {k}")
BEFORE_IT = ("what comes before {k}", "which word is before {k}", "what stands before {k}")
FIRST = ("what is the first line", "which line is first", "how does the file begin", "first line")
LAST = ("what is the last line", "which line is last", "how does the file end", "last line")
SAY = (
    "say {x}",
    "repeat {x}",
    "repeat after me: {x}",
    "write {x}",
    "echo {x}",
    "copy this: {x}",
    "please repeat: {x}",
    "say this again: {x}",
    "repeat the following: {x}",
    "print {x}",
)


def line(r: random.Random) -> Exchange:
    """Return a question about one line of a file."""
    document, lines = _drawn(r)
    return _exchange(r, document, lines, attached(document))


def several_lines(r: random.Random, count: int) -> list[Exchange]:
    """Return questions about one file, of which only the first has the file."""
    document, lines = _drawn(r)
    block = attached(document)
    return [_exchange(r, document, lines, "" if number else block) for number in range(count)]


def said_again(r: random.Random) -> Exchange:
    """Return a request to repeat something word for word."""
    draws: tuple[Callable[[random.Random], str], ...]
    draws = (lexicon.phrase, lexicon.value, lexicon.wild_word, lexicon.wild, _words)
    text = r.choice(draws)(r)
    form = r.choice(SAY)
    question = r.choice([form, form[0].upper() + form[1:]]).format(x=text)
    return Exchange(question, sometimes_without(r, "I repeat it.", 0.4), text)


def _words(r: random.Random) -> str:
    return " ".join(lexicon.any_word(r) for _ in range(r.randint(2, 12)))


def _drawn(r: random.Random) -> tuple[Document, list[list[str]]]:
    """Return a file of lines of two to seven fields, some of them of one kind all down."""
    kinds = [r.choice([*KINDS, "word", "word", "any"]) for _ in range(r.choice([2, 2, 3, 4, 5, 7]))]
    alike = value(r, r.choice([*KINDS])) if r.random() < 0.25 else ""
    separator = r.choice([" ", " ", "\t", "  ", ", ", " - ", ": ", " | ", "==", " => ", "/"])
    lines = []
    for _ in range(r.choice([1, 2, 3, 3, 4, 5, 6, 8])):
        fields = [value(r, kind) for kind in kinds]
        lines.append([alike, *fields] if alike else fields)
    body = "\n".join(separator.join(fields) for fields in lines)
    if r.random() < 0.1:
        body = f"# {lexicon.phrase(r)}\n{body}"
    return Document(file_name(r, r.choice(["txt", "list", "conf", "lock", "md"])), body), lines


def _exchange(r: random.Random, document: Document, lines: list[list[str]], block: str) -> Exchange:
    whole = document.body.split("\n")[-len(lines) :]
    at = r.randrange(len(lines))
    field = r.randrange(len(lines[at]))
    key = lines[at][field]
    name = document.name
    way = r.random()
    if way < 0.1:
        return _absent(r, document, block)
    if way < 0.16:
        text, wanted = r.choice([(r.choice(FIRST), whole[0]), (r.choice(LAST), whole[-1])])
        if document.body.startswith("#"):
            text, wanted = r.choice(LAST), whole[-1]
        thinking = f"I look for that line in {name}. It says: {wanted}"
        return exchange(r, document, block, text, thinking, f"In {name}: {wanted}")
    if document.body.count(key) > 1 or len(key) < 2:
        return _exchange(r, document, lines, block)
    thinking = read_to(document, whole, at)
    if way < 0.26 and field + 1 < len(lines[at]):
        other = lines[at][field + 1]
        text, answer = r.choice(NEXT).format(k=key), f"In {name}, {other} comes after {key}."
    elif way < 0.36 and field:
        other = lines[at][field - 1]
        text, answer = r.choice(BEFORE_IT).format(k=key), f"In {name}, {other} comes before {key}."
    else:
        text, answer = r.choice(WHOLE).format(k=key), f"In {name}: {whole[at]}"
    return exchange(r, document, block, text, thinking, answer)


def _absent(r: random.Random, document: Document, block: str) -> Exchange:
    body = document.body.lower()
    while True:
        word = r.choice([lexicon.any_word, lexicon.value])(r)
        if word.lower() not in body:
            break
    thinking = read_in_vain(document, document.body.split("\n"))
    answer = f"{word} is not in {document.name}."
    return exchange(r, document, block, r.choice(WHOLE).format(k=word), thinking, answer)
