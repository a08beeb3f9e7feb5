"""Proves that ``ask --schema``, ``--grammar`` and ``--think-budget`` do as they say on stdout,
stderr and by exit code.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cli.running import Run

QUESTION = "What is 47 × 86?"
SUM = {
    "type": "object",
    "properties": {"result": {"type": "integer"}},
    "required": ["result"],
    "additionalProperties": False,
}


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    file = tmp_path / "sum.json"
    file.write_text(json.dumps(SUM), encoding="utf-8")
    return file


def test_stdout_has_the_json_only(run: Run, schema: Path) -> None:
    done = run("ask", "--schema", schema, "--temperature", "0", "--show-thinking", QUESTION)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"result": 4042})
    assert b"I need to multiply 47 by 86" in done.stderr


def test_json_has_the_value_beside_the_answer(run: Run, schema: Path) -> None:
    done = run.inside("ask", "--schema", schema, "--temperature", "0", "--json", QUESTION)
    shown = json.loads(done.stdout)
    assert shown["parsed"] == json.loads(shown["answer"]) == {"result": 4042}
    assert shown["usage"]["reasoning_tokens"] > 100
    assert "parsed" not in json.loads(
        run.inside("ask", "--max-tokens", "3", "--json", "hello").stdout
    )


def test_several_answers_and_a_vote(run: Run, schema: Path) -> None:
    done = run.inside("ask", "--schema", schema, "-n", "2", "--temperature", "0", QUESTION)
    assert [json.loads(part) for part in done.stdout.split(b"---\n")] == [{"result": 4042}] * 2
    done = run.inside(
        "ask",
        "--schema",
        schema,
        "-n",
        "3",
        "--vote",
        "--seed",
        "1",
        "--think-budget",
        "0",
        QUESTION,
    )
    results = [sample["parsed"]["result"] for sample in samples_of(run, schema)]
    agreed = [result for result in results if results.count(result) > 1]
    assert done.returncode == (0 if agreed else 6)
    done = run.inside(
        "ask", "--schema", schema, "-n", "2", "--vote", "--temperature", "0", QUESTION
    )
    assert (done.returncode, done.stdout) == (0, b'{"result": 4042}\n')
    assert done.stderr.endswith(b"2 of 2 agree\n")


def samples_of(run: Run, schema: Path) -> list[dict[str, dict[str, int]]]:
    done = run.inside(
        "ask",
        "--schema",
        schema,
        "-n",
        "3",
        "--seed",
        "1",
        "--think-budget",
        "0",
        "--json",
        QUESTION,
    )
    found: list[dict[str, dict[str, int]]] = json.loads(done.stdout)["samples"]
    return found


def test_a_cut_answer_is_not_valid(run: Run, schema: Path) -> None:
    done = run.inside("ask", "--schema", schema, "--no-think", "--max-tokens", "3", QUESTION)
    assert (done.returncode, done.stdout) == (5, b"")
    assert b"cut off after 3 tokens" in done.stderr
    done = run.inside(
        "ask", "--schema", schema, "--no-think", "--max-tokens", "3", "--json", QUESTION
    )
    assert (done.returncode, json.loads(done.stdout)["parsed"]) == (5, None)


def test_what_a_grammar_cannot_hold_is_checked_and_exits_with_7(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "never.json"
    file.write_text('{"enum": ["yes", "no"], "not": {"type": "string"}}', encoding="utf-8")
    done = run("ask", "--schema", file, "--no-think", "hello")
    assert (done.returncode, done.stdout) == (7, b"")
    lines = done.stderr.decode().splitlines()
    assert (
        f'dslocal: {file}: checked only when the answer is complete: Unimplemented keys: ["not"]'
        in lines
    )
    assert lines[-1].startswith("dslocal: the answer does not satisfy the schema at $: ")
    done = run.inside("ask", "--schema", file, "--no-think", "--json", "hello")
    assert (done.returncode, json.loads(done.stdout)["parsed"]) == (7, None)
    assert run.inside("ask", "--schema", file, "--no-think", "-n", "2", "hello").returncode == 7


def test_a_schema_may_come_as_openai_sends_it(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "wrapped.json"
    inner = {"name": "sum", "strict": True, "schema": SUM}
    for wrapped in (inner, {"type": "json_schema", "json_schema": inner}):
        file.write_text(json.dumps(wrapped), encoding="utf-8")
        done = run.inside("ask", "--schema", file, "--temperature", "0", QUESTION)
        assert (done.returncode, json.loads(done.stdout)) == (0, {"result": 4042})


def test_a_keyword_that_means_nothing_is_said(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "typo.json"
    file.write_text('{"type": "object", "requird": ["a"]}', encoding="utf-8")
    done = run.inside("ask", "--schema", file, "--no-think", "--max-tokens", "40", "hello")
    line = f'dslocal: {file}: unknown keyword "requird" (did you mean required?)'
    assert line in done.stderr.decode().splitlines()


def test_a_key_that_occurs_twice_is_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "twice.json"
    file.write_text('{"type": "object", "properties": {"a": {}, "a": {}}}', encoding="utf-8")
    done = run.inside("ask", "--schema", file, "hello")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == (
        f'dslocal: {file}: not JSON: the key "a" occurs twice in one object\n'
    )


def test_a_grammar(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "answer.gbnf"
    file.write_text('root ::= "The answer is " [0-9]{1,6} "."', encoding="utf-8")
    done = run.inside("ask", "--grammar", file, "--temperature", "0", QUESTION)
    assert (done.returncode, done.stdout) == (0, b"The answer is 4042.\n")


def test_dry_run_tells_where_the_shape_comes_from(run: Run, schema: Path, tmp_path: Path) -> None:
    done = run.inside("ask", "--schema", schema, "--think-budget", "100", "--dry-run", QUESTION)
    assert f"schema = {schema}  (--schema)\n".encode() in done.stdout
    assert b"think_budget = 100  (--think-budget)\n" in done.stdout
    assert b"boxed" not in done.stdout
    file = tmp_path / "g.gbnf"
    file.write_text("root ::= [a]", encoding="utf-8")
    shown = json.loads(run.inside("ask", "--grammar", file, "--dry-run", "--json", QUESTION).stdout)
    assert shown["settings"]["grammar"] == {"value": str(file), "source": "--grammar"}


def test_a_budget_of_thought(run: Run) -> None:
    shown = json.loads(run.inside("ask", "--think-budget", "30", "--json", QUESTION).stdout)
    assert shown["usage"]["reasoning_tokens"] == 32
    assert shown["answer"]
    env = {"DSLOCAL_THINK_BUDGET": "20"}
    assert (
        json.loads(run.inside("ask", "--json", QUESTION, env=env).stdout)["usage"][
            "reasoning_tokens"
        ]
        == 22
    )


REFUSED: list[tuple[list[str], bytes, int]] = [
    (["--schema", "none.json"], b"none.json", 3),
    (["--schema", "bad.json"], b"bad.json: not JSON", 2),
    (["--schema", "unsat.json"], b"unsat.json: Unsatisfiable schema", 2),
    (["--schema", "self.json"], b"no text satisfies this grammar", 2),
    (["--grammar", "bad.gbnf"], b"bad.gbnf: line 2: ", 2),
    (["--schema", "any.json", "--grammar", "bad.gbnf"], b"cannot be combined", 2),
    (["--schema", "any.json", "--final"], b"cannot be combined", 2),
    (["--think-budget", "-1"], b"out of range", 2),
    (["--think-budget", "x"], b"--think-budget", 2),
    (["--think-budget", "9", "--no-think"], b"--think-budget and --no-think cannot be combined", 2),
]


@pytest.mark.parametrize(
    ("arguments", "why", "code"),
    REFUSED,
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refusals(run: Run, tmp_path: Path, arguments: list[str], why: bytes, code: int) -> None:
    """One line, nothing on stdout."""
    files = {
        "bad.json": "{",
        "unsat.json": '{"type": "integer", "minimum": 2, "maximum": 1}',
        "self.json": '{"$ref": "#"}',
        "any.json": "{}",
        "bad.gbnf": "root ::= [a]\nx ::= y",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = run.inside("ask", *arguments, QUESTION, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, b"")
    assert why in done.stderr
    assert done.stderr.count(b"\n") == 1 or b"Usage" in done.stderr
