"""Files as people have them, written down in ``samples/``: Dockerfiles, timetables, invoices.

A sample is a file with places for values. Some of its lines are left out, others are repeated, so
that few files are ever seen twice, and each line comes with questions in people's own words. The
language of the samples:

* ``== NAMES : KIND : NOUNS`` begins a sample. NAMES are file names, ``*.x`` any with that ending.
* KIND is ``keys`` for files of settings, whose ``«key»`` has a ``‹value›``, under the last
  ``⟦section⟧``; and ``lines`` for all others, where ``«»`` says up to which word a line is read.
* ``TEXT ~~ NAMES ~~ QUESTIONS`` is a line of settings with other names of the key; in files of
  lines, the names are left out. Lines without questions belong to the format.
* ``{kind}`` is a value of that kind, ``{a=kind}`` one that questions repeat as ``{a}``,
  ``{x|y}`` one of several texts; ``{s}`` in a question is the section.
* ``<<<`` and ``>>>`` stand around lines that are repeated; ``⏎`` is a line break within a line.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from make_nano import lexicon
from make_nano.skills.files.document import Document, Entry, file_name
from make_nano.skills.files.values import KINDS
from make_nano.words import word_list

FOLDER = Path(__file__).with_name("samples")
PLACEHOLDER = re.compile(r"\{(?:([a-z])=)?((?:[^{}]|\{\w+\})+)\}")
QUOTES = "\"'<>"
MAX_LINES_BODY = 900  # characters: what is read line by line is copied
COMMON = {
    *word_list("""
        what which when where whose whom does have much many long from with this that they their
        there must should could would will were been into about after before until then than them
        done made used need needs take takes come comes give gets each last first most
    """)
}


@dataclass(frozen=True)
class Line:
    text: str
    names: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    @property
    def is_optional(self) -> bool:
        return bool(self.asked) and "⟦" not in self.text


@dataclass(frozen=True)
class Block:
    lines: tuple[Line, ...]
    repeated: bool


@dataclass(frozen=True)
class Sample:
    names: tuple[str, ...]
    has_keys: bool
    nouns: tuple[str, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Written:
    """A line of a file: its text, what is known of it, and what can be asked."""

    text: str
    key: str = ""
    value: str = ""
    section: str = ""
    names: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    marked: str = ""
    key_at: int = 0
    filled: tuple[tuple[str, str], ...] = ()
    repeated: bool = False


@cache
def samples(*, has_keys: bool) -> tuple[Sample, ...]:
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        for part in ("\n" + path.read_text(encoding="utf-8")).split("\n== ")[1:]:
            found.append(_parsed(part.rstrip("\n")))
    return tuple(each for each in found if each.has_keys is has_keys)


def _parsed(text: str) -> Sample:
    header, *rest = text.split("\n")
    names, kind, *nouns = (each.strip() for each in header.split(" : "))
    has_keys = kind == "keys"
    blocks: list[Block] = []
    lines: list[Line] = []
    for each in [*rest, ""]:
        if each in ("<<<", ">>>"):
            blocks.append(Block(tuple(lines), each == ">>>"))
            lines = []
        else:
            lines.append(_line(each, has_keys))
    blocks.append(Block(tuple(lines[:-1]), repeated=False))
    listed = tuple(nouns[0].split("/")) if nouns else ()
    return Sample(tuple(names.split()), has_keys, listed, tuple(b for b in blocks if b.lines))


def _line(text: str, has_keys: bool) -> Line:
    parts = [each.rstrip() if at == 0 else each.strip() for at, each in enumerate(text.split("~~"))]
    if len(parts) == 1:
        return Line(text)
    asked = tuple(each.strip() for each in parts[-1].split(";"))
    names = tuple(parts[1].split("/")) if has_keys else ()
    return Line(parts[0], names, asked)


def settings_of_a_sample(r: random.Random) -> Document:
    """Return a file with keys, in a real format."""
    while True:
        sample = r.choice(samples(has_keys=True))
        written, lacking = _drawn(r, sample)
        entries = _entries(written)
        body = _joined(written)
        if entries and len(body) < 1400:
            return Document(_name(r, sample), body, entries, _not_held(lacking, body))


@dataclass(frozen=True)
class Listing:
    """A file of lines.

    Attributes:
        document: The file.
        written: Its lines, with what can be asked of them.
        nouns: What people call the lines that are repeated.
        lacking: Questions that only lines which were left out would answer.
    """

    document: Document
    written: tuple[Written, ...]
    nouns: tuple[str, ...]
    lacking: tuple[str, ...] = ()


def listing(r: random.Random) -> Listing:
    """Return a file of lines, in a real format."""
    while True:
        sample = r.choice(samples(has_keys=False))
        written, lacking = _drawn(r, sample)
        body = _joined(written)
        if any(each.asked for each in written) and len(body) < MAX_LINES_BODY:
            document = Document(_name(r, sample), body)
            return Listing(document, tuple(written), sample.nouns, _unanswered(lacking, body))


def _name(r: random.Random, sample: Sample) -> str:
    name = r.choice(sample.names)
    if r.random() < 0.12:
        return file_name(r, r.choice(["txt", "conf", "out", "md"]))
    return file_name(r, name[2:]) if name.startswith("*.") else name


def _drawn(r: random.Random, sample: Sample) -> tuple[list[Written], list[Line]]:
    """Return the lines of a file, and those that were left out."""
    left_out = r.choice([0.0, 0.2, 0.2, 0.45])
    written: list[Written] = []
    lacking: list[Line] = []
    section = ""
    for block in sample.blocks:
        if not block.repeated:
            chosen = [each for each in block.lines if not each.is_optional or r.random() > left_out]
            lacking += [each for each in block.lines if each not in chosen]
            section = _write(r, chosen, written, section, repeated=False)
            continue
        is_list = all(each.is_optional for each in block.lines)
        for _ in range(r.choice([1, 2, 3, 3, 4, 5, 6, 7] if is_list else [1, 2, 2, 3, 3, 4])):
            if is_list:
                chosen = [_of_a_list(r, block.lines)]
            else:
                share = max(left_out, 0.2)
                chosen = [e for e in block.lines if not e.is_optional or r.random() > share]
            section = _write(r, chosen, written, "", repeated=True)
    return written, lacking


def _of_a_list(r: random.Random, lines: tuple[Line, ...]) -> Line:
    """Return one of several ways to write a line, mostly the first: files are uniform."""
    return lines[0] if r.random() < 0.6 else r.choice(lines)


def _write(
    r: random.Random, lines: list[Line], written: list[Written], section: str, *, repeated: bool
) -> str:
    """Fill the lines and append them; return the section that they end in."""
    filled: dict[str, str] = {}
    for line in lines:
        text = fill(r, line.text, filled)
        found = re.search("⟦(.*?)⟧", text)
        if found:
            section = found[1]
        known = {**filled, "s": section} if section else dict(filled)
        marked = re.search("«(.*?)»", text)
        value = re.search("‹(.*?)›", text)
        key = re.sub("[⟦⟧‹›]", "", marked[1]).strip().strip(QUOTES) if marked else ""
        written.append(
            Written(
                re.sub("[«»‹›⟦⟧]", "", text).replace("⏎", "\n"),
                key,
                value[1] if value else "",
                section,
                tuple(fill(r, each, known, only=True) for each in line.names),
                tuple(fill(r, each, known, only=True) for each in line.asked),
                re.sub("[⟦⟧‹›]", "", marked[1]) if marked else "",
                _place(text, marked, key),
                tuple(known.items()),
                repeated,
            )
        )
    return section


def _place(text: str, marked: re.Match[str] | None, key: str) -> int:
    """Return where the key begins in a line without its marks."""
    if not marked:
        return 0
    return len(re.sub("[«»‹›⟦⟧]", "", text[: marked.start()])) + marked[1].index(key)


def fill(r: random.Random, text: str, filled: dict[str, str], *, only: bool = False) -> str:
    """Return a text with its places filled, and remember those that have a letter.

    Args:
        r: What draws.
        text: With places.
        filled: What letters stand for; those of this text are added.
        only: Whether only what has a letter already is filled.
    """

    if "{" not in text:
        return text

    def drawn(found: re.Match[str]) -> str:
        letter, kind = found[1], found[2]
        if not letter and kind in filled:
            return filled[kind]
        if only or ("|" not in kind and kind not in DRAWS):
            return found[0]
        value = _value(r, kind)
        if letter:
            filled[letter] = value
        return value

    return PLACEHOLDER.sub(drawn, text)


def _value(r: random.Random, kind: str) -> str:
    if "|" in kind:
        return PLACEHOLDER.sub(lambda found: DRAWS[found[2]](r), r.choice(kind.split("|")))
    while True:
        value = DRAWS[kind](r)
        if '"' not in value and "'" not in value and "~~" not in value:
            return value


def _joined(written: list[Written]) -> str:
    """Return the lines as a text; a JSON comma before a closing bracket is left out."""
    body = "\n".join(each.text for each in written).strip("\n")
    body = re.sub(r'(?<=["\d\w\]}]),(?=\n\s*[}\]])', "", body)
    return re.sub(r"\n{3,}", "\n\n", body)


def _entries(written: list[Written]) -> tuple[Entry, ...]:
    keys = [each.key.lower() for each in written if each.value]
    entries: list[Entry] = []
    section_from, section = 0, ""
    for at, each in enumerate(written):
        if each.section != section:
            section_from, section = at, each.section
        if not each.value or not each.key:
            continue
        line = _quoted(each)
        is_shared = bool(section) and keys.count(each.key.lower()) > 1
        if is_shared:
            before = "\n".join([*(w.text for w in written[section_from:at]), ""])
            begin = before.find(section)
            head = each.text[: each.key_at]
            line = before[max(begin, 0) :] + head + line
        spoken = each.names[len(entries) % len(each.names)] if each.names else each.key
        where = section if is_shared else ""
        entries.append(Entry(each.key, spoken, each.value, line, where, section, each.asked))
    return tuple(entries)


def _quoted(each: Written) -> str:
    """Return the text from the key to the value, with the quote that closes it."""
    text = each.text[each.key_at :]
    start = text.index(each.value, len(each.key))
    end = start + len(each.value)
    if text[start - 1] == '"' and text[end : end + 1] == '"':
        end += 1
    return text[:end]


def _not_held(lacking: list[Line], body: str) -> tuple[Entry, ...]:
    """Return what was left out of a file and is asked for in words that it does not have."""
    found = []
    text = body.lower()
    for line in lacking:
        name = next((n for n in line.names if n.lower() not in text and "{" not in n), "")
        asked = tuple(each for each in line.asked if "{" not in each)
        if name and asked and not any(word in text for word in name.lower().split()):
            found.append(Entry("", name, "", "", asked=asked))
    return tuple(found)


def _unanswered(lacking: list[Line], body: str) -> tuple[str, ...]:
    """Return questions for lines that were left out and have no word in common with the file."""
    text = body.lower()
    return tuple(
        question
        for line in lacking
        if not any(word in text for word in _long_words(line.text))
        for question in line.asked
        if is_foreign(question, text)
    )


def is_foreign(question: str, text: str) -> bool:
    """Return whether a question names something, and a text in lower case has none of its words."""
    words = _long_words(question)
    return bool(words) and "{" not in question and not any(word in text for word in words)


def _long_words(text: str) -> list[str]:
    """Return the words of a text that mean something, without their places for values."""
    found = re.findall("[a-z]{4,}", PLACEHOLDER.sub(" ", text).lower())
    return [word for word in found if word not in COMMON]


def _lower(draw: Callable[[random.Random], str]) -> Callable[[random.Random], str]:
    return lambda r: draw(r).lower()


def _hash(r: random.Random) -> str:
    return "".join(r.choices("0123456789abcdef", k=r.choice([7, 7, 7, 8, 10])))


def _cron(r: random.Random) -> str:
    minute = r.choice([str(r.randint(0, 59)), f"*/{r.choice([2, 5, 10, 15, 20, 30])}", "0"])
    hour = r.choice([str(r.randint(0, 23)), "*", f"*/{r.randint(2, 12)}"])
    day = r.choice(["*", "*", "*", str(r.randint(1, 28))])
    return f"{minute} {hour} {day} * {r.choice(['*', '*', '*', '1-5', str(r.randint(0, 6))])}"


def _stamp(r: random.Random) -> str:
    return (
        f"{r.randint(2010, 2035)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}"
        f"{r.choice('T ')}{r.randint(0, 23):02}:{r.randint(0, 59):02}:{r.randint(0, 59):02}"
    )


def _package(r: random.Random) -> str:
    return r.choice([lexicon.word, lexicon.word, lexicon.any_word, lexicon.hyphenated])(r).lower()


def _mount(r: random.Random) -> str:
    return r.choice(["/", "/mnt/", "/media/", "/srv/", "/"]) + lexicon.word(r)


DRAWS: dict[str, Callable[[random.Random], str]] = {
    **KINDS,
    "ip": lambda r: ".".join(str(r.randint(0, 255)) for _ in range(4)),
    "name": lexicon.name,
    "upper": lambda r: lexicon.word(r).upper(),
    "file": lambda r: f"{lexicon.any_word(r)}.{r.choice(lexicon.EXTENSIONS)}",
    "hyphen": lambda r: lexicon.hyphenated(r).replace("_", "-"),
    "hostname": lambda r: r.choice(
        [lexicon.any_word(r), f"{lexicon.word(r)}{r.randint(1, 20)}", KINDS["domain"](r)]
    ),
    "vers": lambda r: lexicon.version(r).lstrip("v"),
    "package": _package,
    "modpath": lambda r: f"{KINDS['domain'](r)}/{lexicon.word(r)}",
    "decimal": lambda r: f"{r.randint(0, 99)}.{r.randint(0, 9)}",
    "price": lambda r: f"{r.randint(1, 999)}.{r.randint(0, 99):02}",
    "clock24": lambda r: f"{r.randint(0, 23):02}:{r.randint(0, 59):02}",
    "letter": lambda r: r.choice("abcdefghjkmnpqrstuvwxyz"),
    "hash": _hash,
    "cron": _cron,
    "stamp": _stamp,
    "mount": _mount,
    "device": lambda r: r.choice(
        [f"/dev/sd{r.choice('abcdef')}{r.randint(1, 9)}", f"/dev/nvme{r.randint(0, 9)}n1",
         f"UUID={_hash(r)}", f"{lexicon.word(r)}:/{lexicon.word(r)}", f"/dev/{lexicon.word(r)}"]
    ),
    "fs": lambda r: r.choice(["ext4", "xfs", "btrfs", "vfat", "nfs", "zfs", "tmpfs", "ntfs"]),
    "mountopts": lambda r: r.choice(
        ["defaults", "ro", "rw", "noatime", "rw,noauto", "ro,nosuid", lexicon.word(r)]
    ),
    "perms": lambda r: r.choice("-d") + "".join(
        r.choice(["rwx", "rw-", "r--", "r-x", "---"]) for _ in range(3)
    ),
    "bytes": lambda r: str(r.randint(1, 10 ** r.randint(2, 7))),
    "human": lambda r: r.choice([str(r.randint(1, 999)), lexicon.decimal(r)]) + r.choice("KMGT"),
    "pct": lambda r: f"{r.randint(0, 100)}%",
    "day": lambda r: f"{r.choice(lexicon.MONTHS)[:3]} {r.randint(1, 28)}",
    "weekday": lambda r: r.choice(lexicon.WEEKDAYS),
    "month": lambda r: r.choice(lexicon.MONTHS),
    "http": lambda r: r.choice(["200", "301", "304", "400", "401", "403", "404", "500", "502"]),
    "thing": lexicon.any_word,
    "things": lambda r: f"{lexicon.word(r)} {lexicon.any_word(r)}",
    "unit": lambda r: r.choice(["g", "kg", "ml", "l", "cups", "tbsp", "pieces", "cans", "slices"]),
    "sqltype": lambda r: r.choice(
        ["INTEGER", "TEXT", "REAL", f"VARCHAR({r.randint(8, 255)})", "BOOLEAN", "DATE", "TIMESTAMP"]
    ),
    "type": lambda r: r.choice(["int", "float", "string", "bool", "double", "char", "long"]),
}  # fmt: skip
