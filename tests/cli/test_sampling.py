"""Proves that every sampling option reaches the answer: by flag, environment and config.toml, in
ask, fim, eval and the dry run.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import BINARY, Run
from support.terminal.screen import Screen
from support.waiting import exit_code_of

from dslocal.errors import ExitCode

PERU = "capital of peru"


@pytest.fixture
def elsewhere(run: Run, tmp_path: Path) -> Run:
    """A home with nano converted and a config.toml to write."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    (tmp_path / "config").mkdir()
    return Run(tmp_path)


STOPPED = b"The capital of Peru is\n"
ANSWERS: dict[str, tuple[list[str], dict[str, str], str, bytes]] = {
    "stop by flag": (["--stop", "Lima"], {}, "", STOPPED),
    "several stops": (["--stop", "nowhere", "--stop", "ital"], {}, "", b"The cap\n"),
    "stop by environment": ([], {"DSLOCAL_STOP": '["Lima", "x"]'}, "", STOPPED),
    "stop by file": ([], {}, 'stop = ["Lima"]', STOPPED),
    "flag over environment and file": (
        ["--stop", "Lima"],
        {"DSLOCAL_STOP": "Peru"},
        'stop = "The"',
        STOPPED,
    ),
    "the answer is all stop text": (["--stop", "The"], {}, "", b""),
    "bias by flag": (["--logit-bias", "</think>=-100"], {}, "", b""),
    "bias by file": ([], {}, 'logit_bias = ["</think>=-100"]', b""),
    "top-k by flag": (
        ["--top-k", "1", "--temperature", "5"],
        {},
        "",
        b"The capital of Peru is Lima.\n",
    ),
    "top-k by environment": (
        ["--temperature", "5"],
        {"DSLOCAL_TOP_K": "1"},
        "",
        b"The capital of Peru is Lima.\n",
    ),
    "min-p by flag": (
        ["--min-p", "1", "--temperature", "5"],
        {},
        "",
        b"The capital of Peru is Lima.\n",
    ),
    "all that are gentle": (
        ["--presence-penalty", "0.1", "--frequency-penalty", "0.1", "--repeat-penalty", "1.01"],
        {},
        "",
        b"The capital of Peru is Lima.\n",
    ),
}


@pytest.mark.parametrize(("args", "env", "toml", "stdout"), ANSWERS.values(), ids=ANSWERS)
def test_answers(
    elsewhere: Run, args: list[str], env: dict[str, str], toml: str, stdout: bytes
) -> None:
    (elsewhere.home / "config" / "config.toml").write_text(toml)
    done = elsewhere.inside("ask", PERU, "--seed", "1", *args, env=env)
    code = ExitCode.SUCCESS if stdout else ExitCode.CONTEXT_OVERFLOW  # also of an empty answer
    assert (done.returncode, done.stdout) == (code, stdout)


@pytest.mark.parametrize(
    "option", ["--repeat-penalty=10", "--presence-penalty=2", "--frequency-penalty=2"]
)
def test_penalties_change_an_answer(run: Run, option: str) -> None:
    args = ("ask", PERU, "--temperature", "3", "--max-tokens", "60", "--seed", "1", "--json")
    plain, penalised = (json.loads(run.inside(*args, *more).stdout) for more in ((), (option,)))
    assert plain["reasoning"] != penalised["reasoning"]


BAD: dict[str, tuple[list[str], dict[str, str], str]] = {
    "top-k": (["--top-k", "-1"], {}, "--top-k: -1 is out of range (top_k is 0 (off) to 1048576)"),
    "min-p": (["--min-p", "2"], {}, "--min-p: 2.0 is out of range"),
    "min-p by environment": (
        [],
        {"DSLOCAL_MIN_P": "much"},
        "DSLOCAL_MIN_P: 'much' is not a number",
    ),
    "presence penalty": (
        ["--presence-penalty", "3"],
        {},
        "--presence-penalty: 3.0 is out of range",
    ),
    "frequency penalty": (
        ["--frequency-penalty", "-3"],
        {},
        "--frequency-penalty: -3.0 is out of range",
    ),
    "repeat penalty": (["--repeat-penalty", "0"], {}, "--repeat-penalty: 0.0 is out of range"),
    "bias without a value": (["--logit-bias", "hello"], {}, "--logit-bias: 'hello' is not allowed"),
    "bias for no token": (["--logit-bias", "hello there=1"], {}, "tokens, not one (its ids are "),
    "bias for no id": (
        ["--logit-bias", "4096=1"],
        {},
        "--logit-bias: token 4096 does not exist: the vocabulary has 4,096 tokens",
    ),
    "empty stop": (["--stop", ""], {}, "--stop: '' is not allowed"),
    "too many logprobs": (
        ["--json", "--logprobs", "21"],
        {},
        "--logprobs: 21 is out of range (0 to 20)",
    ),
    "logprobs in plain text": (
        ["--logprobs", "1"],
        {},
        "--logprobs needs --json (add --json)",
    ),
}


@pytest.mark.parametrize("command", ["ask", "dry run", "fim"])
@pytest.mark.parametrize(("args", "env", "said"), BAD.values(), ids=BAD)
def test_a_bad_value_is_one_line(
    run: Run, command: str, args: list[str], env: dict[str, str], said: str
) -> None:
    first = {
        "ask": ["ask", PERU],
        "dry run": ["ask", PERU, "--dry-run"],
        "fim": ["fim", "--prefix", "a"],
    }[command]
    done = run.inside(*first, *args, env=env)
    assert (done.returncode, done.stdout.strip() if "--json" not in args else b"") == (2, b""), (
        done.stdout
    )
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_a_server_whose_answers_would_all_fail_does_not_start(run: Run) -> None:
    done = run.inside("serve", "nano", "--port", "0", env={"DSLOCAL_LOGIT_BIAS": "4096=1"})
    assert done.returncode == ExitCode.USAGE
    assert "DSLOCAL_LOGIT_BIAS: token 4096 does not exist" in done.stderr.decode()


BIAS_OF_NO_TOKEN = {"DSLOCAL_LOGIT_BIAS": "4096=1"}
NO_TOKEN = "DSLOCAL_LOGIT_BIAS: token 4096 does not exist: the vocabulary has 4,096 tokens"


def test_eval_refuses_a_bias_for_no_token_before_a_question(run: Run, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "What is 1 + 1?", "answer": "2"}\n')
    done = run.inside("eval", questions, env=BIAS_OF_NO_TOKEN)
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert NO_TOKEN in done.stderr.decode()


def test_chat_refuses_a_bias_for_no_token_before_a_question(run: Run) -> None:
    with Screen([str(BINARY), "chat", "nano"], {**run.env(), **BIAS_OF_NO_TOKEN}) as screen:
        screen.wait_for("token 4096 does not exist")
        assert exit_code_of(screen.process) == ExitCode.USAGE


def test_dry_run_shows_what_is_set(elsewhere: Run) -> None:
    (elsewhere.home / "config" / "config.toml").write_text("min_p = 0.1\n")
    args = (
        "--top-k",
        "40",
        "--logit-bias",
        "5=1",
        "--logit-bias",
        "</think>=-2",
        "--stop",
        "a\nb\x1b[31m",
    )
    env = {"DSLOCAL_REPEAT_PENALTY": "1.1"}
    settings: dict[str, Any] = json.loads(
        elsewhere.inside("ask", "hi", "--dry-run", "--json", *args, env=env).stdout
    )["settings"]
    file = str(elsewhere.home / "config" / "config.toml")
    assert {name: settings[name] for name in list(settings)[3:-3]} == {
        "top_k": {"value": 40, "source": "--top-k"},
        "min_p": {"value": 0.1, "source": file},
        "repeat_penalty": {"value": 1.1, "source": "DSLOCAL_REPEAT_PENALTY"},
        "logit_bias": {"value": {"5": 1.0, "4095": -2.0}, "source": "--logit-bias"},
        "stop": {"value": ["a\nb\x1b[31m"], "source": "--stop"},
    }
    people = elsewhere.inside("ask", "hi", "--dry-run", *args, env=env).stdout.decode()
    assert "top_k = 40  (--top-k)\n" in people
    assert 'stop = ["a\\nb\\u001b[31m"]  (--stop)\n' in people


def test_logprobs(run: Run) -> None:
    done = run.inside("ask", PERU, "--json", "--logprobs", "3", "--seed", "1")
    result = json.loads(done.stdout)
    entries = result["logprobs"]
    assert len(entries) == result["usage"]["completion_tokens"]
    spoken = b"".join(
        bytes(entry["bytes"]) for entry in entries if entry["token"] != "</think>"
    ).decode()
    assert spoken.split() == f"{result['reasoning']} {result['answer']}".split()
    for entry in entries:
        listed = [each["logprob"] for each in entry["top_logprobs"]]
        assert len(listed) == 3
        assert listed == sorted(listed, reverse=True)
        assert entry["logprob"] <= listed[0] <= 0
        assert sum(map(math.exp, listed)) < 1.000001
        assert set(entry) == {"token", "id", "bytes", "logprob", "top_logprobs"}


def test_every_sample_has_its_own_logprobs(run: Run) -> None:
    done = run.inside("ask", PERU, "--json", "--logprobs", "0", "--seed", "1", "-n", "2")
    samples = json.loads(done.stdout)["samples"]
    assert [len(sample["logprobs"]) for sample in samples] == [
        sample["usage"]["completion_tokens"] for sample in samples
    ]
    assert samples[0]["logprobs"][0]["top_logprobs"] == []


def test_fim(run: Run) -> None:
    before = 'def add(a, b):\n    """Return the sum of a and b."""\n'
    gap = ("fim", "--prefix", before, "--suffix", "\n    return result\n")
    whole, cut = run.inside(*gap), run.inside(*gap, "--stop", "=")
    assert (whole.returncode, cut.returncode) == (0, 0)
    assert cut.stdout == whole.stdout.partition(b"=")[0] + b"\n"
    result = json.loads(run.inside(*gap, "--json", "--logprobs", "1").stdout)
    assert (
        b"".join(bytes(entry["bytes"]) for entry in result["logprobs"]).decode() == result["answer"]
    )


def test_eval(run: Run, tmp_path: Path) -> None:
    """An option that is on is part of what decides the results; one that is off is as if it were
    not given.
    """
    (tmp_path / "q.jsonl").write_text('{"question": "What is 2 + 3?", "answer": "5"}\n')

    def evaluated(*args: str) -> tuple[int, str, str]:
        done = run.inside("eval", "q.jsonl", *args, cwd=tmp_path)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    code, out, _ = evaluated("--top-k", "0")
    assert (code, "top_k" in out) == (0, False)
    assert evaluated()[0] == 0
    code, _, err = evaluated("--top-k", "5")
    assert code == 2
    assert "top_k none, now 5" in err
    code, out, _ = evaluated("--top-k", "5", "--stop", "####", "--restart")
    assert code == 0
    assert 'temperature 0.6, top-p 0.95, top_k 5, stop ["####"]\n' in out
    assert (
        json.loads(evaluated("--top-k", "5", "--stop", "####", "--json")[1])["settings"]["stop"]
        == '["####"]'
    )
