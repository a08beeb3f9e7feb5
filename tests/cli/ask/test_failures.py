"""Whatever fails in the middle of an answer, a script gets what came until then, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.cli.running import Run, python
from support.engines.fake_engine import FakeEngine, Tokens

from dslocal.engine import LlamaModel

LOST = "the connection was lost after 3 tokens"
OPTIONS = {
    "one": (),
    "several": ("-n", "3"),
    "vote": ("-n", "3", "--vote"),
}
# In the fourth token of an answer, llama.cpp gives up, or reports an error.
FAILING = """
import itertools, sys
from dslocal.cli import supervisor
from dslocal.cli.main import main

continue_in_child = supervisor.continue_in_child

def make_failing(*args, **more):
    continue_in_child(*args, **more)
    from dslocal.engine.generate import Generation  # loads llama.cpp, after which nothing forks
    whole = Generation.__iter__

    def failing(self):
        yield from itertools.islice(whole(self), 3)
        {failure}

    Generation.__iter__ = failing

supervisor.continue_in_child = make_failing
sys.argv = ["dslocal", *sys.argv[1:]]
main()
"""
ABORT = (
    "from dslocal.gguf import libraries; "
    "libraries.require()._lib.ggml_abort(b'/x/ggml.cpp', 7, b'no more')"
)
ERROR = "from dslocal.errors import EngineError; raise EngineError('no more')"
LOCAL = {
    "llama.cpp gives up": (ABORT, "llama.cpp aborted: ggml.cpp:7: no more"),
    "llama.cpp reports an error": (ERROR, "no more"),
}
QUESTION = ("--cold", "--no-think", "--temperature", "0", "Count from one to ten.")


@pytest.fixture
def cut(model: LlamaModel) -> Iterator[FakeEngine]:
    """An engine whose answers all end after "one two"."""
    ids = [model.special_id("</think>") or 0, *model.encode("one two three four")]
    with FakeEngine(model, replies=[Tokens(ids, cut_after=3)]) as fake:
        yield fake


def check_failed(sample: dict[str, Any], reason: str) -> None:
    assert sample["finish_reason"] == "interrupted"
    assert reason in sample["error"]
    assert sample["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("form", OPTIONS)
def test_an_engine_that_is_lost(run: Run, cut: FakeEngine, form: str) -> None:
    done = run("ask", "--engine", cut.url, "--json", *OPTIONS[form], "count")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert LOST in found["error"]
    assert LOST in done.stderr.decode()
    samples = [found] if form == "one" else found["samples"]
    assert [sample["answer"] for sample in samples] == ["one two"]
    check_failed(samples[0], LOST)
    if form == "vote":
        assert (found["answer"], found["vote"]) == (None, None)


def test_answers_before_the_one_that_fails_are_whole(
    run: Run, cut: FakeEngine, model: LlamaModel
) -> None:
    whole = [model.special_id("</think>") or 0, *model.encode("Lima"), 1]
    cut.replies.insert(0, Tokens(whole))
    done = run("ask", "--engine", cut.url, "--json", "-n", "3", "count")
    found = json.loads(done.stdout)
    first, second = found["samples"]
    assert (first["answer"], first["finish_reason"]) == ("Lima", "stop")
    assert "error" not in first
    check_failed(second, LOST)
    assert found["error"] == second["error"]


def test_a_gap_that_is_filled_in_part(run: Run, cut: FakeEngine, model: LlamaModel) -> None:
    cut.replies = [Tokens(model.encode("one two three four"), cut_after=3)]
    options = ("--prefix", "def add(a, b):\n    return ", "--suffix", "\n")
    done = run("fim", "--engine", cut.url, "--json", *options)
    assert done.returncode == 1
    check_failed(json.loads(done.stdout), LOST)


@pytest.mark.parametrize("form", OPTIONS)
@pytest.mark.parametrize("name", LOCAL)
def test_llama_cpp(run: Run, name: str, form: str) -> None:
    failure, reason = LOCAL[name]
    program = FAILING.format(failure=failure)
    options = (*OPTIONS[form], "--logprobs", "0", *QUESTION)
    done = python(program, "ask", "--json", *options, env={"DSLOCAL_HOME": str(run.home)})
    assert done.returncode == 1, done.stderr
    assert reason in done.stderr.splitlines()[-1]
    found = json.loads(done.stdout)
    sample = found if form == "one" else found["samples"][0]
    check_failed(sample, reason)
    assert found["error"] == sample["error"]
    assert len(sample["logprobs"]) == 3


@pytest.mark.parametrize("name", LOCAL)
def test_text_that_came_is_printed(run: Run, name: str) -> None:
    """A pipe gets what a terminal shows, and the end of its line."""
    program = FAILING.format(failure=LOCAL[name][0])
    done = python(program, "ask", *QUESTION, env={"DSLOCAL_HOME": str(run.home)})
    assert done.returncode == 1
    assert done.stdout.strip()
    assert done.stdout.endswith("\n")


@pytest.mark.parametrize("name", LOCAL)
def test_a_gap_of_llama_cpp(run: Run, name: str) -> None:
    program = FAILING.format(failure=LOCAL[name][0])
    options = ("--json", "--prefix", "def add(a, b):\n    return ", "--suffix", "\n")
    done = python(program, "fim", *options, env={"DSLOCAL_HOME": str(run.home)})
    assert done.returncode == 1
    check_failed(json.loads(done.stdout), LOCAL[name][1])
