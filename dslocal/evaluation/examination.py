"""An evaluation: problems with known answers, samples of a model's answers to each, and what they
add up to.

Every sample has a seed of its own, from the evaluation's seed, the problem's place and the
sample's, and is drawn from a context in the same state: the prompt is evaluated afresh for each
problem and kept for its samples. So a run that was resumed equals one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dslocal.chat.session import Session
from dslocal.errors import ContextOverflowError, NotFoundError, UsageError
from dslocal.prompts.compose import compose_question
from dslocal.prompts.messages import Thinking, encode

from .equivalence import is_equivalent, vote
from .final_answer import final_answer

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext
    from dslocal.prompts.families import Family
    from dslocal.prompts.settings import Settings

MAX_LINE = 1 << 20  # bytes
GSM8K = "####"  # what stands behind it in an answer of that dataset is the answer proper
NO_ROOM = "no room"  # the finish reason of a sample whose prompt does not fit


class _Numeral(str):
    """A number of a JSON file, as it is written there."""

    __slots__ = ()


@dataclass(frozen=True)
class Problem:
    question: str
    answer: str


@dataclass(frozen=True)
class Sample:
    """One answer. ``problem`` and ``sample`` count from 0; ``final`` is None when it came to no
    answer.
    """

    problem: int
    sample: int
    seed: int
    final: str | None
    correct: bool
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    tokens: int
    reasoning_tokens: int
    decode_s: float
    answer: str
    reasoning: str


@dataclass(frozen=True)
class Scores:
    """``pass_at_1`` is the mean over problems of the share of right samples, ``stderr`` that mean's
    standard error over problems.
    """

    pass_at_1: float
    stderr: float | None
    consensus: float
    no_answer: int
    cut: int
    no_room: int
    tokens: int
    decode_s: float


@dataclass(frozen=True)
class Examination:
    """Asks problems in one context. ``math`` says whether the makers' directive on mathematics is
    added.
    """

    context: LlamaContext
    family: Family
    settings: Settings
    thinking: Thinking
    math: bool
    seed: int

    def samples(self, place: int, problem: Problem, numbers: Iterable[int]) -> Iterator[Sample]:
        """Draws the samples of ``numbers`` from the problem at ``place``. Raises KeyboardInterrupt
        on Ctrl-C.
        """
        session = self._session()
        text = compose_question(self.family, problem.question, math=self.math).text
        self._keep(encode(session.prompt(text), self.context.model))
        for number in numbers:
            yield self._sample(text, problem.answer, place, number)

    def _session(self) -> Session:
        return Session(self.context, self.family, self.settings, thinking=self.thinking)

    def _keep(self, ids: Sequence[int]) -> None:
        """Evaluates a prompt from its first token on, whatever the context held: sums depend on
        what is evaluated together.
        """
        from dslocal.engine import Generation, Sampler

        if len(ids) < self.context.n_ctx:
            for prompt in (ids[:1], ids):
                for _ in Generation(self.context, prompt, Sampler(0, 1, 0), max_tokens=1):
                    pass

    def _sample(self, text: str, expected: str, place: int, number: int) -> Sample:
        session, seed = self._session(), seed_of(self.seed, place, number)
        try:
            for _ in session.stream(text, seed):
                pass
        except ContextOverflowError:
            return Sample(place, number, seed, None, False, NO_ROOM, 0, 0, 0, 0, 0.0, "", "")
        turn = session.turn
        if turn is None or turn.finish_reason is None or turn.timings is None:
            raise RuntimeError("an answer ended without an end")
        final = final_answer(turn.text)
        return Sample(
            place,
            number,
            seed,
            final,
            final is not None and is_equivalent(final, expected),
            turn.finish_reason.value,
            turn.prompt_tokens,
            turn.cached_tokens,
            turn.completion_tokens,
            turn.reasoning_tokens,
            round(turn.timings.decode, 6),
            turn.text,
            turn.reasoning,
        )


def seed_of(seed: int, problem: int, sample: int) -> int:
    """The seed of one sample, below 2³²; ``dslocal ask --seed`` takes it."""
    return int.from_bytes(
        hashlib.sha256(f"{seed} {problem} {sample}".encode()).digest()[:4], "little"
    )


def read_problems(path: Path) -> tuple[list[Problem], str]:
    """The problems of a JSON-lines file, and its SHA-256. Raises NotFoundError, and UsageError
    naming the line.
    """
    if not path.exists():
        raise NotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise UsageError(
            f"{path}: is no file",
            hint="a file with one JSON object a line, each with question and answer",
        )
    problems, digest = [], hashlib.sha256()
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
            f"{path}: has no questions",
            hint='one JSON object a line: {"question": "What is 1 + 1?", "answer": "2"}',
        )
    return problems, digest.hexdigest()


def score(samples: Sequence[Sample], expected: Sequence[str]) -> Scores:
    """What ``samples`` of all problems add up to. ``expected`` are the right answers."""
    by_problem: list[list[Sample]] = [[] for _ in expected]
    for sample in samples:
        by_problem[sample.problem].append(sample)
    means = [statistics.fmean(sample.correct for sample in drawn) for drawn in by_problem]
    agreed = [vote([sample.final for sample in drawn]).answer for drawn in by_problem]
    right = sum(
        answer is not None and is_equivalent(answer, wanted)
        for answer, wanted in zip(agreed, expected, strict=True)
    )
    return Scores(
        pass_at_1=statistics.fmean(means),
        stderr=statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else None,
        consensus=right / len(expected),
        no_answer=sum(sample.final is None for sample in samples),
        cut=sum(sample.finish_reason == "length" for sample in samples),
        no_room=sum(sample.finish_reason == NO_ROOM for sample in samples),
        tokens=sum(sample.tokens for sample in samples),
        decode_s=sum(sample.decode_s for sample in samples),
    )


def _problem(path: Path, number: int, line: bytes) -> Problem:
    fields: Any = None
    try:
        fields = json.loads(
            line.decode("utf-8-sig"),
            parse_int=_Numeral,
            parse_float=_Numeral,
            parse_constant=_Numeral,
        )
    except UnicodeDecodeError:
        _refuse(path, number, "is not UTF-8 text")
    except ValueError as e:
        _refuse(path, number, f"is not JSON: {getattr(e, 'msg', e)}")
    except RecursionError:
        _refuse(path, number, "is nested too deep")
    if not isinstance(fields, dict):
        _refuse(path, number, "is no JSON object")
    for name in ("question", "answer"):
        if name not in fields:
            _refuse(path, number, f"has no {name}")
    question, answer = fields["question"], fields["answer"]
    if not isinstance(question, str) or isinstance(question, _Numeral):
        _refuse(path, number, "its question is no text")
    if not isinstance(answer, str) or answer in ("NaN", "Infinity", "-Infinity"):
        _refuse(path, number, "its answer is neither text nor a number")
    question, answer = _text(question), _text(answer.rpartition(GSM8K)[2])
    for name, value in (("question", question), ("answer", answer)):
        if not value:
            _refuse(path, number, f"its {name} is empty")
    return Problem(question, answer)


def _text(value: str) -> str:
    """Without lone surrogates, which JSON can spell and UTF-8 cannot."""
    return value.encode("utf-8", "replace").decode("utf-8").strip()


def _refuse(path: Path, line: int, what: str) -> NoReturn:
    raise UsageError(
        f"{path}: line {line} {what}", hint='as {"question": "What is 1 + 1?", "answer": "2"}'
    )
