"""Files of keys and values: flat, in sections, nested, as JSON."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace

from make_nano import lexicon
from make_nano.skills.files.concepts import Concept, concepts
from make_nano.skills.files.document import MAX_BODY, Document, Entry, file_name
from make_nano.skills.files.formats import FLAT, KEY_FORMS, PLAIN, SECTIONED
from make_nano.skills.files.samples import settings_of_a_sample
from make_nano.skills.files.values import value
from make_nano.words import word_list

SAMPLES = 0.6  # of the files: those in a real format
COUNTS = (1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 10, 14)
SECTIONS = word_list("""
    server database client cache logging web api mail auth worker frontend backend proxy storage
    production staging development test local remote user admin core model training optimizer
    primary replica redis postgres nginx monitoring backup network display audio printer build
    release deploy lint docs kitchen garage office living bedroom cellar anna ben clara
""")


@dataclass(frozen=True)
class Pair:
    """What one entry is to hold, before a format writes it."""

    words: tuple[str, ...]
    key: str
    value: str
    concept: Concept | None = None

    @property
    def spoken(self) -> str:
        return " ".join(self.words)

    def entry(self, line: str, section: str = "") -> Entry:
        asked = self.concept.asked if self.concept else ()
        return Entry(self.key, self.spoken, self.value, line, section, section, asked)


def settings(r: random.Random) -> Document:
    """Return a file of keys and values, not longer than files that nano reads."""
    if r.random() < SAMPLES:
        return settings_of_a_sample(r)
    while True:
        way = r.random()
        if way < 0.56:
            document = _flat(r)
        elif way < 0.8:
            document = _sectioned(r)
        else:
            document = _json(r)
        if len(document.body) < MAX_BODY:
            return _unambiguous(document)


def bare(text: str) -> bool:
    """Whether a value is a number or a boolean, which programs write without quotes."""
    return text.lower() in ("true", "false") or text.replace(".", "", 1).isdigit()


def _pairs(r: random.Random, count: int, form: str) -> list[Pair]:
    """Return what a file holds: things that have a meaning beside others that have none."""
    found: dict[str, Pair] = {}
    meaningful = r.choice([0.0, 0.5, 0.9, 1.0])
    while len(found) < count:
        concept = r.choice(concepts()) if r.random() < meaningful else None
        if concept:
            words = r.choice(concept.keys).split()
            if r.random() < 0.12 and len(words) < 3:
                words = [lexicon.word(r), *words]
            held = value(r, concept.kind)
        else:
            words = [lexicon.any_word(r) for _ in range(r.choice([1, 1, 1, 2, 2, 3]))]
            if found and r.random() < 0.25:
                words = [*words[:1], r.choice(list(found.values())).words[-1]]
            held = lexicon.value(r)
        key = KEY_FORMS[form](words)
        if form == "title" and r.random() < 0.3:
            key = key.lower()
        found[key.lower()] = Pair(tuple(words), key, held, concept)
    return list(found.values())


def _flat(r: random.Random) -> Document:
    format_ = r.choice(FLAT)
    template, quote = r.choice(format_.lines), r.choice(format_.quotes)
    before, after, indent = r.choice(format_.around)
    names = {"s": lexicon.word(r), "t": lexicon.phrase(r).capitalize()}
    comments = bool(format_.comment) and r.random() < 0.3
    lines, entries = [], []
    for pair in _pairs(r, r.choice(COUNTS), r.choice(format_.forms)):
        if comments and r.random() < 0.3:
            lines.append(f"{indent}{format_.comment} {_comment(r, pair)}")
        line = template.format(k=pair.key, v=_quoted(pair.value, quote), **names)
        entries.append(pair.entry(_from_key(line, pair)))
        if comments and r.random() < 0.2:
            line += f"  {format_.comment} {lexicon.phrase(r)}"
        lines.append(indent + line)
        if r.random() < 0.05:
            lines.append("")
    if template.startswith("|") and r.random() < 0.7:
        lines[:0] = ["| name | value |", "|---|---|"]
    body = before.format(**names) + "\n".join(lines) + after.format(**names)
    return Document(file_name(r, r.choice(format_.extensions)), body, tuple(entries))


def _comment(r: random.Random, pair: Pair) -> str:
    """Return what stands over a line: anything, or something about it."""
    if r.random() < 0.6:
        return lexicon.phrase(r)
    other = r.choice(concepts())
    form = r.choice(("the {0}", "{0} of the {1}", "set the {0} here", "{0} ({1})", "see {1}"))
    return form.format(pair.spoken, r.choice(other.keys))


def _quoted(text: str, quote: str) -> str:
    return text if bare(text) or quote in text else f"{quote}{text}{quote}"


def _from_key(line: str, pair: Pair) -> str:
    """Return what is quoted of a line: from the key on, to the value's end and what closes it."""
    start = line.index(pair.key)
    end = line.index(pair.value, start + len(pair.key)) + len(pair.value)
    rest = line[end:]
    return line[start:end] + (
        rest[0] if rest[:1] in ('"', "'") and line[end - len(pair.value) - 1] == rest[0] else ""
    )


def _section_names(r: random.Random) -> list[str]:
    count = r.choice([1, 2, 2, 3, 3, 4])
    known = r.random() < 0.6
    names = r.sample(SECTIONS, count) if known else [lexicon.any_word(r) for _ in range(count)]
    if r.random() < 0.2:
        names = [each.capitalize() for each in names]
    return list(dict.fromkeys(names))


def _by_section(r: random.Random, form: str) -> list[tuple[str, list[Pair]]]:
    """Return sections and what they hold; mostly the same keys with other values."""
    names = _section_names(r)
    shared = _pairs(r, r.choice([1, 1, 2, 2, 3]), form)
    found = []
    for name in names:
        own = _pairs(r, r.choice([1, 1, 2, 3]), form) if r.random() < 0.6 else []
        again = [
            replace(pair, value=value(r, pair.concept.kind if pair.concept else "any"))
            for pair in shared
            if r.random() < 0.8
        ]
        pairs = {pair.key.lower(): pair for pair in (*again, *own)}
        mixed = list(pairs.values()) or shared
        r.shuffle(mixed)
        found.append((name, mixed))
    return found


def _sectioned(r: random.Random) -> Document:
    header, indent, template, end, quote, extension = r.choice(SECTIONED)
    form = r.choice(
        PLAIN if extension in ("md", "txt") else ("snake", "snake", "camel", "kebab", "joined")
    )
    outer = r.choice(["services", "jobs", "hosts", "rooms", lexicon.word(r)])
    nested = extension in ("yaml", "yml") and header.startswith("{s}") and r.random() < 0.4
    text, entries = "", []
    for section, pairs in _by_section(r, form):
        text += header.format(s=section)
        for pair in pairs:
            line = template.format(k=pair.key, v=_quoted(pair.value, quote))
            text += f"{indent}{line}\n"
            entries.append(pair.entry(_from_key(line, pair), section))
        text += end.replace("{s}", section)
    body = text.strip("\n")
    if nested:
        body = f"{outer}:\n" + "\n".join(f"  {line}" for line in body.split("\n"))
    if r.random() < 0.3 and not nested and header[0] != "[":
        first = _pairs(r, 1, form)[0]
        line = template.format(k=first.key, v=_quoted(first.value, quote))
        body = f"{line}\n{body}"
        entries.append(first.entry(_from_key(line, first)))
    return Document(file_name(r, extension), body, tuple(entries))


def _unambiguous(document: Document) -> Document:
    """Return the file; entries whose key stands once need no section to be found.

    Of the others the line begins with their section, from where it is read forwards.
    """
    keys = [entry.key.lower() for entry in document.entries]
    found, at = [], 0
    for entry in document.entries:
        place = max(document.body.find(entry.line, at), 0)
        at = place + len(entry.line) if place else at
        if not entry.section or keys.count(entry.key.lower()) == 1:
            found.append(replace(entry, section=""))
        else:
            begin = document.body.rfind(entry.section, 0, place)
            whole = document.body[begin:at] if place and begin >= 0 else entry.line
            found.append(replace(entry, line=whole))
    return replace(document, entries=tuple(found))


def _json(r: random.Random) -> Document:
    form = r.choice(["snake", "snake", "camel", "camel", "kebab", "upper", "pascal", "spaced"])
    tree: dict[str, object] = {}
    entries = []
    if r.random() < 0.6:
        for pair in _pairs(r, r.choice(COUNTS), form):
            tree[pair.key] = typed(pair.value)
            entries.append(pair.entry(f'{pair.key}": {_dumped(pair.value)}'))
    else:
        for section, pairs in _by_section(r, form):
            tree[section] = {pair.key: typed(pair.value) for pair in pairs}
            entries += [
                pair.entry(f'{pair.key}": {_dumped(pair.value)}', section) for pair in pairs
            ]
    indent = r.choice([2, 2, 2, 4, None])
    outer: object = tree
    if r.random() < 0.12:
        outer = {lexicon.word(r): tree}
    if r.random() < 0.06:
        outer = [tree]
    body = json.dumps(outer, indent=indent, ensure_ascii=False)
    return Document(file_name(r, "json"), body, tuple(entries))


def _dumped(text: str) -> str:
    return json.dumps(typed(text), ensure_ascii=False)


def typed(text: str) -> object:
    """Return a value as JSON holds it: a number or a boolean where it is one."""
    if text in ("true", "false"):
        return text == "true"
    if text.isdigit() and text.isascii() and (text == "0" or text[0] != "0"):
        return int(text)
    digits = text.replace(".", "")
    if text.count(".") == 1 and digits.isdigit() and digits.isascii() and str(float(text)) == text:
        return float(text)
    return text


def same_question(document: Document, question: str) -> int:
    """Return how many entries of a file a question that names no key could be for."""
    return sum(question in entry.asked for entry in document.entries)
