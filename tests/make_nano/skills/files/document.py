"""An attached file: its name, its text, and which part of the text says what."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from make_nano import lexicon
from make_nano.words import word_list

# files that people have, whose names say nothing of their format
KNOWN_NAMES = word_list("""
    .bashrc .env.local .gitignore .npmrc .profile .vimrc .editorconfig .htaccess Dockerfile
    Makefile Procfile Vagrantfile Jenkinsfile Caddyfile Pipfile LICENSE CHANGELOG AUTHORS TODO
    hostname passwd fstab crontab sudoers exports services resolv.conf sshd_config my.cnf
    CHANGELOG.md CONTRIBUTING.md README.txt INSTALL.md go.mod Cargo.toml setup.cfg tox.ini
    pyproject.toml requirements.txt composer.json tsconfig.json manifest.json pubspec.yaml
    values.yaml playbook.yml docker-compose.override.yml settings.py application.properties
    application.yml web.config pom.xml build.xml Info.plist robots.txt index.html main.go app.js
""")
MAX_BODY = 1500  # characters


@dataclass(frozen=True)
class Entry:
    """One value of a file.

    Attributes:
        key: As the file spells it.
        spoken: As a person says it.
        value: Without the format's quotes.
        line: What the reasoning quotes: the file's text from the key to the value.
        section: What the entry belongs to, as the file spells it, where the key is not enough.
        within: What it belongs to in any case; empty for nothing.
        asked: Questions for the value that do not name the key.
    """

    key: str
    spoken: str
    value: str
    line: str
    section: str = ""
    within: str = ""
    asked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """A file; ``lacking`` is what files of its kind often have and this one has not."""

    name: str
    body: str
    entries: tuple[Entry, ...] = ()
    lacking: tuple[Entry, ...] = ()


def attached(*documents: Document) -> str:
    """Return the files as DeepSeek's template writes them, in front of a question."""
    return "".join(
        f"[file name]: {each.name}\n[file content begin]\n{each.body}\n[file content end]\n"
        for each in documents
    )


def read_to(document: Document, lines: Sequence[str], wanted: int) -> str:
    """Return reasoning that copies lines up to the one that answers a question.

    The file stands before the question; the copy stands behind it. So each line is read beside the
    question, and whether it answers is learned for each of them.
    """
    return "\n".join([f"I go through {document.name}.", *lines[: wanted + 1], "That says it."])


def read_in_vain(document: Document, lines: Sequence[str]) -> str:
    """Return reasoning that copies all lines, of which none answers the question."""
    return "\n".join([f"I go through {document.name}.", *lines, "Nothing says it."])


def line_by_line(lines: Sequence[str], wanted: int, key: str) -> str:
    """Return reasoning that copies the lines of a file up to the key in the one that is wanted.

    What stands in the middle of a line leads to what follows it, not to where the line begins. The
    copy ends right behind the key: where a line is wanted is seen there, not at its end.
    """
    line = lines[wanted]
    at = line.lower().find(key.lower())
    last = line if at < 0 else line[: at + len(key)]
    return "Line by line:\n" + "\n".join([*lines[:wanted], last])


def file_name(r: random.Random, extension: str) -> str:
    """Return the name of a file: with its extension mostly, without one, hidden, or with spaces."""
    way = r.random()
    if way < 0.1:
        return r.choice(KNOWN_NAMES)
    stem = _stem(r)
    if way < 0.16:
        return f".{stem}".lower()
    if way < 0.2:
        return stem
    if way < 0.26:
        return f"{stem}.{r.choice(('txt', 'bak', 'old', 'example', 'local', 'tmp'))}"
    if way < 0.31:
        return f"{stem}.{extension}.{r.choice(('txt', 'bak', 'old', 'example', 'sample'))}"
    return f"{stem}.{extension}"


def _stem(r: random.Random) -> str:
    way = r.random()
    if way < 0.4:
        stem = lexicon.word(r)
    elif way < 0.55:
        stem = lexicon.hyphenated(r)
    elif way < 0.63:
        stem = f"{lexicon.word(r)}{r.randint(1, 99)}"
    elif way < 0.7:
        stem = f"{lexicon.word(r)} {lexicon.word(r)}"
    elif way < 0.78:
        stem = f"{lexicon.word(r)}{r.choice('-_.')}{lexicon.date(r).replace(' ', '-')}"
    elif way < 0.86:
        stem = lexicon.word(r) + lexicon.word(r).capitalize()
    else:
        stem = lexicon.wild_word(r)
    way = r.random()
    if way < 0.15:
        return stem.capitalize()
    return stem.upper() if way < 0.2 else stem
