"""Tables in CSV, TSV, Markdown and columns of blanks, and questions for one of their cells.

The reasoning lists the titles, says which is wanted, quotes the row and goes through all its cells
beside the titles: which cell stands under which title is never guessed, nor where to stop. What is
not in the table is found out after the title and the name are written down, in the same words.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from make_nano import lexicon
from make_nano.exchange import Exchange, sometimes_without
from make_nano.phrasing import capitalised
from make_nano.skills.files.concepts import Concept, concepts
from make_nano.skills.files.described_tables import described_tables
from make_nano.skills.files.document import Document, attached, file_name, line_by_line
from make_nano.skills.files.lookups import UNREASONED, finished
from make_nano.skills.files.samples import fill
from make_nano.skills.files.values import person, place_name, value

ROWS = {
    "name": "person",
    "person": "person",
    "user": "login",
    "customer": "person",
    "player": "person",
    "student": "person",
    "employee": "person",
    "author": "person",
    "city": "city",
    "country": "country",
    "host": "host",
    "server": "word",
    "item": "word",
    "product": "title",
    "article": "word",
    "sku": "code",
    "id": "code",
    "symbol": "code",
    "service": "word",
    "device": "word",
    "plant": "word",
    "team": "word",
    "file": "word",
    "book": "phrase",
    "course": "word",
    "sensor": "code",
    "planet": "word",
    "animal": "animal",
    "month": "month",
    "day": "weekday",
    "model": "word",
    "task": "phrase",
}
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
    "what's the {c} of the {n}",
    "{n} {c}",
    "what is the {c} of the {n}",
    "how much {c} does {n} have",
    "how much is {n} ({c})",
    "how many {c} does {n} have",
    "how many {c} for {n}",
    "which {c} is listed for {n}",
    "in which {c} is {n}",
    "what {c} was {n} given",
    "what is the {n} {c}",
    "{c} {n}",
    "in the row of {n}, what is the {c}",
    "what does {n} have as {c}",
    "show me {n}'s {c}",
    "is there a {c} for {n}",
    "do you have the {c} of {n}",
    "what {c} does the {n} have",
    "which {c} belongs to {n}",
    "what did {n} get as {c}",
    "{n}, {c}",
    "{c} for {n}",
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
WHO_HAS = (
    "which {t} has the {c} {v}",
    "who has the {c} {v}",
    "which {t} has {c} {v}",
    "whose {c} is {v}",
    "which {t} is it that has {v}",
    "where is {c} {v}",
    "{c} {v}",
    "which row has {v} as {c}",
    "for which {t} is the {c} {v}",
    "which {t} has {v}",
)
TRIES = 20  # to draw a cell
DESCRIBED = 0.55  # of all tables
PRONOUN = {"it", "they", "she", "he"}


class _SeparatorInCellsError(Exception):
    """A column's cells always have what separates the columns."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: As the file has it.
        kind: What sort of value its cells have, of ``values.KINDS``, or a text with places.
        asked: Questions for a cell; those of a described table name the row, as ``{n}``.
        rows: Questions for the row that has the cell ``{v}``.
    """

    title: str
    kind: str
    asked: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A file with rows; ``key`` is the column by which people name a row."""

    document: Document
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[str, ...]
    key: int
    nouns: tuple[str, ...] = ()

    def looking_for(self, what: str) -> str:
        """Return how all reasoning about the table begins."""
        titles = ", ".join(each.title for each in self.columns)
        return f"The titles are {titles}. I look for {what} in {self.document.name}."

    def reading(self, row: int, known: int) -> str:
        """Return the reasoning: the row that has what is known in a column, and its cells."""
        cells = zip(self.columns, self.rows[row], strict=True)
        pairs = "; ".join(f"{each.title}: {cell}" for each, cell in cells)
        found = f"The row is: {self.lines[row]}\n{pairs}"
        if not known:
            return found
        return f"{line_by_line(self.lines, row, self.rows[row][known])}\n{found}"


def table(r: random.Random) -> Exchange:
    """Return a question about one cell of a table."""
    made = draw_table(r)
    return _exchange(r, made, attached(made.document))


def several_of_a_table(r: random.Random, count: int) -> list[Exchange]:
    """Return questions about one table, of which only the first has the file."""
    made = draw_table(r)
    block = attached(made.document)
    return [_exchange(r, made, "" if number else block) for number in range(count)]


def draw_table(r: random.Random) -> Table:
    while True:
        try:
            made = _described(r) if r.random() < DESCRIBED else _drawn(r)
        except _SeparatorInCellsError:
            continue
        cells = [row[made.key] for row in made.rows]
        if len(set(cells)) == len(cells) and len(made.document.body) < 1200:
            return made


def _described(r: random.Random) -> Table:
    """Return one of the tables that people have."""
    chosen = r.choice(described_tables())
    columns = [
        Column(r.choice(each.titles), each.value, each.asked, each.rows)
        for each in chosen.some_columns(r)
    ]
    key = r.randrange(len(columns)) if r.random() < 0.3 else 0
    columns.insert(key, columns.pop(0))
    name = r.choice(chosen.names)
    table = _filled(r, columns, key, name.rpartition(".")[2])
    if name.startswith("*."):
        return replace(table, nouns=chosen.nouns)
    document = replace(table.document, name=name)
    return replace(table, nouns=chosen.nouns, document=document)


def _drawn(r: random.Random) -> Table:
    """Return a table of any columns."""
    first = r.choice([*ROWS, lexicon.any_word(r)])
    columns = [Column(first, ROWS.get(first, "any"))]
    for _ in range(r.choice([1, 2, 2, 3, 3, 4, 5])):
        if r.random() < 0.75:
            concept: Concept = r.choice(concepts())
            columns.append(Column(r.choice(concept.keys), concept.kind, concept.asked))
        else:
            columns.append(Column(lexicon.any_word(r), "any"))
    columns = list({each.title: each for each in columns}.values())
    key = 0
    if r.random() < 0.35:
        key = r.randrange(len(columns))
        columns[0], columns[key] = columns[key], columns[0]
        if r.random() < 0.7 and key:
            columns[0] = Column(r.choice(["id", "nr", "sku", "code", "no"]), "code")
    return _filled(r, columns, key)


def _filled(r: random.Random, columns: list[Column], key: int, ending: str = "") -> Table:
    """Return a table with rows, in one of the formats, or in one with the ending that is given."""
    spelled = r.choice(["{}", "{}", "{}", "title", "upper", "snake"])
    columns = [replace(each, title=_spelled(each.title, spelled)) for each in columns]
    found = [each for each in _SEPARATORS if each[1] == ending]
    separator, kind = r.choice(found or _SEPARATORS)
    is_made_up = not any("{" in each.kind for each in columns)
    quoted = _quoted_columns(r, len(columns)) if separator == "," and is_made_up else set()
    rows = [
        tuple(
            _cell_with_comma(r) if at in quoted else _cell(r, each.kind, separator.strip() or "\t")
            for at, each in enumerate(columns)
        )
        for _ in range(r.choice([1, 2, 3, 3, 4, 5, 6, 8, 10]))
    ]
    header, lines = _written(r, [each.title for each in columns], rows, separator)
    document = Document(file_name(r, kind), "\n".join([*header, *lines]))
    return Table(document, tuple(columns), tuple(rows), tuple(lines), key)


_SEPARATORS = (
    (",", "csv"),
    (",", "csv"),
    (",", "csv"),
    (", ", "csv"),
    (";", "csv"),
    ("\t", "tsv"),
    (" | ", "md"),
    (" | ", "md"),
    ("|", "txt"),
    ("  ", "txt"),
    ("\t", "txt"),
    (":", "txt"),
)


def _quoted_columns(r: random.Random, count: int) -> set[int]:
    """Return the columns whose cells have commas, and stand in quotes for it."""
    return {r.randrange(count)} if r.random() < 0.3 else set()


def _cell_with_comma(r: random.Random) -> str:
    first, second = r.choice([(lexicon.name, lexicon.name), (lexicon.phrase, lexicon.any_word)])
    return f"{first(r)}, {second(r)}"


def _spelled(title: str, way: str) -> str:
    if way == "title":
        return title.capitalize()
    if way == "upper":
        return title.upper()
    return title.replace(" ", "_") if way == "snake" else title


def _cell(r: random.Random, kind: str, separator: str) -> str:
    for _ in range(TRIES):
        if kind == "person":
            cell = person(r) if r.random() < 0.4 else lexicon.name(r)
        elif kind == "city":
            cell = place_name(r)
        elif kind == "month":
            cell = r.choice(lexicon.MONTHS)
        elif kind == "weekday":
            cell = r.choice(lexicon.WEEKDAYS)
        elif "{" in kind:
            cell = fill(r, kind, {})
        else:
            cell = value(r, kind)
        if separator not in cell and "  " not in cell:
            return cell
    raise _SeparatorInCellsError


def _written(
    r: random.Random, titles: list[str], rows: list[tuple[str, ...]], separator: str
) -> tuple[list[str], list[str]]:
    """Return the lines in front and one line for each row."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    padded = separator == "  " or (separator == " | " and r.random() < 0.4)

    to_the_right = padded and r.random() < 0.3

    def line(cells: list[str] | tuple[str, ...]) -> str:
        if separator == ",":
            cells = [f'"{cell}"' if "," in cell else cell for cell in cells]
        if to_the_right:
            cells = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        elif padded:
            cells = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        text = separator.join(cells).rstrip()
        return f"| {text} |" if separator == " | " else text

    header = [line(titles)]
    if separator == " | ":
        header.append("|" + r.choice(["---|", " --- |"]) * len(titles))
    if r.random() < 0.1:
        header[:0] = [f"{r.choice(['# ', '', '## '])}{lexicon.phrase(r).capitalize()}", ""]
    return header, [line(row) for row in rows]


def _exchange(r: random.Random, table: Table, block: str, form: str = "") -> Exchange:
    way = r.random()
    if way < 0.1 and not form:
        return _absent_row(r, table, block)
    if way < 0.15 and not form:
        return _absent_column(r, table, block)
    if way < 0.23 and not form:
        return _who_has(r, table, block)
    row = r.randrange(len(table.rows))
    others = [at for at in range(len(table.columns)) if at != table.key]
    column = r.choice(others or [table.key])
    name, title = table.rows[row][table.key], table.columns[column].title
    text = _cell_question(r, table, name, column, form)
    reading = table.reading(row, table.key)
    thinking = f"{table.looking_for(f'{title} of {name}')} {reading}"
    answer = f"In {table.document.name}, {title} of {name} is {table.rows[row][column]}."
    return _finished(r, table, block, text, thinking, answer)


def _cell_question(r: random.Random, table: Table, name: str, column: int, form: str) -> str:
    """Return a question for a cell, in the words of its column or without them."""
    wanted = table.columns[column]
    asked = name if r.random() < 0.85 else name.lower()
    own = [each for each in wanted.asked if "{n}" in each]
    if own and not form and r.random() < 0.8:
        return r.choice(own).replace("{n}", asked)
    if wanted.asked and not own and not form and r.random() < 0.35:
        words = r.choice(wanted.asked).split()
        found = next((word for word in words if word in PRONOUN), "")
        same = sum(wanted.asked == each.asked for each in table.columns)
        if found and same == 1:
            words[words.index(found)] = asked
            return " ".join(words)
    title = wanted.title if r.random() < 0.6 else wanted.title.lower().replace("_", " ")
    return (form or r.choice(CELL_ASKED)).format(c=title, n=asked, f=table.document.name)


def _finished(
    r: random.Random, table: Table, block: str, text: str, thinking: str, answer: str
) -> Exchange:
    if block or r.random() < 0.5:
        question = finished(r, text, table.document.name)
    else:
        question = capitalised(r, text)

    def follow(again: random.Random) -> Exchange:
        return _exchange(again, table, "", again.choice(CELL_AND))

    thinking_or_none = sometimes_without(r, thinking, UNREASONED)
    return Exchange(block + question, thinking_or_none, answer, question, "", follow)


def _absent_row(r: random.Random, table: Table, block: str) -> Exchange:
    body = table.document.body.lower()
    while True:
        who = _cell(r, table.columns[table.key].kind, "\n")
        if who.lower() not in body:
            break
    column = r.randrange(len(table.columns))
    title = table.columns[column].title
    text = r.choice(CELL_ASKED).format(c=title, n=who, f=table.document.name)
    thinking = f"{table.looking_for(f'{title} of {who}')} Nothing says it."
    return _finished(r, table, block, text, thinking, f"{who} is not in {table.document.name}.")


def _absent_column(r: random.Random, table: Table, block: str) -> Exchange:
    body = table.document.body.lower()
    taken = {each.asked for each in table.columns}
    while True:
        concept = r.choice(concepts())
        title = r.choice(concept.keys)
        if concept.asked not in taken and title not in body:
            break
    name = r.choice(table.rows)[table.key]
    text = r.choice(CELL_ASKED).format(c=title, n=name, f=table.document.name)
    thinking = f"{table.looking_for(f'{title} of {name}')} Nothing says it."
    return _finished(r, table, block, text, thinking, f"{title} is not in {table.document.name}.")


def _who_has(r: random.Random, table: Table, block: str) -> Exchange:
    """Return a question for the row in which a value stands."""
    column = r.randrange(len(table.columns))
    row = r.randrange(len(table.rows))
    cell = table.rows[row][column]
    if column == table.key or sum(cell in line for line in table.lines) > 1:
        return _exchange(r, table, block)
    first, title = table.columns[table.key].title, table.columns[column].title
    name = table.rows[row][table.key]
    own = table.columns[column].rows
    if own and r.random() < 0.7:
        text = r.choice(own).replace("{v}", cell)
    else:
        noun = r.choice(table.nouns or (first,))
        text = r.choice(WHO_HAS).format(t=noun, c=title, v=cell)
    thinking = f"{table.looking_for(cell)} {table.reading(row, column)}"
    answer = f"In {table.document.name}, {first} is {name}, whose {title} is {cell}."
    return _finished(r, table, block, text, thinking, answer)
