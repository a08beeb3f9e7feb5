"""Proves that several models share a budget of memory: each request is answered by the model that
it names, models make room for others, and memory stays within the plan.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.server.serving import Serving, serving

import dslocal.convert as converter
from dslocal.home.paths import bundled

BUDGET = 300 << 20
# each takes 158 MiB of memory by its plan, so that the budget holds one
OPTIONS = (
    "--parallel",
    "4",
    "--ctx",
    "4096",
    "--no-math",
    "--memory",
    "300MiB",
    "--disk-cache",
    "0",
)
QUESTIONS = ("What is 31 + 57?", "What is the capital of Peru?", "What is 12 x 11?")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nano in another quantization: another model, with answers of its own."""
    out = tmp_path_factory.mktemp("several") / "small.gguf"
    source = converter.open_checkpoint(converter.FolderSource(bundled("nano")))
    plan = converter.plan_conversion(source, [converter.recipe_named("Q4_0")])
    converter.write_gguf(plan, [out])
    return out


@pytest.fixture(scope="module")
def both(first_home: Path, small: Path) -> Iterator[Serving]:
    with serving(first_home, *OPTIONS, models=["nano", str(small)]) as server:
        yield server


def counter(server: Serving, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", server.http.get("/metrics").text, re.MULTILINE)
    assert found, name
    return float(found[1])


def own_memory(server: Serving) -> int:
    """Return the bytes of memory that are the server's own: files that are mapped do not count."""
    status = Path(f"/proc/{server.worker}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+)", status)
    assert found
    return int(found[1]) << 10


def said(answer: dict[str, Any]) -> tuple[str, str]:
    return answer["system_fingerprint"], answer["choices"][0]["message"]["content"]


def test_requests_for_both_are_answered_by_their_own(both: Serving) -> None:
    alone = {
        (model, question): said(both.chat(question, model=model, max_tokens=60))
        for model in ("nano", "small")
        for question in QUESTIONS
    }
    assert len({fingerprint for fingerprint, _ in alone.values()}) == 2
    before = counter(both, "dslocal_model_evictions_total")
    found: dict[tuple[str, str, int], tuple[str, str]] = {}
    most = 0

    def ask(model: str, question: str, number: int) -> None:
        answer = both.chat(question, model=model, max_tokens=60)
        assert answer["model"] == model
        found[model, question, number] = said(answer)

    for number in range(3):
        threads = [
            threading.Thread(target=ask, args=(model, question, number))
            for question in QUESTIONS
            for model in ("small", "nano")
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, own_memory(both))
            threads[-1].join(0.05)
        for thread in threads:
            thread.join()
    assert found == {(*asked, number): alone[asked] for asked in alone for number in range(3)}
    assert counter(both, "dslocal_model_evictions_total") - before >= 3
    assert most <= BUDGET


def test_what_is_loaded_is_listed(both: Serving) -> None:
    both.chat(model="small", max_tokens=1)
    listed = {each["id"]: each for each in both.http.get("/v1/models").json()["data"]}
    assert {name: each["loaded"] for name, each in listed.items()} == {"nano": False, "small": True}
    assert all(each["context_length"] == 4096 for each in listed.values())
    assert counter(both, "dslocal_models_loaded") == 1


def test_a_request_without_a_name_is_for_the_first(both: Serving) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    assert both.post("/v1/chat/completions", body).json()["model"] == "nano"


def test_another_name_is_refused_with_those_that_are_served(both: Serving) -> None:
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}
    refused = both.post("/v1/chat/completions", body)
    assert refused.status_code == 404
    assert "'nano', 'small'" in refused.json()["error"]["message"]
