"""Answers with tool calls as the model wrote them, for when clients send the calls back.

Clients parse the arguments of calls and write them again, with other spaces and another order of
keys. Such a prompt would no longer begin as the KV cache does. So the token ids of every answer
with calls are kept for a while, and stand in the prompt wherever the calls that come back mean the
same. Ids of special tokens come from here alone, never from what a client sends. They outlive the
server where evaluated prompts do (:mod:`.answer_log`).
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dslocal import output, prompts
from dslocal.prompts.families.dsml_tools import DSML, DsmlToolFormat
from dslocal.prompts.families.tools import CALL_BEGIN, CALL_END, CALLS_END, ToolFormat
from dslocal.prompts.messages import SampledAnswer, SampledText
from dslocal.server.exchange.events import CALL_KEY_LENGTH, call_key
from dslocal.server.exchange.tasks import SentMessage

from .answer_log import AnswerLog, LoggedAnswer
from .prepared_request import PreparedRequest

if TYPE_CHECKING:
    from dslocal.engine import LlamaModel

MAX_ANSWERS = 1000
MAX_TOKENS = 2_000_000  # of all answers, their reasoning included
MAX_AGE_S = 12 * 3600.0


class SampledAnswers:
    """The answers with calls of one model. For several threads."""

    def __init__(
        self,
        model: LlamaModel,
        clock: Callable[[], float] = time.time,
        log: AnswerLog | None = None,
    ) -> None:
        """Keep answers that ``model`` wrote.

        Args:
            model: The model.
            clock: Returns seconds since 1970.
            log: Keeps them on disk as well; None for memory alone.
        """
        self._model = model
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, LoggedAnswer] = OrderedDict()  # by the key of their first call
        self._by_meaning: dict[str, str] = {}  # the key of the newest
        self._tokens = 0
        for answer in log.read(model.n_vocab) if log else ():
            self._add(answer)

    def keep(self, choice: int, request: PreparedRequest, turn: output.Turn) -> None:
        """Keep an answer, if it has calls and ended by itself.

        Args:
            choice: The number of the answer.
            request: What it answers.
            turn: The answer.
        """
        has_ended = turn.finish_reason is not None and turn.finish_reason.value == "stop"
        if not turn.calls or not has_ended or request.settings.stop.value:
            return
        ids = self._closed(request, turn.ids)
        if ids is None:
            return
        reasoning, answer = self._split(request, ids)
        kept = LoggedAnswer(
            call_key(request.key, choice, 0),
            _meaning(turn.text, turn.calls),
            turn.reasoning,
            None if reasoning is None else array("i", reasoning),
            array("i", [*prompts.encode(request.prefilled, self._model), *answer]),
            self._clock(),
        )
        with self._lock:
            self._add(kept)
            if self._log is not None:
                self._log.add(kept)

    def find(self, message: SentMessage) -> SampledAnswer | None:
        """Return the answer that ``message`` brings back, as the model wrote it.

        It is found by the id of its first call, or else as the newest with the same content.
        """
        if not message.calls:
            return None
        meaning = _meaning(message.text, message.calls)
        with self._lock:
            self._forget_old()
            kept = self._kept.get(message.calls[0].id[-CALL_KEY_LENGTH:])
            if kept is None or kept.meaning != meaning:
                kept = self._kept.get(self._by_meaning.get(meaning, ""))
        if kept is None:
            return None
        reasoning = None
        if kept.reasoning_ids is not None and message.reasoning.strip() == kept.reasoning.strip():
            reasoning = self._text(kept.reasoning_ids)
        return SampledAnswer(self._text(kept.ids), reasoning)

    def _add(self, answer: LoggedAnswer) -> None:
        before = self._kept.pop(answer.key, None)
        self._tokens -= _length(before) if before else 0
        self._kept[answer.key] = answer
        self._by_meaning[answer.meaning] = answer.key
        self._tokens += _length(answer)
        self._forget_old()

    def _forget_old(self) -> None:
        while self._kept:
            key, oldest = next(iter(self._kept.items()))
            is_old = self._clock() - oldest.when > MAX_AGE_S
            if not is_old and len(self._kept) <= MAX_ANSWERS and self._tokens <= MAX_TOKENS:
                return
            del self._kept[key]
            self._tokens -= _length(oldest)
            if self._by_meaning.get(oldest.meaning) == key:
                del self._by_meaning[oldest.meaning]

    def _closed(self, request: PreparedRequest, ids: Sequence[int]) -> list[int] | None:
        """Return the ids of an answer with the tokens that end its calls; None without an end.

        The token that ended the answer is not among its ids, and may be the end of a call.
        """
        form = request.family.format.tools
        if isinstance(form, DsmlToolFormat):
            end = f"</{DSML.token}{form.block}>"
            return list(ids) if self._text(ids).text.rstrip().endswith(end) else None
        if not isinstance(form, ToolFormat):
            return None
        marks = [self._model.special_id(each.token) for each in (CALL_BEGIN, CALL_END, CALLS_END)]
        prefilled = prompts.encode(request.prefilled, self._model)
        last = next((id for id in reversed([*prefilled, *ids]) if id in marks), None)
        if last is None or None in marks:
            return None
        missing = marks[marks.index(last) + 1 :]
        return [*ids, *(id for id in missing if id is not None)]

    def _split(
        self, request: PreparedRequest, ids: Sequence[int]
    ) -> tuple[Sequence[int] | None, Sequence[int]]:
        """Return the ids of the reasoning, where the prompt opens it, and those of what follows."""
        tags = request.family.format.think
        close = self._model.special_id(tags[1].token) if tags else None
        if tags is None or close is None or close not in ids:
            return None, ids
        end = list(ids).index(close)
        is_opened = bool(request.prompt) and request.prompt[-1] == tags[0]
        return (ids[:end] if is_opened else None), ids[end + 1 :]

    def _text(self, ids: Sequence[int]) -> SampledText:
        dsml = self._model.special_id(DSML.token)
        mark = DSML.token.encode()
        pieces = b"".join(mark if id == dsml else self._model.piece(id) for id in ids)
        return SampledText(tuple(ids), pieces.decode("utf-8", "replace"))


def _length(answer: LoggedAnswer) -> int:
    """Return how many tokens are kept of an answer."""
    return len(answer.ids) + len(answer.reasoning_ids or ())


def _meaning(text: str, calls: Sequence[Any]) -> str:
    """Return what is the same for two answers that mean the same: a hash."""
    called = [[call.name, _canonical(call.arguments)] for call in calls]
    content = json.dumps([text.strip(), called], ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _canonical(arguments: str) -> str:
    """Return JSON without what clients change when they parse and write it."""
    try:
        value = json.loads(arguments or "{}")
        return json.dumps(_plain_numbers(value), sort_keys=True, ensure_ascii=True)
    except (ValueError, RecursionError):
        return arguments.strip()


def _plain_numbers(value: Any) -> Any:
    """Return ``value`` with 1 for 1.0: JavaScript has one kind of number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _plain_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(each) for each in value]
    return value
