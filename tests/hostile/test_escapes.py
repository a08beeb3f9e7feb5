"""Proves that nothing of a model's, file's or user's text acts on a terminal: only the sequences
that are ours are ever written.

Checked byte by byte: what a pseudo-terminal received, less an allow-list, must be text that
``sanitise`` leaves as it is.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from support.cli.running import Done, Run, clean_environment
from support.gguf.gguf_changes import STRING, parts_of, text
from support.terminal.screen import Screen

from dslocal.terminal.sanitise import sanitise

CORPUS = {
    "colour": "\x1b[31mred\x1b[0m",
    "cursor": "\x1b[2J\x1b[H\x1b[10A\x1b[6n\x1b[c\x1b[?1049h\x1b[?25l",
    "hyperlink": "\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\",
    "title": "\x1b]0;owned\x07\x1b]2;owned\x1b\\",
    "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "device control": "\x1bP+q544e\x1b\\\x1bPq#0;2;0;0;0\x1b\\",
    "application": "\x1b_Gf=24;AAAA\x1b\\\x1b^private\x1b\\\x1bXstring\x1b\\",
    "C1": "\x9b31m\x9d0;owned\x9c\x90q\x9c\x9f\x9e\x98\x85\x84\x8d",
    "bidi": "\u202eexe.cod\u202c \u2066a\u2069 \u2067b\u2068 \u200f\u200e\u061c",
    "invisible": "a\u200bb\u2060c\ufeffd\U000e0041\U000e0001\U000e007f\u2063\u00ad\ufff9\U000e0101",
    "rich": "[bold red]x[/bold red] [link=http://evil]y[/link] [/] [@click=quit]z[/]",
    "emoji codes": ":smile: :skull: :warning:",
    "overwriting": "safe\b\b\b\bevil\rsafe\x0b\x0cx\x7f\x00",
    "bells": "\x07\x07\x05\x0e\x0f\x18\x1a",
    "entities": "&#27;[31m &#x9b;31m &#x202e;evil &#8206; &#0; &#x200b;x &#xE0041;",
    "in a link": (
        "[a\x1b[1mb](http://x/\x1b]0;t\x07\u202e) <http://y/\x9b> ![i\x07](z\x1b\\ '\x1b')"
    ),
    "link by entity": "[a](http://x/&#27;&#x202e;) [b](<&#8238;> '&#27;')",
    "in code": (
        "`\x1b[2J&#27;`\n\n```py\x1b[31m\nprint('\x1b]0;x\x07')  # \u202e\n```\n\n    \x1b[5m\n"
    ),
    "in a table": "| a\x1b[1m | \u202eb |\n|---|---|\n| \x9b2J | &#x9b;2J |\n",
    "in TeX": (
        "$\\text{\x1b[31m} \\char27 \\x02\x02 x\x03 ^^[ \\symbol{27}$ \\boxed{\x1b[7m\u202e&#27;}"
    ),
    "in HTML": "<div \x1b[31m>\n\x9b\n</div>\n\n<b\x07>",
    "in lists": "- \x1b[31m\n  1. \x08\n> \x07\n# \x1bc\n",
    "nested": "\x1b\x1b[31\x1b[31mm \x1b\x9b\x1b]",
    "separators": "a\u2028b\u2029c\x1cd\x1de\x1ef",
    "surrogates": "a\ud83d b\udc9b",
}
OURS = re.compile(r"\x1b\[(?:[0-9;]*m|K|A|2K|\?7[lh])|\r\n|\r(?=\x1b\[2?K)")
SHOW = """
import json, random, sys
from rich.console import Console
from dslocal import output
from dslocal.cli.asking.answer_output import AnswerPrinter
from dslocal.terminal.chat import answer_view
from dslocal.terminal.chat.answer_view import AnswerView

answer_view.FRAME_S, answer_view.MAX_FRAME_SHARE = 0.0, 1e9
corpus = json.loads(open(sys.argv[1], encoding="utf-8").read())
dice = random.Random(1)
def cut(text, longest):
    while text:
        n = dice.randint(1, longest)
        yield text[:n]
        text = text[n:]
for longest in (1, 4, 10_000):
    with AnswerView(Console(highlight=False)) as view:
        for part in cut("\\n\\n".join(corpus), longest):
            view.add_reasoning(part)
        view.end_reasoning(1, 2.0)
        for part in cut("\\n\\n".join(corpus), longest):
            view.add_answer(part)
sys.stdout.reconfigure(encoding="utf-8", errors="replace")
sys.stderr.reconfigure(encoding="utf-8", errors="replace")
for longest in (1, 10_000):
    events = [output.Reasoning(part) for text in corpus for part in cut(text, longest)]
    events += [output.Text(part) for text in corpus for part in cut(text, longest)]
    printer = AnswerPrinter(to_stdout=True, show_reasoning=True, is_certain=lambda: True)
    printer.print_all(events)
print("THE END")
"""
ACTS = "x\x1b[31m\x9b1m\x1b]0;owned\x07\u202e\u200b\r\b[red]:skull:"


def harmless(shown: str, what: str = "") -> None:
    """Fails when ``shown`` has anything but writing and our own sequences."""
    rest = OURS.sub("", shown)
    acting = [
        rest[max(at - 20, 0) : at + 20]
        for at, c in enumerate(rest)
        if c not in "\t\n" and sanitise(c) != c
    ]
    assert not acting, (what, acting[:3])


def test_the_check_can_fail() -> None:
    for name, hostile in CORPUS.items():
        if name not in ("rich", "emoji codes", "entities", "link by entity", "surrogates"):
            with pytest.raises(AssertionError):
                harmless(hostile.replace("\x1b[31m", "\x1b[5n").replace("\x1b[0m", ""))


def test_a_models_text_on_a_terminal(tmp_path: Path, home: Path) -> None:
    file = tmp_path / "corpus.json"
    file.write_text(json.dumps(list(CORPUS.values())), "utf-8")
    environment = clean_environment() | {
        "DSLOCAL_HOME": str(home),
        "TERM": "xterm-256color",
        "COLUMNS": "60",
        "LINES": "20",
    }
    with Screen([sys.executable, "-P", "-c", SHOW, str(file)], environment) as screen:
        screen.wait_for("THE END")
        screen.leave()
        harmless(screen.raw)
        assert ":skull:" in screen.text
        assert "[bold red]x[/bold red] [link=http://evil]y[/link] [/]" in screen.text


def outputs(done: Done) -> str:
    return (done.stdout + done.stderr).decode("utf-8")


@pytest.fixture(scope="module")
def hostile(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nano, with hostile metadata and a hostile tensor's name, in a file with a hostile name."""
    parts = parts_of(nano)
    for key in (
        "general.name",
        "general.architecture.note",
        "tokenizer.chat_template",
        "general.description",
        "general.basename",
    ):
        parts.metadata[key] = (STRING, text(ACTS))
    parts.metadata[f"general.{ACTS}"] = (STRING, text(ACTS))
    return parts.write(tmp_path_factory.mktemp("hostile") / f"{ACTS}.gguf")


@pytest.mark.parametrize(
    "args",
    [
        ["show", "{file}"],
        ["show", "{file}", "--json"],
        ["fit", "{file}"],
        ["fit", "{file}", "--explain"],
        ["fit", "{file}", "--json"],
        ["ask", "-m", "{file}", "--dry-run", ACTS],
        ["ask", "-m", "{file}", "--dry-run", "--json", ACTS],
        ["ask", "-m", "{file}", "--seed", "1", "--max-tokens", "20", ACTS],
        ["ask", "-m", "{file}", "--seed", "1", "--max-tokens", "20", "--json", ACTS],
        ["show", f"no such {ACTS}"],
        ["ask", "-m", f"no such {ACTS}.gguf", "hello"],
        ["ask", "-f", f"no such {ACTS}", "hello"],
        ["ask", "-m", "nano", "--schema", f"no such {ACTS}", "hello"],
        ["ask", "-m", "nano", "--family", ACTS, "hello"],
        ["ask", f"--{ACTS}", "hello"],
        ["ask", "--temperature", ACTS, "hello"],
        [ACTS],
        ["fit", f"no such {ACTS}"],
        ["rm", f"no such {ACTS}"],
        ["import", f"no such {ACTS}"],
        ["import", "{file}", "--name", ACTS],
        ["convert", f"no such {ACTS}", "-o", f"{ACTS}.gguf"],
        ["pull", f"no such {ACTS}", "--dry-run"],
        ["fim", f"no such {ACTS}:3"],
        ["bench", f"no such {ACTS}"],
        ["eval", f"no such {ACTS}"],
    ],
    ids=lambda args: " ".join(args).replace(ACTS, "…")[:50],
)
def test_what_commands_print(run: Run, hostile: Path, args: list[str]) -> None:
    done = run.inside(
        *(arg.format(file=hostile) if "{file}" in arg else arg for arg in args),
        env={"HF_HUB_OFFLINE": "1"},
    )
    shown = outputs(done)
    assert shown.strip()
    harmless(shown, " ".join(args))
    assert "Traceback" not in shown
    if "--json" in args and done.returncode == 0:
        json.loads(done.stdout)


def test_an_imported_file_in_lists(hostile: Path, tmp_path: Path) -> None:
    """Proves that ``models``, ``rm`` and ``import`` show what is kept under a hostile path in plain
    words.
    """
    own = Run(tmp_path / "home")
    own.home.mkdir()
    for args in (
        ["import", str(hostile)],
        ["models"],
        ["models", "--json"],
        ["fit"],
        ["import"],
        ["rm", "--leftovers", "--dry-run"],
    ):
        harmless(
            outputs(
                own.inside(*args, env={"HOME": os.fspath(hostile.parent), "HF_HUB_OFFLINE": "1"})
            ),
            " ".join(args),
        )


def test_paths_of_results(hostile: Path, tmp_path: Path) -> None:
    """Proves that a command which names what it wrote or found names it in plain words."""
    own = Run(tmp_path / "home")
    own.home.mkdir()
    made, smaller, matrix = (str(tmp_path / f"{n}{ACTS}.gguf") for n in "abc")
    for args in (
        ["convert", "nano", "-o", made, "--dry-run"],
        ["convert", "nano", "-o", made, "--quant", "BF16"],
        ["quantize", made, "-o", smaller, "--quant", "Q8_0"],
        ["imatrix", made, "-o", matrix],
        ["import", str(hostile), "--name", "ours"],
        ["pull", "ours"],
        ["pull", made],
    ):
        done = own.inside(*args, env={"HF_HUB_OFFLINE": "1"})
        assert done.returncode == 0, done.stderr
        harmless(outputs(done), " ".join(args))
