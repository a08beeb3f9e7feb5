"""Files of settings in many formats: what they look like and which line holds which value."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from make_nano import lexicon


@dataclass(frozen=True)
class Entry:
    """One value of a file.

    Attributes:
        key: As the file spells it.
        spoken: As a person says it.
        value: Without the format's quotes.
        line: The whole line.
        section: What the entry belongs to, as the file spells it; empty for none.
    """

    key: str
    spoken: str
    value: str
    line: str
    section: str = ""


@dataclass(frozen=True)
class Document:
    name: str
    body: str
    entries: tuple[Entry, ...]


KEY_FORMS: dict[str, Callable[[list[str]], str]] = {
    "snake": "_".join,
    "kebab": "-".join,
    "dot": ".".join,
    "upper": lambda words: "_".join(words).upper(),
    "camel": lambda words: words[0] + "".join(word.capitalize() for word in words[1:]),
    "pascal": lambda words: "".join(word.capitalize() for word in words),
    "title": lambda words: " ".join(words).capitalize(),
    "spaced": " ".join,
}
FORMS = {
    "env": ("upper",),
    "py": ("upper", "snake"),
    "js": ("camel",),
    "sh": ("upper", "snake"),
    "json": ("snake", "camel", "kebab", "snake", "dot"),
    "md": ("title", "spaced", "snake"),
    "txt": ("snake", "title", "spaced", "kebab"),
    "properties": ("dot", "kebab"),
}
ANY_FORM = ("snake", "snake", "kebab", "camel", "dot", "upper", "pascal")
COUNTS = (1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 10, 14, 20)


def settings(r: random.Random) -> Document:
    """Return a file of keys and values, flat or in sections."""
    format_, draw = r.choice(FORMATS)
    count = r.choice(COUNTS)
    form = KEY_FORMS[r.choice(FORMS.get(format_, ANY_FORM))]
    words = _distinct(r, count)
    pairs = [(form(each), " ".join(each), lexicon.value(r)) for each in words]
    body, entries = draw(r, pairs)
    name = ".env" if format_ == "env" and r.random() < 0.5 else lexicon.file_name(r, format_)
    return Document(name, body, tuple(entries))


Pair = tuple[str, str, str]  # key, spoken, value
Drawn = tuple[str, list[Entry]]


def _distinct(r: random.Random, count: int) -> list[list[str]]:
    """Return the words of keys; some share a word, so that a half match is no match."""
    found: dict[str, list[str]] = {}
    while len(found) < count:
        words = [lexicon.word(r) for _ in range(r.choice([1, 1, 1, 2, 2, 3]))]
        if found and r.random() < 0.2:
            words = [*words[:1], r.choice(list(found.values()))[-1]]
        found["".join(words)] = words
    return list(found.values())


def _flat(template: Callable[[random.Random], tuple[str, bool]]) -> Callable[..., Drawn]:
    def draw(r: random.Random, pairs: list[Pair]) -> Drawn:
        line, quotes = template(r)
        comment = r.choice(["#", "#", "//", ";"]) if r.random() < 0.2 else ""
        lines, entries = [], []
        for key, spoken, value in pairs:
            if comment and r.random() < 0.3:
                lines.append(f"{comment} {lexicon.phrase(r)}")
            shown = f'"{value}"' if quotes and not _bare(value) else value
            lines.append(line.format(key, shown))
            entries.append(Entry(key, spoken, value, lines[-1]))
            if r.random() < 0.05:
                lines.append("")
        return "\n".join(lines), entries

    return draw


def _bare(value: str) -> bool:
    """Whether a value is a number or a boolean, which programs write without quotes."""
    return value in ("true", "false") or value.replace(".", "", 1).isdigit()


def _sections(header: str, indent: str, line: str) -> Callable[..., Drawn]:
    """A format with sections, in which a key may come again with another value."""

    def draw(r: random.Random, pairs: list[Pair]) -> Drawn:
        names = list(dict.fromkeys(lexicon.word(r) for _ in range(r.randint(1, 4))))
        lines: list[str] = []
        entries = []
        for number, section in enumerate(names):
            lines.append(("\n" if number and indent == "" else "") + header.format(section))
            own = pairs[number :: len(names)]
            again = [(key, spoken, lexicon.value(r)) for key, spoken, _ in pairs[:1] if number]
            for key, spoken, value in dict.fromkeys([*own, *again]):
                lines.append(indent + line.format(key, value))
                entries.append(Entry(key, spoken, value, lines[-1].strip(), section))
        return "\n".join(lines), _unambiguous(entries)

    return draw


def _unambiguous(entries: list[Entry]) -> list[Entry]:
    """Return the entries; those whose key stands once need no section to be found."""
    keys = [entry.key for entry in entries]
    return [
        entry
        if keys.count(entry.key) > 1
        else Entry(entry.key, entry.spoken, entry.value, entry.line)
        for entry in entries
    ]


def _json(r: random.Random, pairs: list[Pair]) -> Drawn:
    tree: dict[str, object] = {}
    keys = {key for key, _, _ in pairs}
    section = ""
    for key, _, value in pairs:
        if r.random() < 0.15:
            section = lexicon.word(r)
        if section and section not in keys:
            inner = tree.setdefault(section, {})
            assert isinstance(inner, dict)
            inner[key] = _typed(value)
        else:
            tree[key] = _typed(value)
    indent = r.choice([2, 2, 4, None])
    body = json.dumps(tree, indent=indent, ensure_ascii=False)
    entries = []
    for key, spoken, value in pairs:
        line = f"{json.dumps(key)}: {json.dumps(_typed(value))}"
        entries.append(Entry(key, spoken, value, line))
    return body, entries


def _typed(value: str) -> object:
    if value in ("true", "false"):
        return value == "true"
    if value.isdigit() and (value == "0" or value[0] != "0"):
        return int(value)
    if value.count(".") == 1 and value.replace(".", "").isdigit() and str(float(value)) == value:
        return float(value)
    return value


def _markdown(r: random.Random, pairs: list[Pair]) -> Drawn:
    line = r.choice(
        [
            "- **{}**: {}",
            "- {}: {}",
            "* {}: {}",
            "| {} | {} |",
            "- `{}`: {}",
            "**{}:** {}",
            "{}: {}",
        ]
    )
    body, entries = _flat(lambda _: (line, False))(r, pairs)
    title = f"# {lexicon.phrase(r).capitalize()}\n\n" if r.random() < 0.7 else ""
    if line.startswith("|"):
        title += "| name | value |\n|---|---|\n"
    return title + body, entries


def _one_of(*lines: str) -> Callable[..., Drawn]:
    return _flat(lambda r: (r.choice(lines), False))


def _quoted(*lines: str) -> Callable[..., Drawn]:
    return _flat(lambda r: (r.choice(lines), True))


FORMATS: tuple[tuple[str, Callable[..., Drawn]], ...] = (
    ("ini", _one_of("{} = {}", "{}={}", "{} = {}")),
    ("ini", _sections("[{}]", "", "{} = {}")),
    ("cfg", _one_of("{} = {}", "{}={}", "{}: {}", "{} {}")),
    ("conf", _one_of("{} = {}", "{} {}", "{}: {}", "{} {};")),
    ("env", _one_of("{}={}", "{}={}", "export {}={}")),
    ("env", _quoted("{}={}", "export {}={}")),
    ("yaml", _one_of("{}: {}")),
    ("yaml", _sections("{}:", "  ", "{}: {}")),
    ("yml", _quoted("{}: {}")),
    ("toml", _quoted("{} = {}")),
    ("toml", _sections("[{}]", "", '{} = "{}"')),
    ("json", _json),
    ("json", _json),
    ("json", _json),
    ("txt", _one_of("{}: {}", "{} = {}", "{} - {}", "{} is {}", "{}\t{}", "{}={}")),
    ("md", _markdown),
    ("properties", _one_of("{}={}", "{} = {}")),
    ("py", _quoted("{} = {}")),
    ("js", _quoted("const {} = {};", "let {} = {};")),
    ("sh", _quoted("{}={}", "export {}={}")),
)
