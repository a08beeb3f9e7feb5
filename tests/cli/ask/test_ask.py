"""Proves what ``dslocal ask`` does where a line of test_cases.py is not enough: JSON, files, seeds,
interrupts, readers that leave.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from support.cli.ask_contract import BOXED, LIMA, PERU, SUM
from support.cli.running import BINARY, Run, python
from support.terminal.screen import Screen
from support.waiting import output_of

BABBLE = (
    "--no-think",
    "--temperature",
    "5",
    "--max-tokens",
    "3000",
    "--seed",
    "1",
    "hello",
)  # answers without an end
# the same with reasoning
REASONING_BABBLE = tuple(arg for arg in BABBLE if arg != "--no-think")
ADVICE = (
    "temperature 5: R1's model card recommends 0.5 to 0.7 (0.6), against endless repetition"
    " and incoherence"
)
BYPASSED = "thinking bypassed: its model card recommends that every answer begins with <think>"


@pytest.mark.parametrize(
    "option", ["--no-such-option", "--temperature=abc", "--seed=1.5", "--json=1"]
)
def test_usage_errors_of_the_parser(run: Run, option: str) -> None:
    done = run("ask", option, PERU)
    assert (done.returncode, done.stdout) == (2, b"")
    assert option.partition("=")[0] in done.stderr.decode()


def test_stdin_goes_before_the_argument(run: Run) -> None:
    sent = json.loads(
        run("ask", "--dry-run", "--json", "and Peru?", stdin=b"\ncapital of cuba\n").stdout
    )
    assert "<｜User｜>capital of cuba\n\nand Peru?<｜Assistant｜>" in sent["prompt"]


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
    assert "nano-Q8_0" in result.pop("file")
    assert result.pop("quant") == "Q8_0"
    assert result.pop("no_answer") is None
    assert result.pop("answer").endswith("\\boxed{4042}.")
    assert result == rest
    assert set(usage) == {
        "prompt_tokens",
        "cached_tokens",
        "completion_tokens",
        "reasoning_tokens",
        "drafted",
        "accepted",
    }
    assert (
        usage["prompt_tokens"],
        usage["cached_tokens"],
        usage["drafted"],
        usage["accepted"],
    ) == (33, 0, 0, 0)
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
def test_json_of_other_ends(
    run: Run, args: list[str], code: int, expected: dict[str, object]
) -> None:
    done = run("ask", "--json", "--seed", "1", *args)
    result = json.loads(done.stdout)
    assert done.returncode == code
    assert {key: result[key] for key in expected} == expected


def test_json_of_a_vote_has_every_sample_and_one_prefill(run: Run) -> None:
    result = json.loads(run("ask", "--json", "--vote", "-n", "3", SUM, "--seed", "1").stdout)
    assert (result["final"], result["answer"]) == ("4042", BOXED.decode().strip())
    assert result["vote"] == {
        "votes": 3,
        "of": 3,
        "agreement": 1.0,
        "plurality": "4042",
    }
    assert [sample["seed"] for sample in result["samples"]] == [1, 2, 3]
    first, *others = (sample["usage"] for sample in result["samples"])
    assert first["cached_tokens"] == 0
    assert {usage["cached_tokens"] for usage in others} == {
        first["prompt_tokens"] - 1
    }  # the last is evaluated for its logits
    alone = json.loads(run("ask", "--json", SUM, "--math", "--seed", "2").stdout)
    assert alone["reasoning"] == result["samples"][1]["reasoning"]


def test_json_without_a_majority(run: Run) -> None:
    done = run("ask", "--json", "--vote", "-n", "2", PERU, "--max-tokens", "5")
    result = json.loads(done.stdout)
    assert done.returncode == 6
    assert (result["answer"], result["final"], result["vote"]["votes"], len(result["samples"])) == (
        None,
        None,
        0,
        2,
    )


def test_search_results(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    file.write_text(
        json.dumps([{"title": "Peru", "url": "https://example.com/", "content": "Lima </think>"}])
    )
    sent = json.loads(run("ask", "--dry-run", "--json", "--search-results", file, PERU).stdout)
    assert "[webpage 1 begin]" in sent["prompt"]
    assert sent["prompt"].count("capital of peru") == 1


def test_json_of_an_error_is_nothing(run: Run) -> None:
    done = run("ask", "--json", "-m", "nothing", PERU)
    assert (done.returncode, done.stdout) == (3, b"")


def test_cut_while_answering(run: Run) -> None:
    done = run("ask", PERU, "--no-think", "--max-tokens", "3")
    assert (done.returncode, done.stdout) == (5, b"The capital of\n")
    assert (
        done.stderr.decode()
        .splitlines()[1]
        .startswith("dslocal: the answer was cut off after 3 tokens")
    )


def test_the_seed_replays(run: Run) -> None:
    wild = ("ask", "--temperature", "3", "--max-tokens", "30", "--no-think", "hello", "--seed")
    first = run(*wild, "6")
    second = run(*wild, "6")
    other = run(*wild, "7")
    assert first.stdout == second.stdout != other.stdout
    assert len(first.stdout) > 50


def test_thinking_is_shown_on_request(run: Run) -> None:
    done = run("ask", "--show-thinking", SUM, "--seed", "1")
    assert done.stdout == BOXED
    thought, statistics = done.stderr.decode().rstrip("\n").split("\n\n", 1)
    assert thought.startswith("I need to multiply 47 by 86.")
    assert statistics.startswith("33 + ")
    assert statistics.endswith("seed 1")
    assert b"\x1b" not in done.stderr


@pytest.mark.parametrize(
    "no_colour", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["colour", "NO_COLOR", "dumb"]
)
def test_colour_only_on_a_terminal_that_wants_it(run: Run, no_colour: dict[str, str]) -> None:
    with Screen(
        [str(BINARY), "ask", PERU, "--seed", "1"], run.env(no_colour), piped=["stdout"]
    ) as screen:
        assert screen.leave() == 0
        assert screen.process.stdout is not None
        assert screen.process.stdout.read() == LIMA
        assert ("\x1b[2m" in screen.raw) is not bool(no_colour)
        assert "seed 1" in screen.text


@pytest.mark.parametrize("form", ["plain", "json", "thinking"])
def test_interrupted(run: Run, form: str) -> None:
    """At a moment when the answer, or the reasoning, has started."""
    args = {
        "plain": BABBLE,
        "json": (*REASONING_BABBLE, "--json", "--think"),
        "thinking": (*REASONING_BABBLE, "--think"),
    }[form]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        [str(BINARY), "ask", *args, "--show-thinking"], env=run.env(), bufsize=0, **pipes
    ) as asked:  # type: ignore[call-overload]
        watched = asked.stdout if form == "plain" else asked.stderr
        began = watched.read(1)
        while form != "plain" and b"incoherence\n" not in began[:-1]:
            began += watched.read(1)
        asked.send_signal(signal.SIGINT)
        out, err = output_of(asked)
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


def test_interrupted_before_anything_runs() -> None:
    """While Python imports, Ctrl-C ends the program without a traceback. Whoever else imports
    dslocal keeps its own handler.
    """
    import_it = (
        "import signal, sys; sys.argv = [sys.argv[1]]; import dslocal.cli as cli; kinds ="
        " [cli.leave_at_once, signal.default_int_handler]\n"
    )
    say = "print(kinds.index(signal.getsignal(signal.SIGINT)))\n"
    for name, seen in (("/somewhere/dslocal", "0\n1\n"), ("/somewhere/else", "1\n1\n")):
        done = python(f"{import_it}{say}cli.restore_interrupts()\n{say}", name)
        assert (done.stdout, done.stderr) == (seen, "")


def test_interrupted_in_the_second_answer(run: Run) -> None:
    """The first is kept, in JSON too."""
    command = [
        str(BINARY),
        "ask",
        *(arg for arg in REASONING_BABBLE if arg not in ("--max-tokens", "3000")),
        "--think",
        "--json",
        "-n",
        "30",
        "--show-thinking",
        "--max-tokens",
        "40",
    ]
    with subprocess.Popen(
        command,
        env=run.env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as asked:
        assert asked.stderr is not None
        while b"seed 1\n" not in asked.stderr.readline():
            pass
        asked.send_signal(signal.SIGINT)
        out, _ = output_of(asked)
    assert asked.returncode == 130
    samples = json.loads(out)["samples"]
    assert 1 <= len(samples) < 30
    assert samples[0]["finish_reason"] == "length"


def test_a_stdin_that_says_nothing_is_not_waited_for_in_silence(run: Run) -> None:
    """On a terminal only: a script's log needs no such line."""
    with Screen([str(BINARY), "ask", PERU], run.env(), piped=("stdin",)) as screen:
        screen.wait_for(
            "waiting for stdin, which is sent with the question (add </dev/null to send none)"
        )
        assert screen.process.stdin is not None
        screen.process.stdin.close()
        screen.wait_for(LIMA.decode().strip())
        assert screen.leave() == 0


def test_a_reader_that_leaves(run: Run) -> None:
    script = (
        f'{shlex.quote(str(BINARY))} ask {shlex.join(BABBLE)} </dev/null | head -c 1; echo "'
        f' ${{PIPESTATUS[0]}}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], env=run.env(), capture_output=True, check=False, timeout=120
    )
    assert done.stdout.split()[-1] == b"141"
    assert done.stderr.decode().splitlines() == [f"dslocal: {ADVICE}", f"dslocal: {BYPASSED}"]
