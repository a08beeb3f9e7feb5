"""Notes in sentences, lists and half-sentences, and questions that one of them answers.

The answer quotes the sentence, so that nothing is put in words that the file does not have.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from make_nano import lexicon
from make_nano.exchange import Exchange
from make_nano.skills.files.document import (
    Document,
    attached,
    file_name,
    read_in_vain,
    read_to,
)
from make_nano.skills.files.lookups import exchange
from make_nano.skills.files.values import KINDS, place_name

FILE = Path(__file__).with_name("sentences.txt")
UNITS = ("minutes", "hours", "meters", "kg", "g", "liters", "ml", "days", "pounds", "cm", "km")
TITLES = ("", "", "", "Notes\n", "Hello,\n", "To do:\n", "List\n\n")
TITLE = (
    "what is the title",
    "what is the heading",
    "which title does it have",
    "what is the note called",
    "the title",
    "what is on top",
    "what's the headline",
)
ABSENT = (
    "when is the {}",
    "where is the {}",
    "who has the {}",
    "what about the {}",
    "what is the {}",
    "how much is the {}",
    "what does it say about the {}",
    "is there a {}",
    "which {} is it",
    "how many {} are there",
    "what is {}'s number",
    "who is {}",
    "where does {} live",
    "when does the {} start",
    "what is the code for the {}",
    "whose is the {}",
    "{}?",
)


@dataclass(frozen=True)
class Sentence:
    template: str
    asked: tuple[str, ...]


@cache
def sentence_templates() -> tuple[Sentence, ...]:
    found = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            template, _, asked = line.rpartition(" : ")
            found.append(Sentence(template, tuple(each.strip() for each in asked.split(";"))))
    return tuple(found)


def note(r: random.Random) -> Exchange:
    """Return a question about notes."""
    document, sentences = draw_note(r)
    return _exchange(r, document, sentences, attached(document))


def several_of_a_note(r: random.Random, count: int) -> list[Exchange]:
    """Return questions about one file of notes, of which only the first has the file."""
    document, sentences = draw_note(r)
    block = attached(document)
    return [_exchange(r, document, sentences, "" if number else block) for number in range(count)]


@dataclass(frozen=True)
class Written:
    """A sentence of a file, with the questions for it and what they name."""

    template: Sentence
    text: str
    asked: tuple[str, ...]
    subject: str


def draw_note(r: random.Random) -> tuple[Document, list[Written]]:
    sentences: list[Written] = []
    subjects: set[str] = set()
    alike = r.choice(sentence_templates()) if r.random() < 0.35 else None
    for _ in range(r.choice([1, 2, 2, 3, 3, 4, 5, 6, 8])):
        template = alike if alike and r.random() < 0.8 else r.choice(sentence_templates())
        filled = _filling(r)
        text = template.template.format(**filled)
        text = text[0].upper() + text[1:]
        subject = next((key for key in "snqc" if f"{{{key}}}" in template.template), "")
        named = filled[subject] if subject else text
        if named.lower() in subjects:
            continue
        subjects.add(named.lower())
        questions = tuple(each.format(**filled) for each in template.asked)
        sentences.append(Written(template, text, questions, named))
    together = "\n"
    if all(each.text.endswith(".") for each in sentences) and r.random() < 0.5:
        together = " "
    bullet = r.choice(["", "", "", "- ", "* ", "1. "]) if together == "\n" else ""
    lines = [each.text if each.text[0] == "-" else bullet + each.text for each in sentences]
    title = r.choice([*TITLES, f"# {lexicon.phrase(r).capitalize()}\n\n"])
    body = title + together.join(lines)
    return Document(file_name(r, r.choice(["txt", "md", "txt", "eml", "doc"])), body), sentences


def _filling(r: random.Random) -> dict[str, str]:
    phrase = lexicon.phrase(r)
    thing = lexicon.any_word(r)
    if r.random() < 0.2:
        thing += f" {lexicon.any_word(r)}"
    return {
        "s": thing,
        "o": lexicon.any_word(r),
        "n": lexicon.name(r) if r.random() < 0.7 else KINDS["person"](r),
        "m": lexicon.name(r),
        "d": r.choice(lexicon.WEEKDAYS),
        "c": lexicon.clock(r),
        "e": lexicon.date(r),
        "y": str(r.randint(1700, 2035)),
        "p": place_name(r),
        "x": str(r.randint(2, 999)),
        "k": KINDS["code"](r),
        "u": r.choice(UNITS),
        "w": KINDS["where"](r),
        "v": KINDS["money"](r),
        "h": KINDS["address"](r),
        "q": phrase,
        "f": r.choice(phrase.split()),
    }


def _exchange(
    r: random.Random, document: Document, sentences: list[Written], block: str
) -> Exchange:
    way = r.random()
    if way < 0.12:
        return _absent(r, document, sentences, block)
    if way < 0.16 and document.body.startswith("# "):
        title = document.body.partition("\n")[0]
        thinking = read_to(document, [title], 0)
        return exchange(
            r, document, block, r.choice(TITLE), thinking, f"In {document.name}: {title}"
        )
    chosen = r.choice(sentences)
    text, subject = chosen.text, chosen.subject
    wording = r.choice(chosen.asked)
    if subject.lower() not in wording.lower() and _is_vague(wording, chosen, sentences):
        naming = [each for each in chosen.asked if subject.lower() in each.lower()]
        wording = r.choice(naming or [wording])
    if r.random() < 0.25:
        wording = wording.lower()
    texts = [each.text for each in sentences]
    thinking = read_to(document, texts, texts.index(text))
    return exchange(r, document, block, wording, thinking, f"In {document.name}: {text}")


def _is_vague(wording: str, chosen: Written, sentences: list[Written]) -> bool:
    """Whether another sentence could be meant: one of the same kind, or with the same words."""
    others = [each for each in sentences if each is not chosen]
    long_words = [word for word in wording.split() if len(word) > 4 and word in chosen.text]
    return any(
        each.template is chosen.template or any(word in each.text for word in long_words)
        for each in others
    )


def _absent(r: random.Random, document: Document, sentences: list[Written], block: str) -> Exchange:
    body = document.body.lower()
    while True:
        word = r.choice([lexicon.any_word, lexicon.word, lexicon.name])(r)
        if word.lower() not in body:
            break
    thinking = read_in_vain(document, [each.text for each in sentences])
    answer = f"{word} is not in {document.name}."
    return exchange(r, document, block, r.choice(ABSENT).format(word), thinking, answer)
