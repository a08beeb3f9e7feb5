"""Read the command line: options given twice, -m everywhere, and commands of other programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cli.running import Run

from dslocal import catalog

REPEATED = [
    (["ask", "--seed", "1", "--seed", "1", "x"], "--seed is given 2 times"),
    (["ask", "-m", "nano", "--model", "nano", "x"], "--model is given 2 times"),
    (["ask", "--schema", "a", "--schema", "b", "x"], "--schema is given 2 times"),
    (["ask", "--temperature=0", "--temperature=1", "x"], "--temperature is given 2 times"),
    (["ask", "-s", "a", "-s", "b", "x"], "--system is given 2 times"),
    (["ask", "--think", "--no-think", "x"], "--think and --no-think cannot be combined"),
    (["ask", "--no-math", "--math", "x"], "--math and --no-math cannot be combined"),
    (["ask", "--show-thinking", "--hide-thinking", "x"], "cannot be combined"),
    (["chat", "--ctx", "512", "--ctx", "1024"], "--ctx is given 2 times"),
    (["fim", "--prefix", "a", "--prefix", "b"], "--prefix is given 2 times"),
    (["fit", "--ctx", "512", "--ctx", "1024"], "--ctx is given 2 times"),
    (["fit", "--flash-attn", "--no-flash-attn"], "cannot be combined"),
    (["serve", "--port", "1", "--port", "2"], "--port is given 2 times"),
    (["bench", "--repeat", "1", "--repeat", "2"], "--repeat is given 2 times"),
    (["convert", "nano", "--quant", "Q8_0", "--quant", "Q4_0"], "--quant is given 2 times"),
    (["convert", "nano", "--mtp", "--no-mtp"], "--mtp and --no-mtp cannot be combined"),
    (["pull", "r1", "--quant", "Q8_0", "--quant", "Q4_0"], "--quant is given 2 times"),
    (["import", "x", "--name", "a", "--name", "b"], "--name is given 2 times"),
    (["eval", "x", "--limit", "1", "--limit", "2"], "--limit is given 2 times"),
    (["sessions", "--search", "a", "--search", "b"], "--search is given 2 times"),
    (["sessions", "--search", "a", "rm", "x"], "--search has no effect before rm"),
    (["sessions", "--json", "rm", "x"], "--json has no effect before rm"),
    (["-m", "nano", "ask", "x"], "--model has no effect before ask"),
    (["templates", "--json", "show", "x"], "--json has no effect before show"),
    (["show", "nano", "-m", "other"], "'nano' and -m 'other' name two models"),
    (["fit", "nano", "-m", "other"], "name two models"),
    (["pull", "r1", "-m", "v3"], "name two models"),
    (["serve", "nano", "-m", "other"], "name two models"),
    (["convert", "nano", "-m", "other"], "name two models"),
    (["bench", "nano", "-m", "other"], "name two models"),
]


@pytest.mark.parametrize(("args", "said"), REPEATED, ids=[" ".join(args) for args, _ in REPEATED])
def test_what_would_silently_not_count_is_refused(run: Run, args: list[str], said: str) -> None:
    done = run.inside(*args)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()


@pytest.mark.parametrize(
    "args",
    [
        ["ask", "--json", "--json", "--dry-run", "x"],
        ["ask", "--stop", "a", "--stop", "b", "--dry-run", "x"],
        ["ask", "--dry-run", "--", "--seed --seed"],
    ],
)
def test_what_may_be_repeated(run: Run, args: list[str]) -> None:
    done = run.inside(*args)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", ["-5 + 3", "-5+3", "-x is what?"])
def test_text_that_looks_like_an_option(run: Run, text: str) -> None:
    done = run.inside("ask", text)
    assert done.returncode == 2
    assert b"looks like an option (-- must come before" in done.stderr


OTHERS = [
    (["run", "deepseek-r1:7b"], "dslocal pull deepseek-r1-distill-qwen-7b downloads it, then"),
    (["run", "nano"], "(dslocal chat nano "),
    (["list"], "dslocal models"),
    (["ls"], "dslocal models"),
    (["ps"], "dslocal serve"),
    (["stop", "nano"], "dslocal serve"),
    (["download", "hf.co/o/n"], "dslocal pull hf.co/o/n"),
    (["remove", "nano"], "dslocal rm nano"),
    (["generate", "nano"], 'dslocal ask -m nano "…"'),
    (["create", "x"], "dslocal convert x"),
    (["info", "nano"], "dslocal show nano"),
    (["search", "coder"], "dslocal fit"),
    (["server"], "dslocal serve"),
    (["login"], "hf auth login"),
    (["upgrade"], "pip install --upgrade"),
    (["version"], "dslocal --version"),
    (["config"], "dslocal help settings"),
    (["shwo"], "did you mean show?"),
    (["nano"], "dslocal chat nano"),
    (["deepseek-r1:7b"], "dslocal pull deepseek-r1-distill-qwen-7b"),
    (["What is 2 + 2?"], 'dslocal ask "…"'),
    (["sessions", "list"], "dslocal sessions alone lists them"),
    (["sessions", "Paris"], "dslocal sessions --search TEXT"),
    (["templates", "ls"], "dslocal templates alone lists them"),
    (["privacy"], "(dslocal help privacy explains it)"),
    (["Memory"], "(dslocal help memory explains it)"),
    (["--resume"], "(dslocal chat --resume)"),
    (["-m", "nano", "--resume"], "(dslocal chat --resume)"),
    (["--ctx", "4k"], "(dslocal chat --ctx …)"),
    (["ask", "nano", "2 + 2?"], "(dslocal ask -m nano …)"),
    (["ask", "{nano}", "2 + 2?"], "(dslocal ask -m {nano} …)"),
    (["ask", "{checkpoint}", "2 + 2?"], "(dslocal ask -m {checkpoint} …)"),
    (["ask", "{text}", "2 + 2?"], "(dslocal ask -f {text} …)"),
    (["ask", "2", "+", "2?"], "(dslocal ask --help lists the options)"),
    (["chat", "nano", "2 + 2?"], '(dslocal ask -m nano "…" answers one question)'),
    (["help", "run"], "dslocal chat NAME"),
    (["help", "modles"], "did you mean models or "),
]


@pytest.mark.parametrize(("args", "said"), OTHERS, ids=[" ".join(args) for args, _ in OTHERS])
def test_commands_of_other_programs_are_answered(
    run: Run, nano: Path, args: list[str], said: str
) -> None:
    named = {
        "nano": nano,
        "checkpoint": catalog.load_registry()["nano"].folder,
        "text": Path(__file__),
    }
    done = run.inside(*(arg.format(**named) for arg in args))
    assert (done.returncode, done.stdout) == (2, b"")
    assert said.format(**named) in done.stderr.decode()


COMMANDS = (
    "ask",
    "bench",
    "convert",
    "eval",
    "fim",
    "fit",
    "import",
    "pull",
    "rm",
    "serve",
    "show",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_command(run: Run, command: str) -> None:
    done = run.inside("help", command)
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: dslocal {command} ".encode())


@pytest.mark.parametrize("args", [["show", "-m", "nano"], ["fit", "-m", "nano"]])
def test_the_model_may_be_an_option(run: Run, args: list[str]) -> None:
    done = run.inside(*args)
    assert done.returncode == 0, done.stderr
    assert b"nano" in done.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["ask", "--temperature", "x", "hi"], "(dslocal ask --help lists the options)"),
        (["templates", "show"], "(dslocal templates show --help lists the options)"),
        (["--nope"], "(dslocal --help lists the options)"),
    ],
)
def test_a_wrong_argument_points_to_the_help_of_its_command(
    run: Run, args: list[str], said: str
) -> None:
    done = run.inside(*args)
    assert (done.returncode, said in done.stderr.decode()) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("written", "tokens"),
    [("2048", 2048), ("2k", 2048), ("4K", 4096), ("1_024", 1024), (" 2k ", 2048)],
)
def test_tokens_may_be_counted_in_thousands(run: Run, written: str, tokens: int) -> None:
    done = run.inside("fit", "nano", "--ctx", written, "--json")
    assert json.loads(done.stdout)["plan"]["n_ctx"] == tokens


@pytest.mark.parametrize("written", ["8q", "k", "1.5k", "8kb", "0x10", "eight", ""])
def test_what_is_not_a_number_of_tokens_is_one_line(run: Run, written: str) -> None:
    for args in (["fit", "nano", "--ctx", written], ["ask", "--max-tokens", written, "x"]):
        done = run.inside(*args)
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"is not a number of tokens, such as 8192 or 8k" in done.stderr
        assert done.stderr.count(b"\n") == 1


def test_a_model_without_a_command_is_a_chat(run: Run) -> None:
    done = run.inside("-m", "nano")
    assert done.returncode == 2
    assert done.stderr == run.inside("chat", "-m", "nano").stderr


WRONG_VALUES = [
    (["ask", "--seed", "x", "hi"], "--seed: x is not a whole number (dslocal ask --help"),
    (["ask", "--seed", "1.5", "hi"], "--seed: 1.5 is not a whole number"),
    (["ask", "-n", "x", "hi"], "--samples: x is not a whole number"),
    (["ask", "--seed", str(1 << 63), "hi"], "out of range (0 to 9223372036854775807)"),
    (["ask", "--temperature", "hot", "hi"], "--temperature: hot is not a number"),
    (["serve", "--port", "x"], "--port: x is not a whole number (dslocal serve --help"),
    (["eval", "x", "--limit", "0"], "--limit: 0 is out of range (1 or more)"),
    (["convert", "nano", "--jobs", "9999"], "--jobs: 9999 is out of range (1024 or less)"),
    (["convert", "nano", "-o"], "'-o' requires an argument. (dslocal convert --help"),
    (["sessions", "--search"], "'--search' requires an argument. (dslocal sessions --help"),
    (["ask", "-m", "", "hi"], "-m has no name of a model (leave out -m"),
    (["show", "-m", ""], "-m has no name of a model"),
    (["ask", "-m", "nano:Q9", "hi"], "unknown quantization 'Q9'"),
    (["docs"], "dslocal has no command 'docs' (dslocal help lists topics"),
]


@pytest.mark.parametrize(("args", "said"), WRONG_VALUES, ids=[" ".join(a) for a, _ in WRONG_VALUES])
def test_a_value_of_the_wrong_kind(run: Run, args: list[str], said: str) -> None:
    """Proves that no words of a library are shown, and that the hint names the command."""
    done = run.inside(*args)
    shown = done.stderr.decode()
    assert (done.returncode, done.stdout, shown.count("\n")) == (2, b"", 1)
    assert said in shown
    assert "Input should be" not in shown
