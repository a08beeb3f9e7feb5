"""Tables, logs, notes and source files, and what one asks about them.

The reasoning quotes the line that answers. Where a line is the answer (a note, a message of a log)
the answer quotes it too, so that nothing is put in words that the file does not have.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from make_nano import lexicon
from make_nano.exchange import Exchange, sometimes_without
from make_nano.phrasing import capitalised
from make_nano.skills.documents import Document
from make_nano.skills.lookups import AFTER, BEFORE, ENDS, attached
from make_nano.words import THINGS

COLUMNS: tuple[tuple[str, Callable[[random.Random], str]], ...] = (
    ("age", lambda r: str(r.randint(3, 99))),
    ("city", lambda r: lexicon.syllables(r).capitalize()),
    ("price", lambda r: f"{r.randint(1, 99)}.{r.randint(0, 99):02}"),
    ("stock", lexicon.number),
    ("score", lambda r: str(r.randint(0, 100))),
    ("email", lexicon.email),
    ("phone", lambda r: str(r.randint(10**5, 10**7))),
    ("team", lexicon.word),
    ("status", lambda r: r.choice(["open", "closed", "paid", "late", "new", "done"])),
    ("date", lexicon.date),
    ("role", lexicon.word),
    ("id", lexicon.code),
    ("color", lambda r: r.choice(["red", "blue", "green", "black", "white", "grey"])),
    ("room", lambda r: f"{r.choice('ABCDE')}{r.randint(1, 40)}"),
)
CELL_ASKED = (
    "what is the {c} of {n}",
    "what is {n}'s {c}",
    "what's {n}'s {c}",
    "{c} of {n}",
    "which {c} does {n} have",
    "what {c} does {n} have",
    "which {c} has {n}",
    "{n}'s {c}",
    "give me the {c} of {n}",
    "tell me {n}'s {c}",
    "find the {c} for {n}",
    "what is the {c} for {n}",
    "what's the {c} of {n}",
    "what is the {c} of {n} in {f}",
    "look up the {c} of {n}",
    "what {c} is {n}",
    "I need the {c} of {n}",
    "{n}: {c}",
    "what is written as {c} for {n}",
)
CELL_AND = (
    "And {n}?",
    "And of {n}?",
    "And for {n}?",
    "what about {n}?",
    "and {n}",
    "And the {c} of {n}?",
    "And {n}'s {c}?",
    "How about {n}?",
)


def table(r: random.Random) -> Exchange:
    """Return a question about one cell of a table in CSV, TSV or Markdown."""
    first = r.choice(["name", "item", "user", "product", "person", "file", "host", lexicon.word(r)])
    people = first in ("name", "user", "person")
    columns = r.sample(COLUMNS, r.randint(1, 4))
    if r.random() < 0.3:
        columns[-1] = (lexicon.word(r), lexicon.value)
    titles = [first, *(title for title, _ in columns)]
    drawn = (lexicon.name(r) if people else lexicon.word(r) for _ in range(r.randint(1, 9)))
    rows = [[each, *(draw(r) for _, draw in columns)] for each in dict.fromkeys(drawn)]
    rows = [row for row in rows if not any("," in cell for cell in row)]
    separator, kind = r.choice(
        [(",", "csv"), (",", "csv"), (";", "csv"), ("\t", "tsv"), (" | ", "md")]
    )
    lines = [separator.join(row) for row in (titles, *rows)]
    if kind == "md":
        lines = [f"| {line} |" for line in lines]
        lines.insert(1, "|" + "---|" * len(titles))
    document = Document(lexicon.file_name(r, kind), "\n".join(lines), ())
    found = dict(zip((row[0] for row in rows), lines[-len(rows) :], strict=True))
    table = _Table(document, titles, rows, found)
    return table.exchange(r, r.choice(CELL_ASKED), attached(document), r.randrange(1, len(titles)))


class _Table:
    def __init__(
        self, document: Document, titles: list[str], rows: list[list[str]], lines: dict[str, str]
    ) -> None:
        self.document = document
        self.titles = titles
        self.rows = rows
        self.lines = lines

    def exchange(self, r: random.Random, form: str, block: str, column: int) -> Exchange:
        title, file = self.titles[column], self.document.name
        row = r.choice(self.rows)
        who = row[0]
        if r.random() < 0.12:
            while (who := lexicon.name(r)).lower() in self.document.body.lower():
                pass
        asked = who if r.random() < 0.8 else who.lower()
        text = form.format(c=title, n=asked, f=file)
        if block:
            text = r.choice(BEFORE) + text + r.choice(AFTER).format("", file)
            text += r.choice(ENDS)
        question = capitalised(r, text)
        if who in self.lines:
            columns = ", ".join(self.titles)
            thinking = (
                f"I look for {who} in {file}. The line is: {self.lines[who]}\n"
                f"The columns are {columns}, so {title} is {row[column]}."
            )
            answer = f"In {file}, {title} of {who} is {row[column]}."
        else:
            thinking = f"I look for {asked} in {file}. No line has it."
            answer = f"{asked} is not in {file}."

        def follow(again: random.Random) -> Exchange:
            return self.exchange(again, again.choice(CELL_AND), "", column)

        return Exchange(
            block + question, sometimes_without(r, thinking), answer, question, "", follow
        )


LEVELS = ("INFO", "DEBUG", "WARN", "WARNING", "ERROR")
EVENTS = (
    "{a} started",
    "{a} stopped",
    "cannot open {p}",
    "{a} connected to {h}",
    "lost {a}",
    "{a} failed: {b} {c}",
    "retry {n} of {a}",
    "{a}: {b} not found",
    "user {a} logged in",
    "{n} {a} deleted",
    "wrote {n} bytes to {p}",
    "listening on {h}",
    "{a} took {n} ms",
    "disk {a} is full",
    "timeout while reading {p}",
    "reloaded {p}",
)
LOG_ASKED = {
    "time": (
        "what happened at {t}",
        "what was logged at {t}",
        "which message is from {t}",
        "what does the log say at {t}",
        "{t}",
        "show the line of {t}",
        "what is at {t}",
    ),
    "level": (
        "what is the {l}",
        "which {l} is there",
        "what {l} do you see",
        "show the {l}",
        "is there an {l}",
        "what went wrong with level {l}",
        "find the {l}",
        "which {l}",
    ),
    "word": (
        "when did {w} come up",
        "what about {w}",
        "what does it say about {w}",
        "find {w}",
        "which line has {w}",
        "what happened to {w}",
        "what happened with {w}",
        "is there anything about {w}",
        "show the line with {w}",
        "what's up with {w}",
        "when was {w}",
    ),
}


def log(r: random.Random) -> Exchange:
    """Return a question whose answer is a line of a log."""
    lines, parts = [], []
    hour, minute = r.randint(0, 20), 0
    style = r.choice(
        [
            "{d} {t} {l} {m}",
            "{t} {l} {m}",
            "[{t}] {l}: {m}",
            "{d}T{t}Z {l} {m}",
            "{l} {t} {m}",
            "{t} {m}",
        ]
    )
    day = f"20{r.randint(10, 39)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}"
    for _ in range(r.randint(2, 9)):
        minute += r.randint(1, 9)
        time = f"{hour + minute // 60:02}:{minute % 60:02}:{r.randint(0, 59):02}"
        word = lexicon.word(r)
        message = r.choice(EVENTS).format(
            a=word,
            b=lexicon.word(r),
            c=lexicon.word(r),
            n=r.randint(2, 999),
            p=lexicon.path(r),
            h=lexicon.host(r),
        )
        level = r.choice(LEVELS)
        lines.append(style.format(d=day, t=time, l=level, m=message))
        parts.append((time, level, word))
    body = "\n".join(lines)
    document = Document(lexicon.file_name(r, r.choice(["log", "log", "txt"])), body, ())
    at = r.randrange(len(lines))
    time, level, word = parts[at]
    ways = ["time"]
    if "{l}" in style and [each[1] for each in parts].count(level) == 1:
        ways.append("level")
    if body.count(word) == 1:
        ways += ("word", "word")
    way = r.choice(ways)
    key = {"time": time, "level": level, "word": word}[way]
    if way == "level" and r.random() < 0.5:
        key = key.lower()
    return _quoting(
        r, document, r.choice(LOG_ASKED[way]).format(t=time, l=key, w=word), key, lines[at]
    )


# a sentence of a note with a subject {s}, and the questions that it answers
NOTES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "The {s} is on {d} at {c}.",
        (
            "when is the {s}",
            "what day is the {s}",
            "what time is the {s}",
            "on which day is the {s}",
            "when does the {s} start",
        ),
    ),
    (
        "The {s} is in {p}.",
        (
            "where is the {s}",
            "in which place is the {s}",
            "where do I find the {s}",
            "where's the {s}",
        ),
    ),
    ("{n} brings the {s}.", ("who brings the {s}", "who takes care of the {s}", "who has the {s}")),
    (
        "The {s} costs {x} euros.",
        (
            "how much is the {s}",
            "what does the {s} cost",
            "what is the price of the {s}",
            "how expensive is the {s}",
        ),
    ),
    (
        "The {s} begins at {c}.",
        (
            "when does the {s} begin",
            "what time does the {s} start",
            "when is the {s}",
            "at what time is the {s}",
        ),
    ),
    (
        "The code for the {s} is {k}.",
        (
            "what is the code for the {s}",
            "which code opens the {s}",
            "what's the {s} code",
            "code of the {s}",
        ),
    ),
    (
        "Call {n} about the {s}.",
        (
            "who do I call about the {s}",
            "whom should I call for the {s}",
            "who knows about the {s}",
        ),
    ),
    (
        "We need {x} {t} for the {s}.",
        (
            "what do we need for the {s}",
            "how many {t} do we need for the {s}",
            "what is needed for the {s}",
        ),
    ),
    (
        "{n} is responsible for the {s}.",
        (
            "who is responsible for the {s}",
            "who does the {s}",
            "whose job is the {s}",
            "who is in charge of the {s}",
        ),
    ),
    ("The {s} was sent on {d}.", ("when was the {s} sent", "on which day was the {s} sent")),
    (
        "Deadline for the {s}: {e}",
        (
            "what is the deadline for the {s}",
            "when is the {s} due",
            "by when is the {s} due",
            "until when must the {s} be done",
        ),
    ),
    ("The {s} has {x} pages.", ("how many pages has the {s}", "how long is the {s}")),
    ("{n} lives in {p}.", ("where does {n} live", "in which town does {n} live", "where is {n}")),
    ("{n} works as a {s}.", ("what does {n} do", "what is {n}'s job", "what does {n} work as")),
    (
        "- buy {x} {s}",
        (
            "how many {s} should I buy",
            "how many {s} do I buy",
            "what about the {s}",
            "how much {s} do I need to buy",
        ),
    ),
    (
        "TODO: {s} the {k}",
        ("what is to be done with the {k}", "what is the todo", "what do I have to do with {k}"),
    ),
)


def note(r: random.Random) -> Exchange:
    """Return a question about notes in plain sentences, which is answered with the sentence."""
    lines, asked = [], []
    for _ in range(r.choice([1, 1, 2, 3, 4, 6, 8])):
        sentence, questions = r.choice(NOTES)
        filled = {
            "s": lexicon.word(r),
            "d": r.choice(lexicon.WEEKDAYS),
            "c": lexicon.clock(r),
            "p": lexicon.syllables(r).capitalize(),
            "n": lexicon.name(r),
            "x": r.randint(2, 99),
            "k": lexicon.code(r),
            "t": r.choice(THINGS),
            "e": lexicon.date(r),
        }
        lines.append(sentence.format(**filled))
        asked.append([question.format(**filled) for question in questions])
        key = "n" if sentence.startswith("{n} lives") or "works" in sentence else "s"
        asked[-1].append(str(filled[key]))
    together = r.choice(["\n", "\n", " "])
    title = r.choice(["", "", f"# {lexicon.word(r).capitalize()}\n\n", "Notes\n"])
    kind = r.choice(["txt", "md", "txt", "eml"])
    document = Document(lexicon.file_name(r, kind), title + together.join(lines), ())
    at = r.randrange(len(lines))
    *wordings, key = asked[at]
    if document.body.count(key) > 1:
        return note(r)
    return _quoting(r, document, r.choice(wordings), key, lines[at])


def source(r: random.Random) -> Exchange:
    """Return a question about a short source file: a constant, a default, the names in it."""
    constants = [
        (lexicon.word(r).upper(), r.choice([lexicon.number(r), f'"{lexicon.value(r)}"']))
        for _ in range(r.randint(0, 3))
    ]
    names = list(
        dict.fromkeys(
            r.choice(["{}", "get_{}", "load_{}", "{}_all", "parse_{}"]).format(lexicon.word(r))
            for _ in range(r.randint(1, 4))
        )
    )
    lines = [f"{name} = {value}" for name, value in constants]
    defaults = []
    for name in names:
        first, second = lexicon.word(r), lexicon.word(r)
        default = r.choice([lexicon.number(r), "None", "True", f'"{lexicon.word(r)}"'])
        lines += ("", f"def {name}({first}, {second}={default}):", f"    return {first}")
        defaults.append((second, default, lines[-2]))
    document = Document(lexicon.file_name(r, "py"), "\n".join(lines).strip(), ())
    way = r.random()
    if way < 0.35:
        question = r.choice(
            [
                "Which functions are defined?",
                "what functions are in this file?",
                "List the functions.",
                "Which functions does {f} have?",
                "what are the functions called?",
                "name the functions in {f}",
                "functions?",
            ]
        )
        listed = ", ".join(names)
        return Exchange(
            attached(document) + question.format(f=document.name),
            sometimes_without(r, f"The lines that begin with def have the names {listed}."),
            f"In {document.name}, the functions are {listed}.",
            question.format(f=document.name),
        )
    if constants and way < 0.65:
        name, value = r.choice(constants)
        question, line = (
            r.choice(
                [
                    "what is {}",
                    "which value has {}",
                    "{}",
                    "what is {} set to",
                    "what's the value of {}",
                ]
            ).format(name),
            f"{name} = {value}",
        )
        value = value.strip('"')
    else:
        name, value, line = r.choice(defaults)
        value = value.strip('"')
        question = r.choice(
            [
                "what is the default of {}",
                "which default has {}",
                "default of {}",
                "what is {} by default",
                "what is the default value of {}",
            ]
        )
        question = question.format(name)
        if document.body.count(f" {name}=") > 1:
            return source(r)
    question = capitalised(r, question) + r.choice(ENDS)
    return Exchange(
        attached(document) + question,
        sometimes_without(r, f"I look for {name} in {document.name}. The line is: {line}"),
        f"In {document.name}, {name} is {value}.",
        question,
    )


def _quoting(r: random.Random, document: Document, text: str, key: str, line: str) -> Exchange:
    """Return the exchange whose answer is a line; now and then the file does not have it."""
    where = document
    answer = f"In {document.name}: {line}"
    thinking = f"I look for {key} in {document.name}. The line is: {line}"
    if r.random() < 0.1:
        body = document.body.replace(line, lexicon.phrase(r).capitalize() + ".")
        where = Document(document.name, body, ())
        if key.lower() not in body.lower():
            answer = f"{key} is not in {document.name}."
            thinking = f"I look for {key} in {document.name}. No line has it."
        else:
            where = document
    text = r.choice(BEFORE) + text + r.choice(AFTER).format("", document.name)
    question = capitalised(r, text) + r.choice(ENDS)
    return Exchange(attached(where) + question, sometimes_without(r, thinking), answer, question)
