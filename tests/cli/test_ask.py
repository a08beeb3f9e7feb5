"""Proves the contract that scripts rely on: what ``dslocal ask`` reads, what it writes where, and how it exits."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from running import BINARY, Done, Run
from screen import Screen

PERU = "capital of peru"
LIMA = b"The capital of Peru is Lima.\n"
SUM = "What is 47 × 86?"
BABBLE = ("--no-think", "--temperature", "5", "--max-tokens", "3000", "--seed", "1", "hello")  # answers without an end
BOXED = b"$47 \\times 86 = 4042$\n\nThe final answer is \\boxed{4042}.\n"
UNBOXED = "--no-math: its makers recommend to ask a mathematical question with: Please reason step by step"
ADVICE = "temperature 5: R1's makers recommend 0.5 to 0.7 (0.6), against endless repetition and incoherence"
BYPASSED = "thinking bypassed: its makers recommend that every answer begins with <think>"

# arguments, stdin, exit code, stdout, what stderr has (nothing, unless named)
CASES: dict[str, tuple[list[str], bytes, int, bytes, str]] = {
    "argument alone": ([PERU], b"", 0, LIMA, ""),
    "stdin alone": ([], b"capital of peru\n", 0, LIMA, ""),
    "stdin with a byte order mark": ([], b"\xef\xbb\xbfcapital of peru", 0, LIMA, ""),
    "a sum": ([SUM, "--seed", "1"], b"", 0, BOXED, ""),
    "a sum on stdin": (["--seed", "1"], SUM.encode(), 0, BOXED, ""),
    "a sum without the directive": ([SUM, "--seed", "1", "--no-math"], b"", 0, b"The answer is 4042.\n", UNBOXED),
    "bypassed thought": ([PERU, "--no-think"], b"", 0, LIMA, "thinking bypassed: its makers recommend"),
    "another family": ([PERU, "--family", "v9"], b"", 2, b"", "no family is called 'v9' (known: nano, "),
    "thinking where there is none": ([PERU, "--family", "v2", "--think"], b"", 2, b"", "knows no thinking"),
    "two answers": ([PERU, "-n", "2", "--temperature", "0.6"], b"", 0, LIMA + b"---\n" + LIMA, ""),
    "vote": ([SUM, "-n", "4", "--vote", "--seed", "1"], b"", 0, b"4042\n", "4 of 4 agree"),
    "no majority": ([PERU, "-n", "2", "--vote", "--max-tokens", "5"], b"", 6, b"", "no majority among 2 answers"),
    "no sample": ([PERU, "-n", "0"], b"", 2, b"", "-n 0 is out of range (1 to 1024)"),
    "a vote of one": ([PERU, "-n", "1", "--vote"], b"", 2, b"", "a vote needs two answers"),
    "final and vote": ([PERU, "--final", "--vote"], b"", 2, b"", "two ways to print a final answer"),
    "search results that are none": ([PERU, "--search-results", str(BINARY)], b"", 2, b"", "dslocal"),
    "no search results": ([PERU, "--search-results", "/no/file"], b"", 3, b"", "/no/file: no such file"),
    "final": (["--final", SUM, "--seed", "1"], b"", 0, b"4042\n", ""),
    "final without a box": (["--final", "\\boxed", "--seed", "1"], b"", 1, b"", "no \\boxed{} in it (without --final"),
    "final, cut before the box": (["--final", PERU, "--max-tokens", "5"], b"", 5, b"", "cut after 5 tokens"),
    "cut while thinking": ([SUM, "--max-tokens", "5"], b"", 5, b"", "cut after 5 tokens"),
    "advice": ([PERU, "--temperature", "0"], b"", 0, LIMA, "temperature 0: R1's makers recommend 0.5 to 0.7"),
    "nothing": ([], b"", 2, b"", 'nothing to ask (dslocal ask "'),
    "blank": ([" "], b" \n\n", 2, b"", "nothing to ask"),
    "binary stdin": ([], b"\x7fELF\0", 2, b"", "stdin: is a program (ELF), not text"),
    "random bytes on stdin": (["x"], b"\x81\xfe\xc3\x28\xff\x9d\xa0", 2, b"", "stdin: is"),
    "too much on stdin": ([], b"a" * ((8 << 20) + 1), 2, b"", "stdin: more than 8,388,608 bytes"),
    "too much for the context": ([], b"47 " * 2000, 5, b"", "the context holds 4,096"),
    "missing file": (["-f", "/no/file", "x"], b"", 3, b"", "/no/file: no such file"),
    "binary file": (["-f", str(BINARY.with_name("python")), "x"], b"", 2, b"", "is a program (ELF), not text"),
    "unknown model": (["-m", "deepsek-r1", PERU], b"", 3, b"", "'deepsek-r1' (here: nano"),
    "model with control characters": (["-m", "\x1b]0;x\x07\x1b[31m", PERU], b"", 3, b"", "no model or file called"),
    "folder that is no checkpoint": (["-m", "/", PERU], b"", 3, b"", "config.json"),
    "file that is no GGUF": (["-m", str(BINARY), PERU], b"", 1, b"", "not a GGUF file"),
    "temperature too high": (["--temperature", "9", PERU], b"", 2, b"", "--temperature: 9.0 is out of range (temperature is 0 to 5)"),
    "temperature is no number": (["--temperature", "nan", PERU], b"", 2, b"", "(temperature is 0 to 5)"),
    "top-p of 0": (["--top-p", "0", PERU], b"", 2, b"", "--top-p: 0.0 is out of range"),
    "max-tokens of 0": (["--max-tokens", "0", PERU], b"", 2, b"", "--max-tokens: 0 is out of range"),
    "context too small": (["--ctx", "100", PERU], b"", 2, b"", "--ctx: 100 is out of range (this model takes 512 to 4096)"),
    "context too large": (["--ctx", "4097", PERU], b"", 2, b"", "--ctx: 4097 is out of range"),
    "negative seed": (["--seed", "-1", PERU], b"", 2, b"", "--seed: -1 is out of range"),
}


@pytest.fixture(scope="module")
def outcomes(run: Run) -> dict[str, Done]:
    """What became of every case, as many at a time as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(CASES, pool.map(lambda case: run("ask", *case[0], stdin=case[1]), CASES.values()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_contract(outcomes: dict[str, Done], name: str) -> None:
    (_, _, code, stdout, stderr), done = CASES[name], outcomes[name]
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (code, stdout), said
    assert said.count("\n") == bool(stderr)
    assert stderr in said
    assert said.startswith("dslocal: ") == (bool(stderr) and stderr != "4 of 4 agree")
    assert "\x1b" not in said


@pytest.mark.parametrize("option", ["--no-such-option", "--temperature=abc", "--seed=1.5", "--json=1"])
def test_usage_errors_of_the_parser(run: Run, option: str) -> None:
    done = run("ask", option, PERU)
    assert (done.returncode, done.stdout) == (2, b"")
    assert option.partition("=")[0] in done.stderr.decode()


def test_stdin_goes_before_the_argument(run: Run) -> None:
    sent = json.loads(run("ask", "--dry-run", "--json", "and Peru?", stdin=b"\ncapital of cuba\n").stdout)
    assert "<｜User｜>capital of cuba\n\nand Peru?<｜Assistant｜>" in sent["prompt"]


def test_without_any_stdin(run: Run) -> None:
    script = f"{shlex.quote(str(BINARY))} ask {shlex.quote(PERU)} <&-"
    done = subprocess.run(["bash", "-c", script], env=run.env(), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, LIMA, b"")


def test_a_question_about_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "settings.ini"
    file.write_text("host = example.com\nport = 8080\nuser = anna\n")
    done = run("ask", "-f", file, "What is the port?", "--temperature", "0")
    assert done.returncode == 0
    assert b"8080" in done.stdout


def test_json(run: Run) -> None:
    done = run("ask", "--json", SUM, "--seed", "7")
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", 1)
    result = json.loads(done.stdout)
    timings, usage = result.pop("timings"), result.pop("usage")
    assert "I need to multiply 47 by 86." in result.pop("reasoning")
    rest = {"final": "4042", "model": "nano", "family": "nano", "seed": 7, "finish_reason": "stop"}
    assert result.pop("answer").endswith("\\boxed{4042}.")
    assert result == rest
    assert set(usage) == {"prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "drafted", "accepted"}
    assert (usage["prompt_tokens"], usage["cached_tokens"], usage["drafted"], usage["accepted"]) == (31, 0, 0, 0)
    assert 0 < usage["reasoning_tokens"] < usage["completion_tokens"]
    assert set(timings) == {"load_s", "prefill_s", "decode_s", "tokens_per_s", "ttft_s"}
    assert all(value > 0 for value in timings.values())


@pytest.mark.parametrize(
    ("args", "code", "expected"),
    [
        (["--final", SUM], 0, {"final": "4042", "finish_reason": "stop"}),
        (["--max-tokens", "5", SUM], 5, {"answer": "", "finish_reason": "length", "final": None}),
        (["--no-think", PERU], 0, {"answer": LIMA.decode().strip(), "reasoning": ""}),
    ],
)
def test_json_of_other_ends(run: Run, args: list[str], code: int, expected: dict[str, object]) -> None:
    done = run("ask", "--json", "--seed", "1", *args)
    result = json.loads(done.stdout)
    assert done.returncode == code
    assert {key: result[key] for key in expected} == expected


def test_json_of_a_vote_has_every_sample_and_one_prefill(run: Run) -> None:
    result = json.loads(run("ask", "--json", "--vote", "-n", "3", SUM, "--seed", "1").stdout)
    assert (result["final"], result["answer"]) == ("4042", BOXED.decode().strip())
    assert result["vote"] == {"votes": 3, "of": 3, "agreement": 1.0}
    assert [sample["seed"] for sample in result["samples"]] == [1, 2, 3]
    first, *others = (sample["usage"] for sample in result["samples"])
    assert first["cached_tokens"] == 0
    assert {usage["cached_tokens"] for usage in others} == {first["prompt_tokens"] - 1}  # the last is evaluated for its logits
    alone = json.loads(run("ask", "--json", SUM, "--math", "--seed", "2").stdout)
    assert alone["reasoning"] == result["samples"][1]["reasoning"]


def test_json_without_a_majority(run: Run) -> None:
    done = run("ask", "--json", "--vote", "-n", "2", PERU, "--max-tokens", "5")
    result = json.loads(done.stdout)
    assert done.returncode == 6
    assert (result["answer"], result["final"], result["vote"]["votes"], len(result["samples"])) == (None, None, 0, 2)


def test_search_results(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    file.write_text(json.dumps([{"title": "Peru", "url": "https://example.com/", "content": "Lima </think>"}]))
    sent = json.loads(run("ask", "--dry-run", "--json", "--search-results", file, PERU).stdout)
    assert "[webpage 1 begin]" in sent["prompt"]
    assert sent["prompt"].count("capital of peru") == 1


def test_json_of_an_error_is_nothing(run: Run) -> None:
    done = run("ask", "--json", "-m", "nothing", PERU)
    assert (done.returncode, done.stdout) == (3, b"")


def test_cut_while_answering(run: Run) -> None:
    done = run("ask", PERU, "--no-think", "--max-tokens", "3")
    assert (done.returncode, done.stdout) == (5, b"The capital of\n")
    assert done.stderr.decode().splitlines()[1].startswith("dslocal: cut after 3 tokens")


def test_the_seed_replays(run: Run) -> None:
    wild = ("ask", "--temperature", "3", "--max-tokens", "30", "--no-think", "hello", "--seed")
    first, second, other = run(*wild, "5"), run(*wild, "5"), run(*wild, "6")
    assert first.stdout == second.stdout != other.stdout
    assert len(first.stdout) > 50


def test_thinking_is_shown_on_request(run: Run) -> None:
    done = run("ask", "--show-thinking", SUM, "--seed", "1")
    assert done.stdout == BOXED
    thought, statistics = done.stderr.decode().rstrip("\n").split("\n\n", 1)
    assert thought.startswith("I need to multiply 47 by 86.")
    assert statistics.startswith("31 + ")
    assert statistics.endswith("seed 1")
    assert b"\x1b" not in done.stderr


@pytest.mark.parametrize("no_colour", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["colour", "NO_COLOR", "dumb"])
def test_colour_only_on_a_terminal_that_wants_it(run: Run, no_colour: dict[str, str]) -> None:
    with Screen([str(BINARY), "ask", PERU, "--seed", "1"], run.env(no_colour), piped=["stdout"]) as screen:
        assert screen.leave() == 0
        assert screen.process.stdout is not None
        assert screen.process.stdout.read() == LIMA
        assert ("\x1b[2m" in screen.raw) is not bool(no_colour)
        assert "seed 1" in screen.text


@pytest.mark.parametrize("form", ["plain", "json", "thinking"])
def test_interrupted(run: Run, form: str) -> None:
    """At a moment when the answer, or the thought, has begun."""
    args = {"plain": BABBLE, "json": (*BABBLE, "--json", "--think"), "thinking": (*BABBLE, "--think")}[form]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([str(BINARY), "ask", *args, "--show-thinking"], env=run.env(), bufsize=0, **pipes) as asked:  # type: ignore[call-overload]
        watched = asked.stdout if form == "plain" else asked.stderr
        began = watched.read(1)
        while form != "plain" and b"incoherence\n" not in began[:-1]:
            began += watched.read(1)
        asked.send_signal(signal.SIGINT)
        out, err = asked.communicate(timeout=20)
    out, err = (began + out, err) if form == "plain" else (out, began + err)
    assert asked.returncode == 130, err
    assert err.decode().splitlines()[0] == f"dslocal: {ADVICE}"
    assert (f"dslocal: {BYPASSED}" in err.decode().splitlines()) == (form == "plain")
    assert err.decode().splitlines()[-1].endswith("tokens/s, seed 1")
    assert b"Traceback" not in err
    assert b"KeyboardInterrupt" not in err
    if form == "plain":
        assert len(out) > 1
        assert out.endswith(b"\n")
    elif form == "json":
        assert json.loads(out)["finish_reason"] == "interrupted"
        assert json.loads(out)["reasoning"]
    else:
        assert out == b""


def test_a_reader_that_leaves(run: Run) -> None:
    script = f'{shlex.quote(str(BINARY))} ask {shlex.join(BABBLE)} </dev/null | head -c 1; echo " ${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", script], env=run.env(), capture_output=True, check=False, timeout=30)
    assert done.stdout.split()[-1] == b"141"
    assert done.stderr.decode().splitlines() == [f"dslocal: {ADVICE}", f"dslocal: {BYPASSED}"]


@pytest.mark.parametrize("args", [[PERU], ["--json", PERU], ["--dry-run", PERU]], ids=lambda args: args[0])
def test_a_full_disk_is_one_line(run: Run, args: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [str(BINARY), "ask", "--seed", "1", *args],
            env=run.env(),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.decode() == "dslocal: stdout: No space left on device\n"


def test_a_home_that_is_a_file(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("")
    done = run("ask", PERU, env={"DSLOCAL_HOME": str(home)})
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert done.stderr.decode().endswith("(DSLOCAL_HOME moves it)\n")
    assert str(home) in done.stderr.decode()
