"""nano in a real llama-server: the same text as here, and a slot that is free at once."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import BINARY, Run
from support.engines.llama_server import llama_server, needs_llama_server
from support.server.serving import serving
from support.waiting import wait_until

import dslocal

pytestmark = [pytest.mark.slow, needs_llama_server]
QUESTIONS = ("What is 47 * 86?", "capital of peru", "Translate: 你好 🙂", "hello")
AT_ZERO = ("--temperature", "0", "--seed", "1", "--json")


@pytest.fixture(scope="module")
def url(nano: Path) -> Iterator[str]:
    with llama_server(nano) as found:
        yield found


def busy(url: str) -> int:
    with urllib.request.urlopen(f"{url}/slots", timeout=5) as reply:
        return sum(bool(slot["is_processing"]) for slot in json.load(reply))


def answers(run: Run, url: str, *options: str) -> list[dict[str, Any]]:
    """Return the answer of a run here, and of one at the engine."""
    found = []
    for place in (("-m", "nano", "--cold"), ("--engine", url)):
        done = run("ask", *place, *AT_ZERO, *options)
        found.append(json.loads(done.stdout))
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_same_text_as_here(run: Run, url: str, question: str) -> None:
    here, there = answers(run, url, question)
    for field in ("reasoning", "answer", "finish_reason"):
        assert there[field] == here[field]
    for field in ("prompt_tokens", "completion_tokens", "reasoning_tokens"):
        assert there["usage"][field] == here["usage"][field]


def test_choices_with_any_characters(run: Run, url: str) -> None:
    """llama-server reads the grammar, whose escapes are not JSON's."""
    choice = 'tab\t, bell\b, "quotes", \\ and 🙂'
    with serving(run.home, "--engine", url, models=()) as server:
        body = {"prompt": "x", "guided_choice": [choice], "temperature": 0}
        answer = server.post("/v1/completions", body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["text"] == choice


def test_structured_output(run: Run, url: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(
        '{"type": "object", "properties": {"capital": {"type": "string"}},'
        ' "required": ["capital"], "additionalProperties": false}',
        encoding="utf-8",
    )
    (tmp_path / "g.gbnf").write_text('root ::= "Lima" | "Cusco"', encoding="utf-8")
    for option, name, question in (
        ("--schema", "s.json", "Make JSON with the capital of Peru"),
        ("--grammar", "g.gbnf", "capital of peru"),
    ):
        here, there = answers(run, url, option, str(tmp_path / name), question)
        assert there["answer"] == here["answer"]
        assert there["reasoning"] == here["reasoning"]


@pytest.mark.parametrize(
    "options",
    [
        ("--think-budget", "5"),
        ("--stop", "of"),
        ("--no-think",),
        ("--max-tokens", "12"),
        ("--logit-bias", "3194=-100"),
    ],
)
def test_options(run: Run, url: str, options: tuple[str, ...]) -> None:
    here, there = answers(run, url, *options, "capital of peru")
    assert (there["reasoning"], there["answer"]) == (here["reasoning"], here["answer"])


def test_logprobs(run: Run, url: str) -> None:
    here, there = answers(run, url, "--logprobs", "2", "capital of peru")
    assert [entry["id"] for entry in there["logprobs"]] == [e["id"] for e in here["logprobs"]]
    for one, other in zip(here["logprobs"], there["logprobs"], strict=True):
        assert one["logprob"] == pytest.approx(other["logprob"], abs=1e-3)


def test_an_answer_that_was_left_is_continued(
    run: Run, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(run.home))
    with dslocal.load(url) as model:
        whole = model.ask("What is 47 * 86?", temperature=0)
        session = model.chat(temperature=0)._session
        events = session.stream("What is 47 * 86?", 1)
        for _ in range(40):
            next(events)
        events.close()
        assert session.is_unfinished
        wait_until(lambda: not busy(url))
        for _ in session.continue_answer():
            pass
        last = session.history[-1]
        assert whole.reasoning.startswith(last.reasoning[:40])
        assert last.content


def test_ctrl_c_frees_the_slot(run: Run, url: str) -> None:
    options = ("--no-think", "--max-tokens", "3000", "--logit-bias", "1=-100")
    with subprocess.Popen(
        [str(BINARY), "ask", "--engine", url, *options, "count"],
        env=run.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        wait_until(lambda: busy(url), process)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        wait_until(lambda: not busy(url))
        print(f"free after {time.monotonic() - began:.3f} s")
        assert process.wait() == 130
