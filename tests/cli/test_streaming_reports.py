"""Proves that ``ask``, ``bench`` and ``/stats`` say of streamed experts what was read, alike."""

from __future__ import annotations

import json
import re
from pathlib import Path

from support.cli.running import Run
from support.cli.streaming_fields import STREAMING_FIELDS

from dslocal.engine.streaming.expert_layout import read_layout
from dslocal.gguf.header import read_header
from dslocal.terminal.reports.speed_text import streaming_lines
from dslocal.types import StreamingUse

STREAMED = ("-m", "nano", "--stream-experts", "on", "--mtp", "off")
SAID = [
    r"each token needed [\d.]+ MB of experts, and read [\d.]+ MB",
    r"\d+% were in memory in time; each token waited \S+ (s|ms|µs) for the disk",
]
# of a model of 842.3 MB of experts a token, 12 tokens of which 10 % are missing and 9 % read ahead
USE = StreamingUse(
    tokens=12,
    needed_bytes=12 * 842_300_000,
    missing_bytes=12 * 84_230_000,
    ahead_bytes=12 * 79_000_000,
    waited_s=12 * 0.0769,
)


def needed_bytes(nano: Path) -> int:
    """Return the bytes of experts that a token of nano needs."""
    header, layers = read_header(nano), read_layout(nano).layers
    n_layers = header.of_arch("block_count") - header.of_arch("nextn_predict_layers", 0)
    used = header.of_arch("expert_used_count")
    return sum(
        used * tensor.expert_bytes
        for layer in layers
        if layer < n_layers
        for tensor in layers[layer]
    )


def test_json_counts_what_a_token_needs(run: Run, nano: Path) -> None:
    asked = run.inside("ask", *STREAMED, "--json", "What is 47 × 86?")
    found = json.loads(asked.stdout)["streaming"]
    assert list(found) == STREAMING_FIELDS
    assert found["needed_bytes_per_token"] == needed_bytes(nano)
    assert 0 <= found["hit_rate"] <= 1
    assert found["guessed"] >= found["guessed_right"]


def test_bench_says_what_stats_say(run: Run, nano: Path) -> None:
    quick = ("bench", *STREAMED, "--repeat", "1", "--tokens", "8", "--depths", "0")
    figures = json.loads(run.inside(*quick, "--json").stdout)["figures"]
    (decode,) = [figure for figure in figures if figure["what"] == "decode"]
    assert decode["streaming"]["needed_bytes_per_token"] == needed_bytes(nano)
    assert list(decode["streaming"]) == STREAMING_FIELDS
    lines = run.inside(*quick).stdout.decode().splitlines()
    (at,) = [n for n, line in enumerate(lines) if line.startswith("decode at 0")]
    for line, said in zip(lines[at + 1 : at + 3], SAID, strict=True):
        assert re.fullmatch(f"  {said}", line)
    assert max(map(len, lines)) <= 80


def test_lines_are_short_and_right() -> None:
    lines = streaming_lines(USE)
    assert lines == (
        "each token needed 842.3 MB of experts, and read 163.2 MB",
        "90% were in memory in time; each token waited 76.9 ms for the disk",
    )
    for line, said in zip(lines, SAID, strict=True):
        assert re.fullmatch(said, line)


def test_no_token_is_no_division() -> None:
    assert StreamingUse().as_json() == dict.fromkeys(STREAMING_FIELDS, 0) | {"hit_rate": 1.0}
