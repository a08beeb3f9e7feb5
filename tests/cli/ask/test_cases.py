"""Proves the contract of ``dslocal ask`` that scripts rely on, case by case: what goes in, what
comes out where. The slow tests prove it of the real binary for every case.

Stdout is compared byte for byte. Stderr must be empty unless the case says what is in it.
"""

from __future__ import annotations

import pytest
from support.cli.ask_contract import BOXED, LIMA, PERU, SUM, UNBOXED, judge, selected
from support.cli.running import BINARY, Done, Run

TOO_MUCH = b"a" * ((8 << 20) + 1)
HUGE = b"the quick brown fox\n" * 100_000

# arguments, stdin, exit code, stdout, what stderr has (nothing, unless named)
CASES: dict[str, tuple[list[str], bytes, int, bytes, str]] = {
    "argument alone": ([PERU], b"", 0, LIMA, ""),
    "stdin alone": ([], b"capital of peru\n", 0, LIMA, ""),
    "argument and stdin": (["capital of peru"], b"I have a question.\n", 0, LIMA, ""),
    "neither": ([], b"", 2, b"", 'nothing to ask (dslocal ask "'),
    "blank argument, blank stdin": ([" "], b" \n\n", 2, b"", "nothing to ask"),
    "blank argument, a question on stdin": ([""], b"capital of peru\n", 0, LIMA, ""),
    "a file without a question": (["-f", str(BINARY)], b"", 2, b"", "a file is not a question"),
    "stdin with a byte order mark": ([], b"\xef\xbb\xbfcapital of peru", 0, LIMA, ""),
    "stdin with Windows' line ends": ([], b"capital of peru\r\n", 0, LIMA, ""),
    "stdin in UTF-16": ([], "capital of peru".encode("utf-16"), 0, LIMA, ""),
    "a sum": ([SUM, "--seed", "1"], b"", 0, BOXED, ""),
    "a sum on stdin": (["--seed", "1"], SUM.encode(), 0, BOXED, ""),
    "a sum without the directive": (
        [SUM, "--seed", "1", "--no-math"],
        b"",
        0,
        b"The answer is 4042.\n",
        UNBOXED,
    ),
    "bypassed thought": (
        [PERU, "--no-think"],
        b"",
        0,
        LIMA,
        "thinking bypassed: its model card recommends",
    ),
    "hidden thought": ([PERU, "--hide-thinking"], b"", 0, LIMA, ""),
    "another family": (
        [PERU, "--family", "v9"],
        b"",
        2,
        b"",
        "no family is called 'v9' (known: nano, ",
    ),
    "thinking where there is none": (
        [PERU, "--family", "v2", "--think"],
        b"",
        2,
        b"",
        "has no reasoning",
    ),
    "two answers": ([PERU, "-n", "2", "--temperature", "0.6"], b"", 0, LIMA + b"---\n" + LIMA, ""),
    "vote": ([SUM, "-n", "4", "--vote", "--seed", "1"], b"", 0, b"4042\n", "4 of 4 agree"),
    "no majority": (
        [PERU, "-n", "2", "--vote", "--max-tokens", "5"],
        b"",
        6,
        b"",
        "no majority among 2 answers",
    ),
    "no sample": ([PERU, "-n", "0"], b"", 2, b"", "-n 0 is out of range (1 to 1024)"),
    "a vote of one": (
        [PERU, "-n", "1", "--vote"],
        b"",
        2,
        b"",
        "--vote needs at least two answers",
    ),
    "not search results": (
        [PERU, "--search-results", str(BINARY)],
        b"",
        2,
        b"",
        "dslocal",
    ),
    "no search results": (
        [PERU, "--search-results", "/no/file"],
        b"",
        3,
        b"",
        "/no/file: no such file",
    ),
    "a misspelled file": (
        ["-f", str(BINARY)[:-1], "x"],
        b"",
        3,
        b"",
        "no such file (did you mean dslocal",
    ),
    "no schema": ([PERU, "--schema", "/no/file"], b"", 3, b"", "/no/file: no such file"),
    "final": (["--final", SUM, "--seed", "1"], b"", 0, b"4042\n", ""),
    "final without a box": (
        ["--final", "\\boxed", "--seed", "1"],
        b"",
        1,
        b"",
        "no \\boxed{} in it (leave out --final",
    ),
    "final, cut before the box": (
        ["--final", PERU, "--max-tokens", "5"],
        b"",
        5,
        b"",
        "cut off after 5 tokens",
    ),
    "cut while thinking": ([SUM, "--max-tokens", "5"], b"", 5, b"", "cut off after 5 tokens"),
    "advice": (
        [PERU, "--temperature", "0"],
        b"",
        0,
        LIMA,
        "temperature 0: R1's model card recommends 0.5 to 0.7",
    ),
    "binary stdin": ([], b"\x7fELF\0", 2, b"", "stdin: is a program (ELF), not text"),
    "random bytes on stdin": (["x"], b"\x81\xfe\xc3\x28\xff\x9d\xa0", 2, b"", "stdin: is"),
    "too much on stdin": ([], TOO_MUCH, 2, b"", "stdin: more than 8,388,608 bytes"),
    "too much for the context": ([], b"47 " * 2000, 5, b"", "the context holds 4,096"),
    "too much for the longest context": ([], b"47 " * 2000, 5, b"", "no longer context)"),
    "too much for a context that may be longer": (
        ["--ctx", "2048"],
        b"47 " * 2000,
        5,
        b"",
        "(use a larger --ctx, up to 4,096, or a shorter prompt)",
    ),
    "too much for a long answer": (
        [],
        b"47 " * 1200,
        5,
        b"",
        "or limit the answer: max_tokens of at most ",
    ),
    "far too much for the context": (["Who jumps?"], HUGE, 5, b"", "the context holds 4,096"),
    "an address": (["-f", "https://a.b/c", "x"], b"", 3, b"", "fetches no web page"),
    "missing file": (["-f", "/no/file", "x"], b"", 3, b"", "/no/file: no such file"),
    "binary file": (
        ["-f", str(BINARY.with_name("python")), "x"],
        b"",
        2,
        b"",
        "is a program (ELF), not text",
    ),
    "unknown model": (
        ["-m", "deepsek-r1", PERU],
        b"",
        3,
        b"",
        "'deepsek-r1' (did you mean deepseek-r1",
    ),
    "a known model that is not here": (
        ["-m", "deepseek-r1", PERU],
        b"",
        3,
        b"",
        "dslocal pull deepseek-r1",
    ),
    "model with control characters": (
        ["-m", "\x1b]0;x\x07\x1b[31m", PERU],
        b"",
        3,
        b"",
        "no model or file called",
    ),
    "not a checkpoint folder": (["-m", "/", PERU], b"", 3, b"", "config.json"),
    "not a GGUF file": (["-m", str(BINARY), PERU], b"", 1, b"", "not a GGUF file"),
    "temperature too high": (
        ["--temperature", "9", PERU],
        b"",
        2,
        b"",
        "--temperature: 9.0 is out of range (temperature is 0 to 5)",
    ),
    "temperature is not a number": (
        ["--temperature", "nan", PERU],
        b"",
        2,
        b"",
        "(temperature is 0 to 5)",
    ),
    "a range before a model": (
        ["--temperature", "9", "-m", "/no/model", PERU],
        b"",
        2,
        b"",
        "--temperature: 9.0 is out of range",
    ),
    "a KV type before a model": (
        ["--kv", "f8", "-m", "/no/model", PERU],
        b"",
        2,
        b"",
        "--kv: 'f8' is not known",
    ),
    "a family before a model": (
        ["--family", "v9", "-m", "/no/model", PERU],
        b"",
        2,
        b"",
        "no family is called 'v9'",
    ),
    "top-p of 0": (["--top-p", "0", PERU], b"", 2, b"", "--top-p: 0.0 is out of range"),
    "max-tokens of 0": (
        ["--max-tokens", "0", PERU],
        b"",
        2,
        b"",
        "--max-tokens: 0 is out of range",
    ),
    "context too small": (
        ["--ctx", "100", PERU],
        b"",
        2,
        b"",
        "--ctx: 100 is out of range (this model takes 512 to 4096 tokens)",
    ),
    "context too large": (["--ctx", "4097", PERU], b"", 2, b"", "--ctx: 4097 is out of range"),
    "negative seed": (["--seed", "-1", PERU], b"", 2, b"", "--seed: -1 is out of range"),
    "a template that is not there": (
        ["-t", "commit", PERU],
        b"",
        3,
        b"",
        "no template is called 'commit'",
    ),
    "a variable without a template": (
        ["-p", "a=b", PERU],
        b"",
        2,
        b"",
        "-p needs a template",
    ),
}
# what the default run tries of them as processes; the others are slow
FEW_CASES = ("argument alone", "neither", "a sum on stdin", "too much on stdin", "unknown model")


def judge_case(done: Done, name: str) -> None:
    """An error is one line, which names the program and says what would help."""
    _, _, code, stdout, stderr = CASES[name]
    judge(done, code, stdout, stderr)
    said = done.stderr.decode()
    assert said.count("\n") == bool(stderr)
    assert said.endswith(")\n") or code not in (1, 2, 3, 4)
    assert said.startswith("dslocal: ") == (bool(stderr) and stderr != "4 of 4 agree")


@pytest.mark.parametrize("name", CASES)
def test_ask(run: Run, name: str) -> None:
    arguments, stdin, *_ = CASES[name]
    judge_case(run.inside("ask", *arguments, stdin=stdin), name)


@pytest.mark.parametrize("name", selected(CASES, FEW_CASES))
def test_ask_as_a_process(run: Run, name: str) -> None:
    arguments, stdin, *_ = CASES[name]
    judge_case(run("ask", *arguments, stdin=stdin), name)
