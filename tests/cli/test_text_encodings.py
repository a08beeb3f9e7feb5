"""Prove that every text that a user writes may begin with a byte order mark, as Windows editors
write it, and that UTF-16 is named for what it is where it cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import Run

from dslocal import output
from dslocal.api.conversation import read_saved
from dslocal.catalog.registry import load_registry
from dslocal.catalog.registry.quick_names import quick_model_names
from dslocal.convert import load_recipe
from dslocal.errors import DslocalError
from dslocal.evaluation.problems import read_problems
from dslocal.files import parse_json_object, read_json_object, utf8_text
from dslocal.home.config import read_config
from dslocal.prompts import read_text

MARK = b"\xef\xbb\xbf"
ENTRY = """models:
  mine:
    title: Mine
    repository: org/Mine
    licence: MIT
    family: r1
    quant: Q4_K_M
    shape: qwen2-7b
"""


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and the folder of its settings."""
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    (tmp_path / "config").mkdir()
    return tmp_path / "config"


def written(folder: Path, name: str, text: str, encoding: str) -> Path:
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def _config(folder: Path, encoding: str) -> Any:
    written(folder, "config.toml", 'model = "x"\r\n', encoding)
    return dict(read_config())


def _registry(folder: Path, encoding: str) -> Any:
    written(folder, "models.yaml", ENTRY, encoding)
    return load_registry()["mine"].title, "mine" in quick_model_names()


def _recipe(folder: Path, encoding: str) -> Any:
    recipe = load_recipe(written(folder, "x.yaml", '".*": Q8_0\n', encoding))
    return [rule.pattern.pattern for rule in recipe.rules]


def _problems(folder: Path, encoding: str) -> Any:
    line = '{"question": "1+1?", "answer": "2"}\n'
    return read_problems(written(folder, "q.jsonl", line * 2, encoding))[0]


def _object(folder: Path, encoding: str) -> Any:
    return read_json_object(written(folder, "x.json", '{"a": 1}', encoding), max_bytes=100)


def _schema(folder: Path, encoding: str) -> Any:
    return output.read_schema(written(folder, "s.json", '{"type": "string"}', encoding)).schema


def _grammar(folder: Path, encoding: str) -> Any:
    made = output.read_grammar(written(folder, "x.gbnf", 'root ::= "a"\n', encoding))
    return made.grammar


def _attached(folder: Path, encoding: str) -> Any:
    return read_text(written(folder, "x.txt", "text\r\n", encoding))


READERS: dict[str, Callable[[Path, str], Any]] = {
    "config.toml": _config,
    "models.yaml": _registry,
    "a recipe": _recipe,
    "problems": _problems,
    "a JSON object": _object,
    "a schema": _schema,
    "a grammar": _grammar,
    "an attached file": _attached,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_mark_is_left_out(own_home: Path, read: Callable[[Path, str], Any]) -> None:
    plain = read(own_home, "utf-8")
    assert read(own_home, "utf-8-sig") == plain


STRICT = ("config.toml", "models.yaml", "a recipe", "problems", "a JSON object")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("name", STRICT)
def test_wide_text_is_refused(own_home: Path, name: str, encoding: str) -> None:
    with pytest.raises((DslocalError, ValueError), match=r"UTF-|not UTF-8|is not JSON"):
        READERS[name](own_home, encoding)


@pytest.mark.parametrize("name", ["config.toml", "models.yaml", "a recipe"])
def test_other_text_is_refused_in_words_of_our_own(
    own_home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "written", _damaged)
    with pytest.raises(DslocalError, match="line 2 is not UTF-8 text: save it as UTF-8"):
        READERS[name](own_home, "utf-8")


def _damaged(folder: Path, name: str, text: str, encoding: str) -> Path:
    (folder / name).write_bytes(b"# \n# caf\xe9\n" + text.encode(encoding))
    return folder / name


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (MARK, ""),
        (MARK + b"x", "x"),
        (MARK + MARK, "\ufeff"),
        ("é".encode(), "é"),
        (b"abcd\0", "abcd\0"),
    ],
)
def test_text(data: bytes, text: str) -> None:
    assert utf8_text(data) == text


def test_json_in_bytes_and_in_text() -> None:
    assert parse_json_object(MARK + b'{"a": 1}') == parse_json_object('{"a": 1}')


def test_standard_input(run: Run) -> None:
    shown = [run("ask", "--dry-run", stdin=mark + b"What is 2+2?").stdout for mark in (b"", MARK)]
    assert shown[0] == shown[1] != b""


def test_a_saved_chat(tmp_path: Path) -> None:
    message = {"role": "user", "content": "hi"}
    chat = {"format": 1, "model": "nano", "system": "", "messages": [message]}
    saved = [
        read_saved(written(tmp_path, encoding, json.dumps(chat), encoding))
        for encoding in ("utf-8", "utf-8-sig")
    ]
    assert saved[0] == saved[1]
    assert saved[0].messages[0].content == "hi"
