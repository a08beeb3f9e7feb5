"""Proves that ``dslocal eval`` counts right answers, that an interrupted run ends as if it had not
been, and what it refuses.
"""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import BINARY, Run
from support.terminal.screen import Screen
from support.waiting import output_of, wait_until

from dslocal.cli.measuring.examination import Examination
from dslocal.engine import LlamaContext
from dslocal.evaluation.problems import Problem
from dslocal.evaluation.samples import Sample, sample_seed
from dslocal.evaluation.scores import Scores, score
from dslocal.prompts import Thinking
from dslocal.prompts.families import FAMILIES

DEEP = b"[" * 100_000
PROBLEMS: list[dict[str, object]] = [
    {"question": "What is 47 × 86?", "answer": "4{,}042"},
    {"question": "What is 12 * (3 + 4)?", "answer": 84.0, "source": "made up"},
    {"question": "How much is 123 plus 456?", "answer": "So it is 579.\n#### 579"},
    {"question": "What is 30 + 12?", "answer": "$43$"},
]
WILD = ("--temperature", "3", "--max-tokens", "40")  # answers that differ from seed to seed
BABBLE = ("--temperature", "5", "--no-think", "--max-tokens", "150", "--no-math")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with a file of questions to work in."""
    (tmp_path / "q.jsonl").write_text(
        "\n".join(map(json.dumps, PROBLEMS)) + "\n\n", encoding="utf-8"
    )
    return tmp_path


def lines(path: Path) -> list[dict[str, Any]]:
    """Every line of a results file, without the time it took."""
    return [
        {k: v for k, v in json.loads(line).items() if k != "decode_s"}
        for line in path.read_text().splitlines()
    ]


def test_a_table_and_every_answer(run: Run, small: Path) -> None:
    done = run("eval", "q.jsonl", "-n", "3", cwd=small)
    assert (done.returncode, done.stderr) == (0, b"")
    title, blank, *rows = done.stdout.decode().splitlines()
    assert title == "nano on q.jsonl: 4 questions, 3 answers each, temperature 0.6, top-p 0.95"
    table = dict(
        row.split(maxsplit=1)
        for row in (row.replace(" of 3 ", " ").replace("no final", "none:") for row in rows)
    )
    assert (blank, table["pass@1"], table["majority"]) == (
        "",
        "75.0% ± 25.0% (standard error)",
        "75.0%",
    )
    assert (table["none:"], table["cut"]) == ("answer    0 of 12", "0 of 12")
    assert table["every"].split() == ["answer", "q.nano.results.jsonl"]
    header, *samples = lines(small / "q.nano.results.jsonl")
    assert (
        header["dslocal_eval"],
        header["n"],
        header["seed"],
        header["temperature"],
        header["math"],
    ) == (1, 3, 0, 0.6, True)
    assert [(s["problem"], s["sample"]) for s in samples] == [
        (p, s) for p in range(4) for s in range(3)
    ]
    assert [s["seed"] for s in samples] == [
        sample_seed(0, s["problem"], s["sample"]) for s in samples
    ]
    assert [s["correct"] for s in samples] == [True] * 9 + [False] * 3
    assert {s["final"] for s in samples} == {"4042", "84", "579", "42"}
    assert all(
        s["cached_tokens"] == s["prompt_tokens"] - 1 for s in samples
    )  # one prefill a question
    assert all("\\boxed{" in s["answer"] and s["reasoning"] for s in samples)


def test_json(run: Run, small: Path) -> None:
    args = (
        "eval",
        "q.jsonl",
        "--json",
        "--limit",
        "2",
        "--no-math",
        "--seed",
        "5",
        "--temperature",
        "0.5",
    )
    done = run.inside(*args, cwd=small)
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 1), done.stderr
    result = json.loads(done.stdout)
    settings = result.pop("settings")
    speed = result.pop("tokens_per_s")
    length = result.pop("tokens_per_answer")
    assert result == {
        "file": "q.jsonl",
        "results": "q.nano.results.jsonl",
        "model": "nano",
        "resumed": 0,
        "questions": 2,
        "samples": 2,
        "pass_at_1": 1.0,
        "stderr": 0.0,
        "consensus": 1.0,
        "no_answer": 0,
        "cut": 0,
        "no_room": 0,
    }
    assert speed > 0
    assert 20 < length < 1000
    assert (
        settings["temperature"],
        settings["top_p"],
        settings["seed"],
        settings["n"],
        settings["math"],
    ) == (0.5, 0.95, 5, 1, False)
    assert set(settings) >= {
        "dslocal",
        "questions",
        "model",
        "family",
        "thinking",
        "max_tokens",
        "ctx",
    }
    again = json.loads(run.inside(*args, cwd=small).stdout)
    assert (again["resumed"], again["pass_at_1"], again["tokens_per_s"]) == (2, 1.0, speed)
    assert (
        json.loads(run.inside("eval", "q.jsonl", *args[2:3], *args[5:], cwd=small).stdout)[
            "resumed"
        ]
        == 2
    )  # --limit decides nothing


def test_a_file_cut_off_anywhere_is_continued(run: Run, small: Path) -> None:
    args = ("eval", "q.jsonl", "-n", "2", *WILD, "--out")
    whole, cut = small / "whole.jsonl", small / "cut.jsonl"
    assert run.inside(*args, whole, cwd=small).returncode == 0
    data = whole.read_bytes()
    assert len({line["reasoning"] for line in lines(whole)[1:]}) == 8  # no two samples are the same
    for length in (0, 50, len(data) // 2, len(data) - 1):
        cut.write_bytes(data[:length])
        done = run.inside(*args, cut, "--json", cwd=small)
        assert done.returncode == 0, done.stderr
        assert lines(cut) == lines(whole)
        assert json.loads(done.stdout)["resumed"] == max(0, data[:length].count(b"\n") - 1)


def test_interrupted_it_says_so_and_goes_on(run: Run, small: Path) -> None:
    (small / "q.jsonl").write_text(
        "\n".join(json.dumps({"question": f"hello {i}", "answer": "x"}) for i in range(10))
    )
    args, out = [str(BINARY), "eval", "q.jsonl", *BABBLE], small / "q.nano.results.jsonl"
    with subprocess.Popen(
        args, env=run.env(), cwd=small, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as evaluated:
        wait_until(lambda: out.exists() and out.read_bytes().count(b"\n") >= 3, evaluated)
        evaluated.send_signal(signal.SIGINT)
        stdout, stderr = output_of(evaluated)
    assert (evaluated.returncode, stdout) == (130, b""), stderr
    done = len(lines(out)) - 1
    assert 2 <= done < 10
    assert (
        stderr.decode().splitlines()[-1]
        == f"dslocal: stopped at {done} of 10 answers; repeat the command to continue"
    )
    assert b"Traceback" not in stderr
    resumed = run("eval", "q.jsonl", *BABBLE, "--json", cwd=small)
    assert json.loads(resumed.stdout)["resumed"] == done
    assert run("eval", "q.jsonl", *BABBLE, "--out", "whole.jsonl", cwd=small).returncode == 0
    assert lines(out) == lines(small / "whole.jsonl")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-n", "2"], "n 1, now 2"),
        (["--seed", "1"], "seed 0, now 1"),
        (["--temperature", "0.5"], "temperature 0.6, now 0.5"),
        (["--no-think"], "thinking forced, now bypassed"),
        (["--no-math"], "math True, now False"),
        (["--ctx", "1024"], "ctx 4096, now 1024"),
    ],
)
def test_other_settings_are_refused(run: Run, small: Path, args: list[str], said: str) -> None:
    out = small / "q.nano.results.jsonl"
    run.inside("eval", "q.jsonl", "--limit", "1", cwd=small)
    before = out.read_bytes()
    done = run.inside("eval", "q.jsonl", "--limit", "1", *args, cwd=small)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert done.stderr.decode() == (
        f"dslocal: q.nano.results.jsonl: was written with other settings: {said} (--restart starts "
        "over,"
        f" --out FILE keeps both)\n"
    )
    assert out.read_bytes() == before
    assert (
        run.inside("eval", "q.jsonl", "--limit", "1", "--restart", *args, cwd=small).returncode == 0
    )
    assert out.read_bytes() != before


def test_other_questions_and_damage_are_refused(run: Run, small: Path) -> None:
    out = small / "q.nano.results.jsonl"
    run.inside("eval", "q.jsonl", "--limit", "2", cwd=small)
    good = out.read_bytes()
    for damaged in (
        good.replace(b'"sample": 0', b'"sample": "0"', 1),
        good.replace(b'"correct"', b'"cor'),
        good + b"{}\n",
        good + b"\n",
        good + DEEP + b"\n",
    ):
        out.write_bytes(damaged)
        done = run.inside("eval", "q.jsonl", "--limit", "2", cwd=small)
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
        assert "is damaged (--restart starts over)" in done.stderr.decode()
        assert out.read_bytes() == damaged
    for first in (b"[7]", DEEP):
        out.write_bytes(first + b"\n" + good.partition(b"\n")[2])
        done = run.inside("eval", "q.jsonl", "--limit", "2", cwd=small)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
        assert "is not a results file" in done.stderr.decode()
    out.write_bytes(good)
    (small / "q.jsonl").write_text(json.dumps(PROBLEMS[0]))
    assert "other settings: questions " in run.inside("eval", "q.jsonl", cwd=small).stderr.decode()


# what the file holds, exit code, what stderr says
REFUSED: list[tuple[bytes, str]] = [
    (
        b'{"question": "a", "answer": "b"}\n{"question": }',
        "q.jsonl: line 2 is not JSON: Expecting value",
    ),
    (b'\n["question"]', "line 2 is not a JSON object"),
    (b"5", "line 1 is not a JSON object"),
    (b"[" * 100_000, "line 1 is nested too deep"),
    (b'{"answer": "b"}', "line 1 has no question"),
    (b'{"question": "a"}', "line 1 has no answer"),
    (b'{"question": 5, "answer": "b"}', "line 1 its question is not text"),
    (b'{"question": "a", "answer": ["b"]}', "line 1 its answer is neither text nor a number"),
    (b'{"question": "a", "answer": true}', "line 1 its answer is neither text nor a number"),
    (b'{"question": "a", "answer": null}', "line 1 its answer is neither text nor a number"),
    (b'{"question": "a", "answer": NaN}', "line 1 its answer is neither text nor a number"),
    (b'{"question": " ", "answer": "b"}', "line 1 its question is empty"),
    (b'{"question": "a", "answer": "b #### "}', "line 1 its answer is empty"),
    (b'{"question": "caf\xe9", "answer": "b"}', "line 1 is not UTF-8 text"),
    (
        b'{"question": "' + b"a" * (1 << 20) + b'", "answer": "b"}',
        "line 1 is longer than 1,048,576 bytes",
    ),
    (b" \n\n", "q.jsonl: has no questions"),
    (b"", "q.jsonl: has no questions"),
]


@pytest.mark.parametrize(("content", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_files_that_are_refused(run: Run, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "q.jsonl").write_bytes(content)
    done = run.inside("eval", "q.jsonl", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert said in done.stderr.decode()
    assert '"answer": "2"}' in done.stderr.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["q.jsonl"]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["nothing.jsonl"], 3, "nothing.jsonl: no such file"),
        (["."], 2, ".: is not a file"),
        (["q.jsonl", "-n", "0"], 2, "-n"),
        (["q.jsonl", "--limit", "0"], 2, "--limit"),
        (["q.jsonl", "--seed", "-1"], 2, "--seed: -1 is out of range"),
        (["q.jsonl", "--temperature", "9"], 2, "--temperature: 9.0 is out of range"),
        (["q.jsonl", "-m", "nothing"], 3, "no model or file called 'nothing'"),
        (
            ["q.jsonl", "--out", "q.jsonl"],
            2,
            "q.jsonl: is not a results file of dslocal eval (choose another file with --out FILE)",
        ),
        (
            ["q.jsonl", "--out", "q.jsonl", "--restart"],
            2,
            "q.jsonl: is not a results file of dslocal eval",
        ),
        (["q.jsonl", "--out", "."], 2, ".: is a folder"),
        (["q.jsonl", "--out", "no/such/x.jsonl"], 3, "no/such: no such folder"),
    ],
)
def test_refused(run: Run, small: Path, args: list[str], code: int, said: str) -> None:
    before = (small / "q.jsonl").read_bytes()
    done = run.inside("eval", *args, cwd=small)
    assert (done.returncode, done.stdout) == (code, b"")
    assert said in done.stderr.decode()
    assert [path.name for path in small.iterdir()] == ["q.jsonl"]
    assert (small / "q.jsonl").read_bytes() == before


def test_what_is_cut_or_does_not_fit_is_counted(run: Run, small: Path) -> None:
    rows = [
        PROBLEMS[0],
        {"question": "47 " * 400, "answer": 5},
        {"question": "capital of peru\ud800", "answer": "\\frac{1}{2}"},
    ]
    (small / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = run.inside("eval", "q.jsonl", "--ctx", "512", "--max-tokens", "10", cwd=small)
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode()
    assert "no final answer    3 of 3\n" in said
    assert "cut                2 of 3 (use a larger --max-tokens or --ctx)\n" in said
    assert "did not fit        1 of 3 (use a larger --ctx)\n" in said


def test_two_at_a_time_do_not_mix(run: Run, small: Path) -> None:
    import fcntl

    run.inside("eval", "q.jsonl", "--limit", "1", cwd=small)
    with (small / "q.nano.results.jsonl").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = run.inside("eval", "q.jsonl", cwd=small)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"another dslocal eval is writing it" in done.stderr


def test_a_bar_on_a_terminal(run: Run, small: Path) -> None:
    with Screen(
        ["/bin/sh", "-c", f'cd "{small}" && exec "{BINARY}" eval q.jsonl'],
        run.env(),
        piped=["stdout"],
    ) as screen:
        assert screen.leave() == 0
        assert screen.process.stdout is not None
        assert b"pass@1" in screen.process.stdout.read()
        assert "nano on q.jsonl" in screen.text
        assert " of 4 answers" in screen.text


def test_samples_share_a_prefill_and_do_not_depend_on_what_came_before(
    context: LlamaContext,
) -> None:
    family = FAMILIES["r1"]
    settings = family.defaults.with_value("temperature", 3, "test").with_value(
        "max_tokens", 20, "test"
    )
    examination = Examination(context, family, settings, Thinking.FORCED, True, 7)
    first, second = Problem("What is 47 × 86?", "4042"), Problem("What is 47 × 87?", "4089")

    def drawn(place: int, problem: Problem, *numbers: int) -> list[tuple[int, str, int]]:
        return [
            (s.sample, s.reasoning, s.prompt_tokens - s.cached_tokens)
            for s in examination.samples(place, problem, numbers)
        ]

    whole = drawn(0, first, 0, 1, 2)
    assert [evaluated for _, _, evaluated in whole] == [1, 1, 1]
    assert len({text for _, text, _ in whole}) == 3
    drawn(1, second, 0)
    assert drawn(0, first, 1, 2) == whole[1:]


def test_scores() -> None:
    def sample(
        problem: int, number: int, final: str | None, correct: bool, reason: str = "stop"
    ) -> Sample:
        return Sample(problem, number, 0, final, correct, reason, 5, 4, 10, 5, 0.5, "", "")

    samples = [
        sample(0, 0, "1/2", True),
        sample(0, 1, "0.5", True),
        sample(0, 2, "2", False),
        sample(0, 3, "3", False),
        sample(1, 0, "7", True),
        sample(1, 1, "8", False),
        sample(1, 2, None, False, "length"),
        sample(1, 3, None, False),
    ]
    assert score(samples, ["\\frac12", "7"]) == Scores(0.375, 0.125, 0.5, 2, 1, 0, 80, 4.0)
    assert score([sample(0, 0, "1", True)], ["1"]) == Scores(1.0, None, 1.0, 0, 0, 0, 10, 0.5)
