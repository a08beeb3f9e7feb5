"""Logs, and questions whose answer is a line of one.

What is asked for may stand anywhere in the line, so the reasoning goes through the lines. The
answer quotes the line from the time on, since dates are alike in many lines.
"""

from __future__ import annotations

import random
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

LEVELS = ("INFO", "DEBUG", "WARN", "WARNING", "ERROR", "FATAL", "TRACE", "NOTICE", "CRITICAL")
STYLES = (
    "{d} {t} {l} {m}",
    "{t} {l} {m}",
    "[{t}] {l}: {m}",
    "{d}T{t}Z {l} {m}",
    "{l} {t} {m}",
    "{t} {m}",
    "{b} {t} {p}: {m}",
    "{b} {t} {h} {p}[{n}]: {m}",
    "{d} {t},{n} {l} [{p}] {m}",
    "[{d} {t}] {p}.{l}: {m}",
    "{d} {t} | {l} | {m}",
    "{t} - {m}",
    "{d} {t} [{l}] {m}",
    "{d} {t} {p} {l} {m}",
    "{t} <{p}> {m}",
    "{d} {m}",
    "{l}: {m}",
    "{t}  {p}  {m}",
)
EVENTS = Path(__file__).with_name("events.txt")
BY_TIME = (
    "what happened at {k}",
    "what was logged at {k}",
    "which message is from {k}",
    "what does the log say at {k}",
    "{k}",
    "show the line of {k}",
    "what is at {k}",
    "what was going on at {k}",
    "what came at {k}",
    "which event is at {k}",
    "what about {k}",
)
BY_LEVEL = (
    "what is the {k}",
    "which {k} is there",
    "what {k} do you see",
    "show the {k}",
    "is there an {k}",
    "what went wrong with level {k}",
    "find the {k}",
    "which {k}",
    "what was the {k}",
    "is there a {k}",
    "what does the {k} say",
    "when was the {k}",
    "when did the {k} happen",
    "any {k}",
    "which line is {k}",
    "what {k} was logged",
)
BY_WORD = (
    "when did {k} come up",
    "what about {k}",
    "what does it say about {k}",
    "find {k}",
    "which line has {k}",
    "what happened to {k}",
    "what happened with {k}",
    "when was {k}",
    "is there anything about {k}",
    "show the line with {k}",
    "what's up with {k}",
    "what did {k} do",
    "what does the log say about {k}",
    "at what time was {k}",
    "when was {k} mentioned",
    "what was with {k}",
    "when did something happen to {k}",
    "when did the {k} happen",
    "what happened to the {k}",
    "what's the matter with {k}",
    "what does the log say about the {k}",
    "when did the {k} start",
    "when did the {k} end",
    "when was the {k}",
    "why did {k} fail",
    "did {k} work",
    "what was logged for {k}",
    "is {k} in the log",
    "what is known of {k}",
    "tell me what happened with {k}",
)


@cache
def events() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return what logs report, and the questions that each report answers."""
    found = []
    for line in EVENTS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            report, _, asked = line.partition(" : ")
            found.append((report, tuple(each.strip() for each in asked.split(";"))))
    return tuple(found)


def log(r: random.Random) -> Exchange:
    """Return a question whose answer is a line of a log."""
    lines, parts = _drawn(r)
    document = Document(file_name(r, r.choice(["log", "log", "txt", "out"])), "\n".join(lines))
    return asked_of_a_line(r, document, lines, parts)


def several_of_a_log(r: random.Random, count: int) -> list[Exchange]:
    """Return questions about one log, of which only the first has the file."""
    lines, parts = _drawn(r)
    document = Document(file_name(r, "log"), "\n".join(lines))
    return [
        asked_of_a_line(r, document, lines, parts, attach=not number) for number in range(count)
    ]


def asked_of_a_line(
    r: random.Random,
    document: Document,
    lines: list[str],
    parts: list[dict[str, str]],
    *,
    attach: bool = True,
) -> Exchange:
    """Return a question for one line, by its time, its level or a word that no other has."""
    at = r.randrange(len(lines))
    part = parts[at]
    ways: list[tuple[str, tuple[str, ...]]] = [("word", BY_WORD)] * 3
    if part["time"]:
        ways.append(("time", BY_TIME))
    if part["level"]:
        ways.append(("level", BY_LEVEL))
    way, forms = r.choice(ways)
    key = part[way]
    block = attached(document) if attach else ""
    if r.random() < 0.5 and sum(each["report"] == part["report"] for each in parts) == 1:
        return _quoted(r, document, block, part["asked"], lines, at, part["from"])
    if way == "word" and r.random() < 0.09:
        return _absent(r, document, block)
    if not key or sum(key in line for line in lines) > 1:
        return asked_of_a_line(r, document, lines, parts, attach=attach)
    asked = key.lower() if way != "time" and r.random() < 0.4 else key
    text = r.choice(forms).format(k=asked)
    return _quoted(r, document, block, text, lines, at, part["from"])


def _quoted(
    r: random.Random,
    document: Document,
    block: str,
    text: str,
    lines: list[str],
    at: int,
    begin: str,
) -> Exchange:
    """Return the exchange whose answer is a line, from ``begin`` on."""
    quote = lines[at][lines[at].index(begin) :]
    thinking = read_to(document, lines, at)
    return exchange(r, document, block, text, thinking, f"In {document.name}: {quote}")


def _absent(r: random.Random, document: Document, block: str) -> Exchange:
    body = document.body.lower()
    while True:
        word = r.choice([lexicon.any_word, lexicon.word, lexicon.name])(r)
        if word.lower() not in body:
            break
    text = r.choice(BY_WORD).format(k=word)
    thinking = read_in_vain(document, document.body.split("\n"))
    return exchange(r, document, block, text, thinking, f"{word} is not in {document.name}.")


def _drawn(r: random.Random) -> tuple[list[str], list[dict[str, str]]]:
    """Return the lines and, for each, its time, level, one word and where quoting begins."""
    lines, parts = [], []
    minute, second = r.randint(0, 1300), 0
    style = r.choice(STYLES)
    year, month = r.randint(2010, 2039), r.randint(1, 12)
    day = r.randint(1, 28)
    date = f"{year}-{month:02}-{day:02}"
    name = lexicon.MONTHS[month - 1][:3]
    short = r.random() < 0.2
    pace = r.choice([1, 9, 60])
    for _ in range(r.choice([2, 3, 3, 4, 4, 5, 6, 8])):
        minute += r.randint(0, pace)
        second = r.randint(0, 59)
        time = f"{minute // 60 % 24:02}:{minute % 60:02}" + ("" if short else f":{second:02}")
        word = lexicon.any_word(r)
        report, asked = r.choice(events())
        filled = {
            "a": word,
            "b": lexicon.any_word(r),
            "c": lexicon.any_word(r),
            "n": r.randint(2, 999),
            "p": lexicon.path(r),
            "h": lexicon.host(r),
        }
        message = report.format(**filled)
        level = r.choice(LEVELS)
        program = r.choice(["sshd", "cron", "kernel", "systemd", lexicon.word(r)])
        lines.append(
            style.format(
                d=date, t=time, l=level, m=message, b=f"{name} {day}", p=program,
                h=lexicon.word(r), n=r.randint(1, 9999),
            )
        )  # fmt: skip
        begin = time if "{t}" in style else lines[-1]
        shown = program if "{p}" in style else ""
        if "{l}" in style:
            shown = level
        parts.append(
            {
                "time": time if "{t}" in style else "",
                "level": shown,
                "word": word if word in message else "",
                "report": report,
                "asked": r.choice(asked).format(**filled),
                "message": message,
                "from": level if style.startswith("{l} {t}") else begin,
            }
        )
    return lines, parts
