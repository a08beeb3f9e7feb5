"""Nothing that is asked for is lost silently: settings, options that exclude others, answers."""

from __future__ import annotations

import json

import pytest
from support.cli.running import Run

from dslocal.output import Turn

ENDS_AT_ONCE = ["--cold", "--seed", "2", "--logit-bias", "<｜end▁of▁sentence｜>=40"]
EMPTY = [*ENDS_AT_ONCE, "What is 47 × 86?"]
PAIRS = [
    (["ask", "--schema", "a", "--grammar", "b", "x"], "--schema and --grammar"),
    (["ask", "--schema", "a", "--final", "x"], "--schema and --final"),
    (["ask", "--grammar", "a", "--final", "x"], "--grammar and --final"),
    (["ask", "--final", "--no-math", "x"], "--final needs the boxed answer"),
    (["ask", "--vote", "--no-math", "x"], "--vote needs the boxed answer"),
    (["ask", "--think-budget", "5", "--no-think", "x"], "--think-budget and --no-think"),
    (["ask", "--logprobs", "2", "x"], "--logprobs needs --json"),
    (["ask", "-p", "a=b", "x"], "-p needs a template"),
    (["fim", "--logprobs", "2", "--prefix", "x"], "--logprobs needs --json"),
    (["fim", "a.py:1", "--prefix", "x"], "cannot be combined"),
    (["pull", "r1", "--gguf", "--convert"], "--gguf and --convert cannot be combined"),
    (
        ["pull", "r1:Q4_K_M", "--quant", "Q8_0"],
        "--quant Q8_0 contradicts r1:Q4_K_M, which names Q4_K_M",
    ),
    (
        ["pull", "o/n:Q4_K_M", "--quant", "Q8_0"],
        "--quant Q8_0 contradicts o/n:Q4_K_M, which names Q4_K_M",
    ),
    (["pull", "hf:o/n@v1", "--revision", "v2"], "--revision v2 contradicts hf:o/n@v1"),
    (
        ["pull", "nano", "--revision", "v2"],
        "--revision: 'nano' is not a model of the Hugging Face Hub",
    ),
    (["pull", "nano", "--convert"], "is on this machine already, so it is not downloaded"),
    (
        ["fit", "r1:Q4_K_M", "--quant", "Q8_0"],
        "--quant Q8_0 contradicts r1:Q4_K_M, which names Q4_K_M",
    ),
    (
        ["convert", "nano", "--mtp-only", "--no-mtp"],
        "--mtp-only, --dspark-only, --with-drafter and --no-mtp cannot be combined",
    ),
    (["convert", "nano", "--quant", "Q8_0", "--size", "5MB"], "cannot be combined"),
    (["convert", "nano", "--verify", "--stream"], "--verify reads the checkpoint again"),
    (["convert", "nano", "--stream"], "--stream: nano is on this machine already"),
    (["convert", "o/n:Q4_K_M"], "a checkpoint has no Q4_K_M"),
    (["import", "--name", "x"], "--name needs a file or model"),
    (["serve", "--quiet", "--log-prompts"], "--quiet and --log-prompts cannot be combined"),
]


@pytest.mark.parametrize(("args", "said"), PAIRS, ids=[" ".join(args) for args, _ in PAIRS])
def test_two_options_of_which_one_would_count(run: Run, args: list[str], said: str) -> None:
    done = run.inside(*args)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()


INEFFECTIVE = [
    (["--temperature", "0", "--top-p", "0.5"], "--top-p has no effect at temperature 0"),
    (["--temperature", "0", "--top-k", "5"], "--top-k has no effect at temperature 0"),
    (["--temperature", "0", "--min-p", "0.1"], "--min-p has no effect at temperature 0"),
    (["--think", "--think-budget", "9", "--max-tokens", "5"], "--think-budget 9 has no effect"),
    (["--temperature", "0", "-n", "2"], "at temperature 0 all answers are the same"),
]


@pytest.mark.parametrize(("args", "said"), INEFFECTIVE)
def test_what_has_no_effect_is_said(run: Run, args: list[str], said: str) -> None:
    done = run.inside("ask", *args, "--dry-run", "hello")
    assert done.returncode == 0
    assert said in done.stderr.decode()


VARIABLES = [
    ("DSLOCAL_TEMPRATURE", "did you mean DSLOCAL_TEMPERATURE?"),
    ("DSLOCAL_CONTEXT", ""),
    ("DSLOCAL_SOMETHING", "it has no effect"),
]


@pytest.mark.parametrize(("name", "said"), VARIABLES)
def test_a_variable_that_is_not_known_is_said(run: Run, name: str, said: str) -> None:
    done = run.inside("ask", "--dry-run", "hello", env={name: "1"})
    assert done.returncode == 0
    line = done.stderr.decode()
    assert f"{name}: unknown variable" in line
    assert said in line


@pytest.mark.parametrize("args", [["fit", "nano", "--json"], ["ask", "--dry-run", "--json", "x"]])
def test_the_context_that_is_set_holds_in_every_command(run: Run, args: list[str]) -> None:
    done = run.inside(*args, env={"DSLOCAL_CTX": "1024"})
    fields = json.loads(done.stdout)
    found = fields["plan"]["n_ctx"] if "plan" in fields else fields["settings"]["ctx"]["value"]
    assert found == 1024


# Ways to print an answer that is empty, and what stdout has.
PRINTED = [
    ([], b""),
    (["--final"], b""),
    (["-n", "2"], b"---\n"),
    (["--schema", "schema.json"], b""),
]


@pytest.mark.parametrize(("args", "out"), PRINTED)
def test_an_empty_answer_is_said(run: Run, args: list[str], out: bytes) -> None:
    (run.home / "schema.json").write_text('{"type": "object"}')
    done = run.inside("ask", *args, *EMPTY)
    if "--schema" not in args:  # a grammar may forbid the token that ends the answer
        assert (done.returncode, done.stdout) == (5, out)
        assert b"dslocal: no answer: " in done.stderr
    assert done.returncode != 0 or done.stdout.strip()


def test_an_empty_answer_has_its_reason_in_json(run: Run) -> None:
    done = run.inside("ask", "--json", *EMPTY)
    fields = json.loads(done.stdout)
    assert (done.returncode, fields["answer"], fields["finish_reason"]) == (5, "", "stop")
    assert "the model stopped" in fields["no_answer"]
    assert json.loads(run.inside("ask", "--json", "hello").stdout)["no_answer"] is None


def test_a_vote_says_how_many_are_empty(run: Run) -> None:
    done = run.inside("ask", "--vote", "-n", "3", *EMPTY)
    assert done.returncode == 6
    assert b"answers are empty: the model stopped" in done.stderr


def test_json_says_which_file_and_quantization_spoke(run: Run) -> None:
    fields = json.loads(run.inside("ask", "--json", "hello").stdout)
    assert (fields["model"], fields["quant"]) == ("nano", "Q8_0")
    assert fields["file"].endswith(".gguf")


def test_final_holds_for_several_answers(run: Run) -> None:
    done = run.inside("ask", "--final", "-n", "2", "--temperature", "0", "What is 2+2?")
    assert (done.returncode, done.stdout) == (0, b"4\n---\n4\n")


@pytest.mark.parametrize(
    ("text", "reasoning", "empty"),
    [("", "", True), (" \n", "so", True), ("4", "", False), ("", "so", True)],
)
def test_which_turns_are_empty(text: str, reasoning: str, empty: bool) -> None:
    turn = Turn(prompt_tokens=0, text=text, reasoning=reasoning)
    assert turn.no_answer is None  # it is not whole yet
    from dslocal.engine import FinishReason

    turn.finish_reason = FinishReason.STOP
    assert bool(turn.no_answer) is empty
    turn.finish_reason = FinishReason.LENGTH
    assert turn.no_answer is None
