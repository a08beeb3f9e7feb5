"""The response to ``/infill``, as llama-server gives it to llama.vim and llama.vscode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dslocal import output
from dslocal.server.exchange.events import AnswerEnd, RunEvent

MS = 1000.0  # milliseconds a second


class InfillResponse:
    """The text of a gap, with what llama-server says about its making."""

    def __init__(self, model: str, fields: Sequence[str]) -> None:
        """Answer for ``model``, with ``fields`` alone where any are named.

        Args:
            model: The model's name.
            fields: Names of what is wanted; ``timings/prompt_n`` is a field of a field.
        """
        self._model = model
        self._fields = fields
        self._turn: output.Turn | None = None

    def collect(self, events: Sequence[RunEvent]) -> None:
        """Take in ``events``."""
        for event in events:
            if isinstance(event, AnswerEnd):
                self._turn = event.turn

    def body(self) -> dict[str, Any]:
        """Return the response, once all events are collected."""
        if self._turn is None:
            return {}
        whole = self._whole(self._turn)
        if not self._fields:
            return whole
        found = {field: _value_at(whole, field) for field in self._fields}
        return {field: value for field, value in found.items() if value is not None}

    def _whole(self, turn: output.Turn) -> dict[str, Any]:
        reason = turn.finish_reason.value if turn.finish_reason else ""
        return {
            "content": turn.text,
            "model": self._model,
            "stop": True,
            "stop_type": "limit" if reason == "length" else "eos",
            "tokens_cached": turn.prompt_tokens + turn.completion_tokens,
            "tokens_evaluated": turn.prompt_tokens,
            "tokens_predicted": turn.completion_tokens,
            "truncated": False,
            "timings": _timings(turn),
        }


def _timings(turn: output.Turn) -> dict[str, float]:
    prefill = turn.timings.prefill if turn.timings else 0.0
    decode = turn.timings.decode if turn.timings else 0.0
    evaluated = turn.prompt_tokens - turn.cached_tokens
    return {
        "cache_n": turn.cached_tokens,
        **_speed("prompt", evaluated, prefill),
        **_speed("predicted", turn.completion_tokens, decode),
    }


def _speed(what: str, tokens: int, seconds: float) -> dict[str, float]:
    return {
        f"{what}_n": tokens,
        f"{what}_ms": seconds * MS,
        f"{what}_per_token_ms": seconds * MS / tokens if tokens else 0.0,
        f"{what}_per_second": tokens / seconds if seconds else 0.0,
    }


def _value_at(whole: Mapping[str, Any], path: str) -> Any:
    """Return what is at a path of names with slashes between; None where nothing is."""
    value: Any = whole
    for name in path.split("/"):
        value = value.get(name) if isinstance(value, dict) else None
    return value
