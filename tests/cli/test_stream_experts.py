"""Proves that ``--stream-experts`` reaches the engine from each command, and is reported."""

from __future__ import annotations

import json

import pytest
from support.cli.running import Run
from support.cli.streaming_fields import STREAMING_FIELDS

GREEDY = ["--temperature", "0", "--no-math", "--cold", "--max-tokens", "24", "--mtp", "off"]


def test_the_answer_is_the_same_and_says_what_was_read(run: Run) -> None:
    asked = ["ask", *GREEDY, "--json", "What is 17 + 25?"]
    plain = json.loads(run.inside(*asked).stdout)
    streamed = json.loads(run.inside(*asked, "--stream-experts", "on").stdout)
    assert streamed["answer"] == plain["answer"]
    assert streamed["usage"] == plain["usage"]
    assert "streaming" not in plain
    assert list(streamed["streaming"]) == STREAMING_FIELDS
    assert streamed["streaming"]["needed_bytes_per_token"] > 0
    assert 0 <= streamed["streaming"]["hit_rate"] <= 1


def test_the_environment_decides_too(run: Run) -> None:
    asked = run.inside("ask", *GREEDY, "--json", "hi", env={"DSLOCAL_STREAM_EXPERTS": "on"})
    assert "streaming" in json.loads(asked.stdout)


def test_bench_measures_what_is_read(run: Run) -> None:
    measured = run.inside(
        *("bench", "--json", "--tokens", "8", "--repeat", "1", "--depths", "0"),
        *("--mtp", "off", "--ctx", "1024", "--stream-experts", "on"),
    )
    fields = json.loads(measured.stdout)
    assert fields["settings"]["stream_experts"] is True
    decoded = [figure for figure in fields["figures"] if figure["what"] == "decode"]
    assert [list(figure["streaming"]) for figure in decoded] == [STREAMING_FIELDS]


@pytest.mark.parametrize("command", ["ask", "serve", "bench", "fit"])
def test_an_unknown_mode_is_refused(run: Run, command: str) -> None:
    named = ["nano"] if command in ("bench", "fit") else []
    words = {"ask": ["hi"], "serve": ["--port", "0"]}.get(command, [])
    refused = run.inside(command, *named, *words, "--stream-experts", "always")
    assert refused.returncode == 2
    assert b"--stream-experts: 'always' is not known (auto, on, off)" in refused.stderr
