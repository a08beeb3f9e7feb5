"""Read the problems of an evaluation: questions with known answers, from a JSON-lines file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from dslocal.errors import NotFoundError, UsageError
from dslocal.files import utf8_text

MAX_LINE = 1 << 20  # bytes
GSM8K = "####"  # in an answer of that data set, the answer proper stands behind it
HINT = '{"question": "What is 1 + 1?", "answer": "2"}'


class _Numeral(str):
    """A number of a JSON file, as it is written there."""

    __slots__ = ()


@dataclass(frozen=True)
class Problem:
    """A question and its right answer."""

    question: str
    answer: str


def read_problems(path: Path) -> tuple[list[Problem], str]:
    """Return the problems of a JSON-lines file, and the SHA-256 of its content.

    Raises:
        NotFoundError: If the file does not exist.
        UsageError: If it is not as it must be; it names the line.
    """
    if not path.exists():
        raise NotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise UsageError(
            f"{path}: is not a file",
            hint="give a file with one JSON object per line, each with question and answer",
        )
    problems = []
    digest = hashlib.sha256()
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            digest.update(line)
            if len(line) > MAX_LINE:
                _refuse(path, number, f"is longer than {MAX_LINE:,} bytes")
            if line.strip(b" \t\r\n\xef\xbb\xbf"):
                problems.append(_problem(path, number, line))
    if not problems:
        raise UsageError(
            f"{path}: has no questions", hint=f"write one JSON object per line, such as {HINT}"
        )
    return problems, digest.hexdigest()


def _problem(path: Path, number: int, line: bytes) -> Problem:
    fields = _parse(path, number, line)
    if not isinstance(fields, dict):
        _refuse(path, number, "is not a JSON object")
    for name in ("question", "answer"):
        if name not in fields:
            _refuse(path, number, f"has no {name}")
    question = fields["question"]
    answer = fields["answer"]
    if not isinstance(question, str) or isinstance(question, _Numeral):
        _refuse(path, number, "its question is not text")
    if not isinstance(answer, str) or answer in ("NaN", "Infinity", "-Infinity"):
        _refuse(path, number, "its answer is neither text nor a number")
    problem = Problem(_text(question), _text(answer.rpartition(GSM8K)[2]))
    if not problem.question:
        _refuse(path, number, "its question is empty")
    if not problem.answer:
        _refuse(path, number, "its answer is empty")
    return problem


def _parse(path: Path, number: int, line: bytes) -> Any:
    """Return what a line of JSON spells, its numbers as they are written."""
    try:
        return json.loads(
            utf8_text(line),
            parse_int=_Numeral,
            parse_float=_Numeral,
            parse_constant=_Numeral,
        )
    except UnicodeError:
        _refuse(path, number, "is not UTF-8 text")
    except ValueError as e:
        _refuse(path, number, f"is not JSON: {getattr(e, 'msg', e)}")
    except RecursionError:
        _refuse(path, number, "is nested too deep")


def _text(value: str) -> str:
    """Return ``value`` without lone surrogates, which JSON can spell and UTF-8 cannot."""
    return value.encode("utf-8", "replace").decode("utf-8").strip()


def _refuse(path: Path, line: int, what: str) -> NoReturn:
    raise UsageError(f"{path}: line {line} {what}", hint=f"such as {HINT}")
