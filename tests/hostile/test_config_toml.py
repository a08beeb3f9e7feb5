"""Proves that a config.toml ends no command late: keys of any length, texts of any kind."""

from __future__ import annotations

import time

import pytest
from support.cli.running import Run

N = 50_000
TOO_LONG = "a key has more than 16 parts"
HOSTILE = [
    ("a dotted key", ".".join("a" * N) + " = 1", TOO_LONG),
    ("quoted parts", ".".join(['"a"'] * N) + " = 1", TOO_LONG),
    ("literal parts", ".".join(["'a'"] * N) + " = 1", TOO_LONG),
    ("spaces between", " . ".join("a" * N) + " = 1", TOO_LONG),
    ("a table", "[" + ".".join("a" * N) + "]", TOO_LONG),
    ("an array of tables", "[[" + ".".join("a" * N) + "]]", TOO_LONG),
    ("an inline table", "x = {" + ".".join("a" * N) + " = 1}", TOO_LONG),
    ("after a text", 'x = """\n\\"""" \n' + ".".join("a" * N) + " = 1", TOO_LONG),
    ("nested arrays", "a = " + "[" * N, "config.toml"),
    ("nested tables", "a = " + "{b = " * N, "config.toml"),
    ("open quotes", '"""' + '\\"' * N, "config.toml"),
    ("quotes", '"' * N, "config.toml"),
    ("a long number", "a = " + "1" * N, "config.toml"),
    ("an escape sequence", 'a = "\x1b[31m"', "config.toml"),
    ("a key that acts", '"\\u001b[31m\\u202e" = 1', "unknown key"),
]


@pytest.mark.parametrize(
    ("toml", "said"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE]
)
def test_refused_in_time(run: Run, toml: str, said: str) -> None:
    file = run.home / "config" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(toml + "\n", "utf-8")
    began = time.process_time()
    try:
        done = run.inside("ask", "--dry-run", "hi")
    finally:
        file.unlink()
    assert done.returncode == 2
    shown = done.stderr.decode()
    assert said in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown.count("\n") == 1
    assert time.process_time() - began < 10


def test_dots_in_texts_are_not_keys(run: Run) -> None:
    file = run.home / "config" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    dots = ".".join("a" * 100)
    file.write_text(f'# {dots}\n[templates.x]\nprompt = """{dots}\n{{input}} {dots}"""\n')
    try:
        done = run.inside("templates")
    finally:
        file.unlink()
    assert done.returncode == 0, done.stderr
