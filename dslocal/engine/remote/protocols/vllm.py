"""vLLM's format: ``/v1/completions`` with token ids in and out.

Source: vllm/entrypoints/openai (``CompletionRequest``; ``return_token_ids`` since 0.10.2,
``structured_outputs`` since 0.11).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dslocal.engine.interface import GrammarSource, SamplingParameters
from dslocal.types import TokenLogprobs

from .protocol import (
    ContinuationRequest,
    TokenChunk,
    UnexpectedReplyError,
    integer,
    number,
    objects,
    token_ids,
)

if TYPE_CHECKING:
    from dslocal.engine.model import LlamaModel

ID_PREFIX = "token_id:"  # what return_tokens_as_token_ids puts before an id
MAX_SEED = 1 << 63
GRAMMAR_FIELDS = {"json_schema": "json", "gbnf": "grammar", "regex": "regex", "choices": "choice"}


class Vllm:
    """The protocol of vLLM."""

    name = "vLLM"
    generate_path = "/v1/completions"
    grammar_kinds = frozenset(GRAMMAR_FIELDS)

    def body(self, request: ContinuationRequest) -> dict[str, Any]:
        """Return a request in vLLM's format."""
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": request.model,
            "prompt": list(request.ids),
            "max_tokens": request.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or -1,
            "min_p": sampling.min_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "repetition_penalty": sampling.repeat_penalty,
            "seed": sampling.seed % MAX_SEED,
            "stop_token_ids": sorted(request.stop),
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "return_token_ids": True,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }
        if sampling.logit_bias:
            body["logit_bias"] = {str(id): bias for id, bias in sampling.logit_bias.items()}
        if sampling.logprobs is not None:
            body["logprobs"] = sampling.logprobs
            body["return_tokens_as_token_ids"] = True
        if request.grammar is not None:
            body["structured_outputs"] = _structured_outputs(request.grammar)
        return body

    def reader(self, request: ContinuationRequest, model: LlamaModel) -> VllmReader:
        """Return what reads the response to ``request``."""
        return VllmReader(has_logprobs=request.sampling.logprobs is not None)

    def tokenize_body(self, model: str, text: str) -> dict[str, Any]:
        """Return the request for the ids of ``text``."""
        return {"model": model, "prompt": text, "add_special_tokens": False}

    def notes(self, sampling: SamplingParameters) -> Sequence[str]:
        """Return nothing: vLLM samples in the same order, and counts the same tokens."""
        return ()


def _structured_outputs(grammar: GrammarSource) -> dict[str, Any]:
    return {GRAMMAR_FIELDS[grammar.kind]: grammar.value}


class VllmReader:
    """Reads the events of one response of vLLM."""

    def __init__(self, *, has_logprobs: bool) -> None:
        """Read logprobs too, if the request asked for them."""
        self._has_logprobs = has_logprobs
        self._seen = 0  # tokens

    def read(self, event: dict[str, Any]) -> TokenChunk:
        """Return what ``event`` brings. Raises UnexpectedReplyError."""
        choices = objects(event.get("choices"), "an event without choices")
        cached = _cached_tokens(event.get("usage"))
        if not choices:  # the last event, with the usage
            return TokenChunk(cached=cached)
        choice = choices[0]
        if choice.get("token_ids") is None and choice.get("text"):
            raise UnexpectedReplyError("text without token ids: vLLM does so before 0.10.2")
        ids = token_ids(choice.get("token_ids") or [])
        self._count(len(ids), event.get("usage"))
        return TokenChunk(
            tuple(ids),
            _logprobs(choice.get("logprobs"), ids) if self._has_logprobs else (),
            _finish(choice.get("finish_reason")),
            cached,
        )

    def _count(self, tokens: int, usage: Any) -> None:
        """Count the tokens of an event. Raises UnexpectedReplyError where it came before.

        Each event's usage has the tokens so far. A proxy or an older version may leave it out.
        """
        self._seen += tokens
        total = usage.get("completion_tokens") if isinstance(usage, dict) else None
        if total is not None and integer(total, "a number of tokens") < self._seen:
            raise UnexpectedReplyError("a token again that it has sent")


def _finish(reason: Any) -> str | None:
    if reason is None or reason in ("stop", "length"):
        return None if reason is None else str(reason)
    if reason in ("abort", "error"):
        raise UnexpectedReplyError("that it gave the answer up")
    raise UnexpectedReplyError("a reason for the end that it should not have")


def _cached_tokens(usage: Any) -> int | None:
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return None if cached is None else integer(cached, "a number of tokens")


def _logprobs(sent: Any, ids: Sequence[int]) -> tuple[TokenLogprobs, ...]:
    if not ids:
        return ()
    if not isinstance(sent, dict):
        raise UnexpectedReplyError("no logprobs")
    own, tops = sent.get("token_logprobs"), sent.get("top_logprobs") or [None] * len(ids)
    if not isinstance(own, list) or not isinstance(tops, list):
        raise UnexpectedReplyError("no logprobs")
    if len(own) != len(ids) or len(tops) != len(ids):
        raise UnexpectedReplyError("logprobs of other tokens")
    return tuple(
        TokenLogprobs(id, number(logprob, "a logprob"), _top(top))
        for id, logprob, top in zip(ids, own, tops, strict=True)
    )


def _top(sent: Any) -> tuple[tuple[int, float], ...]:
    if sent is None:
        return ()
    if not isinstance(sent, dict):
        raise UnexpectedReplyError("no likeliest tokens")
    found = []
    for token, logprob in sent.items():
        spelled = token.removeprefix(ID_PREFIX)
        if not (spelled.isascii() and spelled.isdecimal()):
            raise UnexpectedReplyError("a likeliest token without an id")
        id = integer(int(spelled[:9]), "a token id")
        found.append((id, number(logprob, "a logprob")))
    return tuple(sorted(found, key=lambda entry: -entry[1]))
