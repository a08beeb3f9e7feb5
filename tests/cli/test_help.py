"""Proves that the topics of ``dslocal help`` are true: each command, option, variable, exit code
and setting that they name exists.
"""

from __future__ import annotations

import re
import tomllib

import pytest
from support.cli.running import BINARY, Run
from support.docs.command_words import ROOT, code, commands, unknown_in
from support.terminal.screen import Screen

from dslocal import errors, prompts
from dslocal.cli import user_settings
from dslocal.cli.help_topics import topic_names, topic_text


def test_every_command_is_summarised_in_whole_on_80_columns(run: Run) -> None:
    shown = run("--help", env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).stdout.decode()
    assert "..." not in shown.partition("Commands:")[2]
    assert all(f"\n  {name} " in shown for name in ROOT.commands)
    listed = re.findall(r"^  ([a-z-]+) ", shown.partition("Commands:")[2], re.MULTILINE)
    assert listed == sorted(ROOT.commands)


def test_the_topic_on_chat_says_how_instructions_are_removed() -> None:
    assert "`/system none`" in topic_text("chat")


@pytest.mark.parametrize("name", topic_names())
def test_all_that_a_topic_names_exists(name: str) -> None:
    text = topic_text(name)
    assert text.startswith("# ")
    assert [unknown for line in code(text) for unknown in unknown_in(line)] == []
    assert [
        topic for topic in re.findall(r"dslocal help ([a-z-]+)", text) if topic not in topic_names()
    ] == []
    assert [
        word
        for word in re.findall(r"DSLOCAL_[A-Z_]+\b", text)
        if word not in user_settings.VARIABLES
    ] == []
    assert len(text.splitlines()) <= 50
    assert max(map(len, text.splitlines())) <= 140


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("dslocal ask --nope x", ["ask --nope"]),
        ("dslocal nope", ["nope"]),
        ("dslocal ask --final x | dslocal ask --nope", ["ask --nope"]),
        ("pip install . && KEY=x dslocal ask --nope", ["ask --nope"]),
        ("$ dslocal fit --nope", ["fit --nope"]),
        ("--nope N", ["--nope"]),
        ("/nope on", ["/nope on"]),
        ("/think on", []),
        ("dslocal templates show --json NAME", []),
        ("git diff | dslocal ask -t commit", []),
    ],
)
def test_what_does_not_exist_is_noticed(line: str, unknown: list[str]) -> None:
    assert unknown_in(line) == unknown


def test_examples_of_settings_are_settings() -> None:
    blocks = [
        tomllib.loads(block)
        for name in topic_names()
        for block in re.findall(r"```toml\n(.*?)```", topic_text(name), re.DOTALL)
    ]
    assert len(blocks) >= 2
    for block in blocks:
        assert set(block) <= set(user_settings.CONFIG_KEYS)
        for name, table in block.pop(user_settings.TEMPLATES, {}).items():
            user_settings.sampling_settings(
                prompts.FAMILIES["base"].defaults, {}, prompts.parse_template(name, table, "topic")
            )
        for name, value in block.items():
            if name in prompts.SETTINGS:
                prompts.FAMILIES["base"].defaults.with_value(name, value, "topic")


def test_every_setting_is_named() -> None:
    text = topic_text("settings")
    assert [name for name in prompts.SETTINGS if not re.search(rf"\b{name}\b", text)] == []


def test_every_exit_code_is_named() -> None:
    rows = re.findall(r"^\| (\d+) \|", topic_text("exit-codes"), re.MULTILINE)
    assert {int(code) for code in rows} == set(errors.ExitCode)


def test_without_a_topic_all_are_listed(run: Run) -> None:
    done = run("help")
    assert (done.returncode, done.stderr.count(b"\n")) == (0, 1)
    assert [line.split()[0] for line in done.stdout.decode().splitlines()] == topic_names()


def test_a_topic_in_a_pipe_is_as_it_is(run: Run) -> None:
    for name in topic_names():
        done = run.inside("help", name)
        assert (done.returncode, done.stderr, done.stdout.decode()) == (0, b"", topic_text(name))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("exitcodes", "did you mean exit-codes"),
        ("zzz", "thinking, ask, bench, build-rpc, convert"),
        ("\x1b[31m", "there are: "),
    ],
)
def test_an_unknown_topic(run: Run, asked: str, said: str) -> None:
    done = run.inside("help", asked)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert said in done.stderr.decode()
    assert b"\x1b" not in done.stderr


@pytest.mark.parametrize("asked", ["exit_codes", "Exit-Codes"])
def test_a_topic_is_found_however_it_is_spelled(run: Run, asked: str) -> None:
    assert run.inside("help", asked).stdout.decode() == topic_text("exit-codes")


def test_on_a_terminal_it_is_rendered_and_paged(run: Run) -> None:
    """The pager here only marks its input; a list is short, and is not paged."""
    pager = {"PAGER": "sed s/^/paged:/", "TERM": "xterm-256color", "LINES": "10", "COLUMNS": "60"}
    with Screen([str(BINARY), "help", "memory"], run.env(pager)) as screen:
        assert screen.leave() == 0
        assert "paged:" in screen.text
        assert "# Memory" not in screen.text
        assert "\x1b[36m" in screen.raw
    with Screen(
        [str(BINARY), "help", "memory"], run.env(pager | {"PAGER": "", "NO_COLOR": "1"})
    ) as screen:
        assert screen.leave() == 0
        assert "paged:" not in screen.text
        assert "micro-batch" in screen.text
    with Screen(
        [str(BINARY), "help", "memory"], run.env(pager | {"PAGER": "/no/such/pager"})
    ) as screen:
        assert screen.leave() == 0
        assert "micro-batch" in screen.text


def test_options_name_their_values_in_words_and_not_as_python_types() -> None:
    for command in commands():
        for param in command.params:
            is_flag = getattr(param, "is_flag", False) or getattr(param, "count", False)
            if param.opts[0].startswith("-") and not is_flag:
                assert param.metavar, (command.name, param.opts)
