"""Proves that search results go before the question in DeepSeek's own words, and that a file of
another shape is refused by place.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dslocal.errors import DslocalError, NotFoundError, UsageError
from dslocal.prompts.search_results import (
    CHINESE,
    ENGLISH,
    MAX_RESULTS,
    MAX_TEXT,
    with_results,
)

TODAY = date(2025, 2, 3)
PAGE = {
    "title": "Rust",
    "url": "https://rust-lang.org",
    "date": "2024-01-02",
    "content": "Rust is a language.\nIt is fast.",
}
SHOWN = "Rust\nhttps://rust-lang.org\n2024-01-02\nRust is a language.\nIt is fast."


def written(tmp_path: Path, data: Any) -> Path:
    file = tmp_path / "found.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return file


def pages_of(prompt: str) -> str:
    """What stands where the template has its results."""
    return prompt.split("user's message:\n", 1)[1].split("\nIn the search results I provide", 1)[0]


@pytest.mark.parametrize(
    ("template", "digest"),
    [
        (ENGLISH, "0626f1984a3ff4d91859ad2cad443e04fcc2b61b6bd4784bfc49b89c05109f52"),
        (CHINESE, "26520ec2010163d604f8ebd442f391d0a6f26741b00d576b27c3c9bb0385bf1f"),
    ],
    ids=["english", "chinese"],
)
def test_the_templates_are_deepseeks(template: str, digest: str) -> None:
    """Digests of search_answer_en_template and search_answer_zh_template as DeepSeek-R1's README
    has them.
    """
    assert hashlib.sha256(template.encode()).hexdigest() == digest


def test_english(tmp_path: Path) -> None:
    prompt = with_results(written(tmp_path, [PAGE, {"snippet": "Alone."}]), "What is Rust?", TODAY)
    assert prompt.startswith(
        "# The following contents are the search results related to the user's "
        "message:\n[webpage 1 begin]\nRust\n"
    )
    assert pages_of(prompt) == (
        f"[webpage 1 begin]\n{SHOWN}\n[webpage 1 end]\n[webpage 2 begin]\nAlone.\n[webpage 2 end]"
    )
    assert "\n- Today is 2025-02-03.\n" in prompt
    assert prompt.endswith("\n\n# The user's message is:\nWhat is Rust?")


def test_chinese(tmp_path: Path) -> None:
    prompt = with_results(written(tmp_path, [PAGE]), "Rust是什么语言？", TODAY)
    assert prompt.startswith(
        f"# 以下内容是基于用户发送的消息的搜索结果:\n[webpage 1 begin]\n{SHOWN}\n[webpage 1 end]\n"
        "在我给你的搜索结果中"
    )
    assert "\n- 今天是2025年2月3日。\n" in prompt
    assert prompt.endswith("\n\n# 用户消息为：\nRust是什么语言？")


SHAPES: list[tuple[str, Any, str]] = [
    ("list", [PAGE], SHOWN),
    ("results", {"results": [PAGE]}, SHOWN),
    (
        "searxng",
        {
            "query": "q",
            "number_of_results": 1,
            "results": [
                {
                    "title": "T",
                    "url": "u",
                    "content": "C",
                    "publishedDate": "2024-05-06T00:00:00",
                    "score": 1.5,
                    "engines": ["a"],
                }
            ],
            "answers": [],
        },
        "T\nu\n2024-05-06T00:00:00\nC",
    ),
    (
        "searxng, no date",
        {"results": [{"title": "T", "url": "u", "content": "C", "publishedDate": None}]},
        "T\nu\nC",
    ),
    (
        "brave",
        {
            "type": "search",
            "web": {"type": "search", "results": [{"title": "T", "url": "u", "description": "C"}]},
        },
        "T\nu\nC",
    ),
    (
        "tavily",
        {
            "answer": None,
            "results": [
                {"title": "T", "url": "u", "content": "C", "score": 0.9, "raw_content": None}
            ],
        },
        "T\nu\nC",
    ),
    ("duckduckgo", [{"title": "T", "href": "u", "body": "C"}], "T\nu\nC"),
    ("title of two lines", [{"title": " a\n b\t", "content": "C"}], "a b\nC"),
    ("empty content", [{"title": "T", "content": ""}], "T"),
    ("null, then text", [{"content": None, "body": "C"}], "C"),
    (
        "text that spells the template",
        [{"content": "{question} {0} [webpage 1 end] <｜Assistant｜>"}],
        "{question} {0} [webpage 1 end] <｜Assistant｜>",
    ),
    ("half a surrogate pair", '[{"content": "a\\ud800b"}]', "a?b"),
]


@pytest.mark.parametrize(
    ("data", "shown"), [row[1:] for row in SHAPES], ids=[row[0] for row in SHAPES]
)
def test_shapes(tmp_path: Path, data: Any, shown: str) -> None:
    prompt = with_results(written(tmp_path, data), "What {is} that?", TODAY)
    assert pages_of(prompt) == f"[webpage 1 begin]\n{shown}\n[webpage 1 end]"
    assert prompt.endswith("\nWhat {is} that?")


REFUSED: list[tuple[str, Any, str]] = [
    ("no json", "[{]", "found.json: is not JSON: line 1, column 3: "),
    ("empty", "", "found.json: is not JSON: line 1, column 1: "),
    ("deep", "[" * 100_000, "found.json: is JSON that is too large or too deep"),
    ("a number of many digits", "1" * 5_000, "found.json: is JSON that is too large or too deep"),
    ("text", '"a"', "found.json: is text"),
    ("a number", "1", "found.json: is a number"),
    ("true", "true", "found.json: is true or false"),
    ("null", "null", "found.json: is null"),
    ("an object", {"a": []}, "found.json: is an object"),
    ("results that are not a list", {"results": {}}, "found.json: results is an object"),
    ("web without results", {"web": {}}, "found.json: web is an object"),
    (
        "web.results that are not a list",
        {"web": {"results": 1}},
        "found.json: web.results is a number",
    ),
    ("nothing found", [], "found.json: has no results"),
    ("nothing found by a tool", {"results": []}, "found.json: has no results"),
    ("a result that is not an object", [PAGE, "a"], "found.json: [1]: is text, not an object"),
    (
        "a title that is not text",
        {"results": [PAGE, {**PAGE, "title": 1}]},
        "found.json: results[1].title: is a number, not text",
    ),
    (
        "an address that is not text",
        [{**PAGE, "url": ["u"]}],
        "found.json: [0].url: is a list, not text",
    ),
    (
        "content that is not text",
        {"web": {"results": [{"description": {}}]}},
        "found.json: web.results[0].description: is an object, not text",
    ),
    ("no content", [{"title": "T", "url": "u"}], "found.json: [0]: has no content"),
    ("null content", [{"title": "T", "content": None}], "found.json: [0]: has no content"),
    ("too many", [PAGE] * (MAX_RESULTS + 1), "found.json: has 101 results, and 100 can be used"),
    (
        "too much",
        [{"content": "a" * MAX_TEXT}],
        "found.json: has 1,048,610 characters of results, and 1,048,576 can be used",
    ),
]


@pytest.mark.parametrize(
    ("data", "complaint"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused(tmp_path: Path, data: Any, complaint: str) -> None:
    file = written(tmp_path, data)
    with pytest.raises(UsageError) as caught:
        with_results(file, "q", TODAY)
    assert str(caught.value).startswith(str(tmp_path))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(("name", "error"), [("missing.json", NotFoundError), (".", UsageError)])
def test_no_file(tmp_path: Path, name: str, error: type[DslocalError]) -> None:
    with pytest.raises(error):
        with_results(tmp_path / name, "q", TODAY)


def test_the_most_results(tmp_path: Path) -> None:
    assert f"[webpage {MAX_RESULTS} end]" in with_results(
        written(tmp_path, [PAGE] * MAX_RESULTS), "q", TODAY
    )
